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
from electra_zh.data.bad_lines import BadLines
from electra_zh.data.cleaning.document_batch import KEPT
from electra_zh.data.cleaning.rules import EMPTIED, Rule
from electra_zh.data.input_files import CLEANED, REPORT, SUMMARY

_FORMAT = 1
MAX_SAMPLES = 5
_SAMPLE_CHARACTERS = 60


@dataclasses.dataclass(frozen=True)
class Amount:
    """An amount of text: complete documents, lines, and characters without line ends."""

    documents: int = 0
    lines: int = 0
    characters: int = 0


class Tally:
    """Text counted by verdict: `KEPT`, or the number of the rule that removed it.

    Attributes:
      counts: int64 [verdicts, 3], documents, lines and characters.
      samples: per verdict, the first lines, shortened; one per removed document.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._on_documents = [False, *(rule.on_documents for rule in rules)]
        self.counts = np.zeros((len(self._on_documents), 3), np.int64)
        self.samples: list[list[str]] = [[] for _ in self._on_documents]

    def add_lines(self, lines: Sequence[str], documents: np.ndarray, verdicts: np.ndarray) -> None:
        """Counts lines by the verdict on each line or its document, uint8 [L].

        The numbers of the lines' documents [L] are ascending.
        """
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
        np.add.at(self.counts[:, 1], verdicts, 1)
        np.add.at(self.counts[:, 2], verdicts, lengths)
        for verdict in np.unique(verdicts[verdicts != KEPT]).tolist():
            matched = np.flatnonzero(verdicts == verdict)
            if self._on_documents[verdict]:
                matched = matched[np.diff(documents[matched], prepend=-1) != 0]
            room = MAX_SAMPLES - len(self.samples[verdict])
            self.samples[verdict] += [_shorten(lines[index]) for index in matched[:room].tolist()]

    def add_documents(self, verdicts: np.ndarray) -> None:
        """Counts documents by the verdicts on them, uint8 [D]."""
        np.add.at(self.counts[:, 0], verdicts, 1)

    def merge(self, other: Tally) -> None:
        """Adds the counts of text that comes later."""
        self.counts += other.counts
        for samples, more in zip(self.samples, other.samples, strict=True):
            samples += more[: MAX_SAMPLES - len(samples)]

    def amount(self, verdict: int) -> Amount:
        """Returns the amount of text with a verdict."""
        return Amount(*self.counts[verdict].tolist())

    def total(self) -> Amount:
        """Returns the amount of all text."""
        return Amount(*self.counts.sum(axis=0).tolist())


def _shorten(line: str) -> str:
    visible = line.replace(EMPTIED, "")
    is_long = len(visible) > _SAMPLE_CHARACTERS
    return visible[: _SAMPLE_CHARACTERS - 1] + "…" if is_long else visible


@dataclasses.dataclass(frozen=True)
class RemovedText:
    """The text that one rule removed: name of the rule, description, amount, and first lines."""

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

    `read` is the text after normalising, which deleted `control`, `replacement` (U+FFFD) and
    `white_space` characters; `input_bytes` are those of the text before, decompressed.
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
        # The mark comes first: a folder that has it may be overwritten.
        about = {"kind": CLEANED, "format": _FORMAT, "version": __version__}
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
    return lines + [str(bad) for bad in report.bad_lines]
