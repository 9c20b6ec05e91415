"""Lines of the input that cannot be read: counted by reason, the first ones with their position."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from electra_zh import files

# Positions that are remembered of each reason; all lines are counted.
MAX_POSITIONS = 10
_READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class BadLines:
    """Lines that were skipped for one reason.

    Attributes:
      reason: the reason.
      count: number of lines.
      first: `file:line` of the first ones.
    """

    reason: str
    count: int
    first: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LinePosition:
    """Position of a line: line `line` (from 0) of the range that starts at byte `start`."""

    path: str
    start: int
    line: int

    def show(self, *, name: str | None = None) -> str:
        """Returns `file:line`, the line counted from 1 over the file.

        Args:
          name: the file's name in messages; its path by default.
        """
        line = self.line + 1
        left = self.start
        if left:
            with files.open_read(self.path) as file:
                while left > 0 and (data := file.read(min(left, _READ_BYTES))):
                    left -= len(data)
                    line += data.count(b"\n")
        return f"{name or self.path}:{line}"


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


def report_bad_lines(logs: Sequence[BadLineLog], paths: Sequence[str]) -> tuple[BadLines, ...]:
    """Returns the bad lines of all logs, by reason.

    Args:
      logs: of the units, in their order.
      paths: the input files, for short names.
    """
    total = BadLineLog()
    for log in logs:
        for reason, count in log.counts.items():
            total.add(reason, *log.positions[reason], count=count)
    name = files.short_names(paths)
    return tuple(
        BadLines(
            reason,
            count,
            tuple(each.show(name=name(each.path)) for each in total.positions[reason]),
        )
        for reason, count in sorted(total.counts.items())
    )
