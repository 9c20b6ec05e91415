"""Where in a context an answer stands, for files whose offsets are not always right."""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple


class Place(NamedTuple):
    """Characters of a context.

    Attributes:
      start: the first one.
      end: one behind the last.
      repaired: whether the answer did not stand at the offset that the file gives.
    """

    start: int
    end: int
    repaired: bool


def find_answer(context: str, text: str, start: int) -> Place | None:
    """Returns where the answer stands, or None where it does not occur at all.

    At its offset first, then where it occurs nearest to it; then the same with white space, case
    and the width of characters left out of account.

    Args:
      context: the text that should hold the answer.
      text: the answer.
      start: its offset by the file; -1 where the file gives none, which finds the first occurrence.
    """
    if not text.strip():
        return None
    if start >= 0 and context.startswith(text, start):
        return Place(start, start + len(text), repaired=False)
    found = _nearest(context, text, start)
    if found >= 0:
        return Place(found, found + len(text), repaired=True)
    folded, wanted = _fold(context), _fold(text)
    if not wanted.text:
        return None
    # The offset among the folded characters: of the first that stands at the offset or behind it.
    offset = sum(source < start for source in folded.sources)
    found = _nearest(folded.text, wanted.text, offset)
    if found < 0:
        return None
    last = found + len(wanted.text) - 1
    return Place(folded.sources[found], folded.sources[last] + 1, repaired=True)


def _nearest(context: str, text: str, start: int) -> int:
    """Returns where the text begins that occurs nearest to `start`, -1 where it does not occur."""
    start = max(start, 0)
    after = context.find(text, start)
    before = context.rfind(text, 0, start + len(text) - 1)
    if after < 0 or before < 0:
        return max(after, before)
    return before if start - before <= after - start else after


class _Folded(NamedTuple):
    """A text without white space, each character in one width and lower case.

    Attributes:
      text: the characters.
      sources: for each, the number of the character of the original text that it comes from.
    """

    text: str
    sources: list[int]


@functools.lru_cache(maxsize=64)
def _fold(text: str) -> _Folded:
    characters: list[str] = []
    sources: list[int] = []
    for number, char in enumerate(text):
        form = "".join(unicodedata.normalize("NFKC", char).lower().split())
        characters.extend(form)
        sources.extend([number] * len(form))
    return _Folded("".join(characters), sources)
