"""The report of a cleaning: text removed by each rule, with samples.

The report holds no times, machine names or absolute paths, so that the same corpus and settings
give the same file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from electra_zh import __version__, files
from electra_zh.data.cleaning.document_batch import KEPT
from electra_zh.data.cleaning.rules import Rule
from electra_zh.data.manifest import BadLines

REPORT = "report.json"
SUMMARY = "report.md"
# Marks a folder that this package cleaned, which may be overwritten.
KIND = "electra-zh clean"
FORMAT = 1

MAX_SAMPLES = 5
_SAMPLE_CHARACTERS = 60


@dataclasses.dataclass
class Amount:
    """An amount of text.

    Attributes:
      documents: complete documents.
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
    """Text counted by verdict: `KEPT`, or the number of the rule that removed it.

    Attributes:
      amounts: per verdict.
      samples: per verdict, the first lines, shortened; one per removed document.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Starts with nothing."""
        self._on_documents = [False, *(rule.on_documents for rule in rules)]
        self.amounts = [Amount() for _ in self._on_documents]
        self.samples: list[list[str]] = [[] for _ in self._on_documents]

    def add_lines(
        self, lines: Sequence[str], lengths: np.ndarray, documents: np.ndarray, verdicts: np.ndarray
    ) -> None:
        """Counts lines.

        Args:
          lines: the lines [L].
          lengths: [L], their characters.
          documents: [L], the number of each line's document, ascending.
          verdicts: uint8 [L], the verdict on each line or its document.
        """
        counts = np.bincount(verdicts, minlength=len(self.amounts))
        characters = np.bincount(verdicts, weights=lengths, minlength=len(self.amounts))
        for verdict in np.flatnonzero(counts).tolist():
            self.amounts[verdict].add(Amount(0, int(counts[verdict]), int(characters[verdict])))
            room = MAX_SAMPLES - len(self.samples[verdict])
            if verdict != KEPT and room:
                matched = np.flatnonzero(verdicts == verdict)
                if self._on_documents[verdict]:
                    matched = matched[np.diff(documents[matched], prepend=-1) != 0]
                for index in matched[:room].tolist():
                    self.samples[verdict].append(_shorten(lines[index]))

    def add_documents(self, verdicts: np.ndarray) -> None:
        """Counts documents by the verdicts on them, uint8 [D]."""
        for verdict, count in enumerate(np.bincount(verdicts).tolist()):
            self.amounts[verdict].documents += count

    def merge(self, other: Tally) -> None:
        """Adds the counts of text that comes later."""
        for amount, added in zip(self.amounts, other.amounts, strict=True):
            amount.add(added)
        for samples, added_samples in zip(self.samples, other.samples, strict=True):
            samples += added_samples[: MAX_SAMPLES - len(samples)]

    def total(self) -> Amount:
        """Returns the sum over all verdicts."""
        total = Amount()
        for amount in self.amounts:
            total.add(amount)
        return total


def _shorten(line: str) -> str:
    visible = line.replace("\ufffe", "")
    if len(visible) <= _SAMPLE_CHARACTERS:
        return visible
    return visible[: _SAMPLE_CHARACTERS - 1] + "…"


@dataclasses.dataclass(frozen=True)
class RemovedText:
    """The text that one rule removed.

    Attributes:
      rule: its name.
      what: description of the text.
      amount: the amount.
      samples: the first lines that it removed, shortened.
    """

    rule: str
    what: str
    amount: Amount
    samples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class OutputFile:
    """One file of the cleaned text: its name in the folder, its size, and the text in it."""

    name: str
    bytes: int
    amount: Amount


@dataclasses.dataclass(frozen=True)
class CleaningReport:
    """The result of a cleaning.

    Attributes:
      settings: those that the result depends on.
      evaluation_files: names of the files of evaluation data.
      input_files: number of files read.
      input_bytes: bytes of their text, decompressed.
      bad_lines: lines that could not be read.
      read: the text after normalising.
      kept: the part of it that was kept.
      control: number of control and zero-width characters deleted by normalising.
      replacement: number of U+FFFD deleted.
      white_space: number of white space characters deleted.
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
    removed: tuple[RemovedText, ...]
    output: tuple[OutputFile, ...]

    def save(self, folder: str) -> None:
        """Writes the report and its summary into the folder."""
        summary = ["# Cleaned text", "", "```", *summary_lines(self), "```", ""]
        for each in self.removed:
            if each.samples:
                summary += [f"## {each.what[0].upper()}{each.what[1:]}", "", "```"]
                summary += [*each.samples, "```", ""]
        files.write_text(files.join(folder, SUMMARY), "\n".join(summary))
        about = {"kind": KIND, "format": FORMAT, "version": __version__}
        files.write_json(files.join(folder, REPORT), about | dataclasses.asdict(self))


def summary_lines(report: CleaningReport) -> list[str]:
    """Returns the report as a table."""
    amounts = {"read": report.read}
    amounts |= {each.what: each.amount for each in report.removed if each.amount != Amount()}
    amounts |= {"kept": report.kept}
    counts = {name: dataclasses.astuple(amount) for name, amount in amounts.items()}
    rows: list[tuple[str, ...]] = [("", "documents", "lines", "characters")]
    rows += [(name, *(f"{count:,}" for count in each)) for name, each in counts.items()]
    pairs = zip(counts["kept"], counts["read"], strict=True)
    rows.append(("", *(f"{100 * kept / read if read else 0:.1f} %" for kept, read in pairs)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    lines.append(
        f"deleted from lines: {report.control:,} control and zero-width characters, "
        f"{report.replacement:,} U+FFFD, {report.white_space:,} white space"
    )
    for bad in report.bad_lines:
        plural = "line" if bad.count == 1 else "lines"
        lines.append(f"skipped: {bad.count:,} {plural}, {bad.reason}, first {bad.first[0]}")
    return lines
