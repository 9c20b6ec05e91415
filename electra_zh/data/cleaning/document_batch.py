"""Whole documents as lines and arrays over their characters.

Shapes: `C` characters, `L` lines, `D` documents.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.text.wordpiece.characters import CJK_RANGES, CODE_POINTS, to_codepoints

# A longer document is taken in parts of about this many characters, so that memory has a bound.
MAX_DOCUMENT = 1 << 24

# What a character is to the rules: bits of `_classes`.
_CHINESE, _SYMBOL, _SPACE = 1, 2, 4
_PLANES_IN_USE = ((0, 0x40000), (0xE0000, 0xE1000))
# Unicode calls it a number: it is written in years, 二〇二五年.
_IDEOGRAPHIC_ZERO = 0x3007
# Repetitions are of so many characters at most.
_LONGEST_PERIOD = 4
_HASH_BYTES = 8


class Stretch(NamedTuple):
    """Some documents, none of them without lines.

    Attributes:
      lines: the lines [L], none of them empty.
      documents: int64 [L], of each line the number of its document, 0 to D - 1 in order.
    """

    lines: list[str]
    documents: np.ndarray

    @property
    def num_documents(self) -> int:
        """How many documents there are: D."""
        return int(self.documents[-1]) + 1 if len(self.lines) else 0

    def select(self, keep: np.ndarray) -> Stretch:
        """Returns the lines of a mask, bool [L], the documents numbered anew."""
        lines = [self.lines[index] for index in np.flatnonzero(keep).tolist()]
        return Stretch(lines, number_documents(self.documents[keep]))


class Figures(NamedTuple):
    """What the rules look at of each line.

    Attributes:
      lengths: int64 [L], characters.
      solid: int64 [L], characters that are no white space.
      chinese: int64 [L], ideographs.
      symbols: int64 [L], symbols, digits and punctuation.
      run: int64 [L], the longest stretch that repeats one to four characters.
    """

    lengths: np.ndarray
    solid: np.ndarray
    chinese: np.ndarray
    symbols: np.ndarray
    run: np.ndarray


def stretches(blocks: Iterable[str], *, max_document: int = MAX_DOCUMENT) -> Iterator[Stretch]:
    """Yields the documents of a text, as many at a time as its blocks hold.

    Args:
      blocks: the text in blocks of whole lines; an empty line ends a document.
      max_document: characters from which on a document is taken in parts.
    """
    held: list[str] = []
    characters = 0
    for block in blocks:
        lines = block.split("\n")
        held += lines
        characters += len(block)
        if "" in lines:
            cut = len(held) - lines[::-1].index("")
        elif characters > max_document:
            cut = len(held)
        else:
            continue
        yield from _stretch(held[:cut])
        held = held[cut:]
        characters = sum(map(len, held))
    yield from _stretch(held)


def _stretch(lines: Sequence[str]) -> Iterator[Stretch]:
    kept = [line for line in lines if line]
    if kept:
        blank = np.fromiter((not line for line in lines), np.bool_, len(lines))
        yield Stretch(kept, number_documents(np.cumsum(blank)[~blank]))


def number_documents(documents: np.ndarray) -> np.ndarray:
    """Returns ascending document numbers as 0, 1, 2, ... without gaps."""
    return np.cumsum(np.diff(documents, prepend=documents[:1]) != 0)


def measure(lines: Sequence[str], *, runs: bool = True) -> Figures:
    """Returns what the rules look at of each line.

    Args:
      lines: no one empty, no line ends in them.
      runs: find repetitions; without it they are given as 0.
    """
    codes = to_codepoints("\n".join(lines) + "\n")
    ends = np.flatnonzero(codes == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    classes = _classes().take(codes)

    def count(kind: int) -> np.ndarray:
        return np.add.reduceat(classes == kind, starts, dtype=np.int64)

    run = _longest_runs(codes, ends) if runs else np.zeros_like(lengths)
    return Figures(lengths, lengths - count(_SPACE), count(_CHINESE), count(_SYMBOL), run)


def _longest_runs(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns of each line the length of its longest repetition, int64 [L]; 0: none."""
    codes = codes.copy()
    # No line end is the same as another, so no repetition goes on over one.
    codes[ends] = CODE_POINTS + np.arange(len(ends), dtype=np.uint32)
    longest = np.zeros(len(ends), np.int64)
    for period in range(1, _LONGEST_PERIOD + 1):
        same = np.flatnonzero(codes[period:] == codes[:-period])
        if not len(same):
            continue
        breaks = np.flatnonzero(np.diff(same) != 1)
        firsts = np.concatenate([[0], breaks + 1])
        sizes = np.diff(np.append(firsts, len(same)))
        # A repetition has its characters twice at least.
        twice = sizes >= period
        lines = np.searchsorted(ends, same[firsts[twice]])
        np.maximum.at(longest, lines, sizes[twice] + period)
    return longest


def hash_lines(lines: Sequence[str]) -> np.ndarray:
    """Returns 64 bits of each line's BLAKE2b hash, uint64 [L]."""
    digests = [
        hashlib.blake2b(line, digest_size=_HASH_BYTES).digest()
        for line in ("\n".join(lines).encode().split(b"\n") if lines else ())
    ]
    return np.frombuffer(b"".join(digests), "<u8")


def hash_documents(line_hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns 64 bits of the hash of each document's lines in order, uint64 [D].

    Args:
      line_hashes: uint64 [L].
      documents: int64 [L], the number of each line's document.
    """
    starts = np.flatnonzero(np.diff(documents, prepend=-1))
    bounds = [*starts.tolist(), len(documents)]
    data = line_hashes.astype("<u8").tobytes()
    digests = [
        hashlib.blake2b(
            data[first * _HASH_BYTES : end * _HASH_BYTES], digest_size=_HASH_BYTES
        ).digest()
        for first, end in itertools.pairwise(bounds)
    ]
    return np.frombuffer(b"".join(digests), "<u8")


@functools.cache
def _classes() -> np.ndarray:
    """Returns uint8 [0x110000]: what each character is to the rules."""
    classes = np.zeros(CODE_POINTS, np.uint8)
    kinds: dict[str, int] = {"P": _SYMBOL, "S": _SYMBOL, "N": _SYMBOL, "Z": _SPACE}
    category: Callable[[str], str] = unicodedata.category
    for first, end in _PLANES_IN_USE:
        names = [category(chr(code))[0] for code in range(first, end)]
        classes[first:end] = [kinds.get(name, 0) for name in names]
    for first, last in CJK_RANGES:
        classes[first : last + 1] = _CHINESE
    classes[_IDEOGRAPHIC_ZERO] = _CHINESE
    return classes


def prepare() -> None:
    """Makes the table of characters, before worker processes are forked that share it."""
    _classes()
