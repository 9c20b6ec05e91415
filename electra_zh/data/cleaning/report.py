"""What was removed by which rule: counted, with samples, and written down.

The report holds no times, no machine and no absolute paths, so the same corpus and settings give
the same file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from electra_zh import __version__, files
from electra_zh.data.cleaning.rules import Rule
from electra_zh.data.manifest import BadLines

REPORT = "report.json"
SUMMARY = "report.md"
# What a folder that this package cleaned says of itself, so that it may be overwritten.
KIND = "electra-zh clean"
FORMAT = 1

MAX_SAMPLES = 5
_SAMPLE_CHARACTERS = 60


@dataclasses.dataclass
class Amount:
    """So much text.

    Attributes:
      documents: whole documents.
      lines: lines.
      characters: their characters, with white space and without line ends.
    """

    documents: int = 0
    lines: int = 0
    characters: int = 0

    def add(self, other: Amount) -> None:
        """Adds another amount."""
        self.documents += other.documents
        self.lines += other.lines
        self.characters += other.characters


class Tally:
    """Text by the rule that removed it, `Rule.STAYS` for what stayed.

    Attributes:
      amounts: of each rule.
      samples: of each rule the first lines, cut short; one of a document that went as a whole.
    """

    def __init__(self) -> None:
        """Starts with nothing."""
        self.amounts = {rule: Amount() for rule in Rule}
        self.samples: dict[Rule, list[str]] = {rule: [] for rule in Rule}

    def add_lines(
        self, lines: Sequence[str], lengths: np.ndarray, documents: np.ndarray, rules: np.ndarray
    ) -> None:
        """Counts lines.

        Args:
          lines: the lines [L].
          lengths: [L], their characters.
          documents: [L], the number of each line's document, ascending.
          rules: uint8 [L], the rule by which each goes, or its document.
        """
        counts = np.bincount(rules, minlength=len(Rule))
        characters = np.bincount(rules, weights=lengths, minlength=len(Rule))
        for rule in map(Rule, np.flatnonzero(counts).tolist()):
            self.amounts[rule].add(Amount(0, int(counts[rule]), int(characters[rule])))
            room = MAX_SAMPLES - len(self.samples[rule])
            if rule is not Rule.STAYS and room:
                hit = np.flatnonzero(rules == rule)
                if rule.on_documents:
                    hit = hit[np.diff(documents[hit], prepend=-1) != 0]
                for index in hit[:room].tolist():
                    self.samples[rule].append(_cut(lines[index]))

    def add_documents(self, rules: np.ndarray) -> None:
        """Counts documents by the rules by which they go, uint8 [D]."""
        for rule, count in enumerate(np.bincount(rules, minlength=len(Rule)).tolist()):
            self.amounts[Rule(rule)].documents += count

    def merge(self, other: Tally) -> None:
        """Adds what was counted of the text behind."""
        for rule in Rule:
            self.amounts[rule].add(other.amounts[rule])
            self.samples[rule] = (self.samples[rule] + other.samples[rule])[:MAX_SAMPLES]

    def total(self, rules: Iterable[Rule] = Rule) -> Amount:
        """Returns the sum over rules."""
        total = Amount()
        for rule in rules:
            total.add(self.amounts[rule])
        return total


def _cut(line: str) -> str:
    visible = line.replace("\ufffe", "")
    if len(visible) <= _SAMPLE_CHARACTERS:
        return visible
    return visible[: _SAMPLE_CHARACTERS - 1] + "…"


@dataclasses.dataclass(frozen=True)
class Removed:
    """What one rule removed.

    Attributes:
      rule: its name.
      what: what it removes, in words.
      amount: how much.
      samples: the first lines that went by it, cut short.
    """

    rule: str
    what: str
    amount: Amount
    samples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class OutputFile:
    """One file of the cleaned text.

    Attributes:
      name: its name in the folder.
      bytes: its size.
      amount: the text in it.
    """

    name: str
    bytes: int
    amount: Amount


@dataclasses.dataclass(frozen=True)
class Report:
    """What a cleaning did.

    Attributes:
      settings: what the result depends on.
      evaluation_files: names of the files of evaluation data.
      input_files: how many files were read.
      input_bytes: bytes of their text, decompressed.
      bad_lines: lines that could not be read.
      read: the text after normalising.
      kept: what stayed of it.
      control: control and zero-width characters that normalising took out.
      replacement: U+FFFD that it took out.
      white_space: white space that it took out.
      removed: by rule.
      output: the files.
    """

    settings: dict[str, Any]
    evaluation_files: tuple[str, ...]
    input_files: int
    input_bytes: int
    bad_lines: tuple[BadLines, ...]
    read: Amount
    kept: Amount
    control: int
    replacement: int
    white_space: int
    removed: tuple[Removed, ...]
    output: tuple[OutputFile, ...]

    def save(self, folder: str) -> None:
        """Writes the report and its summary into the folder."""
        summary = ["# Cleaned text", "", "```", *summary_lines(self), "```", "", *_samples(self)]
        files.write_text(files.join(folder, SUMMARY), "\n".join(summary) + "\n")
        about = {"kind": KIND, "format": FORMAT, "version": __version__}
        files.write_json(files.join(folder, REPORT), about | dataclasses.asdict(self))


def summary_lines(report: Report) -> list[str]:
    """Returns the report as a table."""
    rows = [("", "documents", "lines", "characters")]
    rows.append(_row("read", report.read))
    for removed in report.removed:
        if any(dataclasses.astuple(removed.amount)):
            rows.append(_row(removed.what, removed.amount))
    rows.append(_row("kept", report.kept))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    shares = [
        f"{100 * kept / read if read else 0:.1f} %"
        for kept, read in zip(
            dataclasses.astuple(report.kept), dataclasses.astuple(report.read), strict=True
        )
    ]
    lines.append("  ".join([" " * widths[0], *map(str.rjust, shares, widths[1:])]))
    lines.append(
        f"taken out of lines: {report.control:,} control and zero-width characters, "
        f"{report.replacement:,} U+FFFD, {report.white_space:,} white space"
    )
    for bad in report.bad_lines:
        plural = "line" if bad.count == 1 else "lines"
        lines.append(f"left out: {bad.count:,} {plural}, {bad.reason}, first {bad.first[0]}")
    return lines


def _row(name: str, amount: Amount) -> tuple[str, str, str, str]:
    return name, f"{amount.documents:,}", f"{amount.lines:,}", f"{amount.characters:,}"


def _samples(report: Report) -> list[str]:
    lines: list[str] = []
    for removed in report.removed:
        if removed.samples:
            lines += [f"## {removed.what[0].upper()}{removed.what[1:]}", "", "```"]
            lines += [*removed.samples, "```", ""]
    return lines[:-1]
