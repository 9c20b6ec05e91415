"""Lines of the input that cannot be read: counted by reason, the first ones with their position."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from electra_zh import files
from electra_zh.data import input_files
from electra_zh.errors import counted

# Positions that are remembered of each reason; all lines are counted.
MAX_POSITIONS = 10
_READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class BadLines:
    """Lines that were skipped for one reason: their number, and `file:line` of the first ones."""

    reason: str
    count: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        first = ", ".join(self.first[:3])
        return f"skipped: {counted(self.count, 'line')}, {self.reason}, first {first}"


@dataclasses.dataclass(frozen=True)
class LinePosition:
    """Position of a line: line `line` (from 0) of the range that starts at byte `start`.

    `file` is the number of the file among the inputs: a build may be resumed under other paths.
    """

    file: int
    start: int
    line: int

    def show(self, path: str, *, name: str | None = None) -> str:
        """Returns `file:line`, counted from 1 over the file; `name` replaces the file's path."""
        line = self.line + 1
        left = self.start
        if left:
            with files.open_read(path) as file:
                while left > 0 and (data := file.read(min(left, _READ_BYTES))):
                    left -= len(data)
                    line += data.count(b"\n")
        return f"{name or path}:{line}"


@dataclasses.dataclass
class BadLineLog:
    """Count and first positions of bad lines, by reason."""

    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    positions: Mapping[str, tuple[LinePosition, ...]] = dataclasses.field(default_factory=dict)

    def add(self, reason: str, *positions: LinePosition, count: int = 1) -> None:
        """Adds lines that are after those so far."""
        self.counts = {**self.counts, reason: self.counts.get(reason, 0) + count}
        first = (*self.positions.get(reason, ()), *positions)[:MAX_POSITIONS]
        self.positions = {**self.positions, reason: first}


def report_bad_lines(
    logs: Sequence[BadLineLog], inputs: Sequence[input_files.InputFile]
) -> tuple[BadLines, ...]:
    """Returns the bad lines of the units' logs by reason, with the short names of the files."""
    total = BadLineLog()
    for log in logs:
        for reason, count in log.counts.items():
            total.add(reason, *log.positions[reason], count=count)
    paths, names = [file.path for file in inputs], input_files.short_names(inputs)
    shown = {
        reason: tuple(each.show(paths[each.file], name=names[each.file]) for each in positions)
        for reason, positions in total.positions.items()
    }
    return tuple(BadLines(each, total.counts[each], shown[each]) for each in sorted(shown))
