"""Shares of a build: `--part i/n`, for machines that share a folder but no engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from electra_zh.errors import UsageError

_FORM = re.compile(r"([0-9]+)/([0-9]+)")


class Part(NamedTuple):
    """One share of the tasks of a build.

    Attributes:
      number: which one, from 1.
      total: of how many.
    """

    number: int
    total: int

    def owns(self, index: int) -> bool:
        """Returns whether a task is of this share."""
        return index % self.total == self.number - 1

    def __str__(self) -> str:
        """Returns it as the user gives it."""
        return f"{self.number}/{self.total}"


class Left(NamedTuple):
    """What a part could not do, because it is of others.

    Attributes:
      what: "units" or "shards": the half of the build that is not finished.
      number: tasks of that half that are left.
      total: tasks of that half.
      parts: whose they are.
    """

    what: str
    number: int
    total: int
    parts: tuple[int, ...]


def parse_part(text: str) -> Part:
    """Reads `i/n`.

    Raises:
      UsageError: it is anything else.
    """
    match = _FORM.fullmatch(text)
    part = Part(int(match[1]), int(match[2])) if match else None
    if part is None or not 1 <= part.number <= part.total:
        raise UsageError(
            f"--part {text}: give i/n, the number of this part (from 1 to n) and how many there are"
        )
    return part


def count_left(part: Part, what: str, found: Sequence[object | None]) -> Left:
    """Returns what is left, from what there is of each task: None where it is not done."""
    missing = [index for index, each in enumerate(found) if each is None]
    owners = sorted({index % part.total + 1 for index in missing})
    return Left(what, len(missing), len(found), tuple(owners))


def left_lines(left: Left, part: Part) -> list[str]:
    """Returns what the user is told at the end of a part that does not finish the build."""
    done = left.total - left.number
    if not left.number:
        return [
            f"part {part}: all {left.total:,} {left.what} are done; another part that is still at "
            "work joins them, and so does the same command without --part"
        ]
    owners = ", ".join(f"{number}/{part.total}" for number in left.parts[:10])
    more = ", ..." if len(left.parts) > 10 else ""
    lines = [
        f"part {part}: done; {done:,} of {left.total:,} {left.what} are there, {left.number:,} "
        f"left, of part {owners}{more}"
    ]
    if left.what == "units":
        lines.append("then run the parts once more for the shards, or the command without --part")
    else:
        lines.append("run these parts again, or the command without --part, to finish")
    return lines
