"""Whole documents as lines and arrays over their characters, and the rules applied to them.

Shapes: `C` characters, `L` lines, `D` documents.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.data.cleaning.overlap import later_in_document
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.text.characters import CJK_RANGES, CODE_POINTS, code_point_table, to_codepoints

# The verdict on a line or document that no rule removes; others are the rule's number from 1.
KEPT = 0
# A longer document is cut into parts of about this many characters, to bound the memory.
MAX_DOCUMENT = 1 << 24

# Classes of characters.
_CHINESE, _SYMBOL, _SPACE = 1, 2, 4
# Unicode calls it a number: it is written in years, 二〇二五年.
_IDEOGRAPHIC_ZERO = 0x3007
_LONGEST_PERIOD = 4
_HASH_BYTES = 8


@dataclasses.dataclass
class DocumentBatch:
    """Some documents, none of them without lines, and measures of lines that rules look at."""

    lines: list[str]  # [L], none of them empty
    documents: np.ndarray  # int64 [L], the number of each line's document, 0 to D - 1 in order

    @property
    def num_documents(self) -> int:
        """The number of documents, D."""
        return int(self.documents[-1]) + 1 if self.lines else 0

    @functools.cached_property
    def hashes(self) -> np.ndarray:
        """64 bits of each line's BLAKE2b hash, uint64 [L]."""
        return _hashes("\n".join(self.lines).encode().split(b"\n") if self.lines else ())

    @functools.cached_property
    def solid(self) -> np.ndarray:
        """Characters of each line other than white space, int64 [L]."""
        _, starts, ends = self._codes
        solid: np.ndarray = ends - starts - self._count(_SPACE)
        return solid

    @functools.cached_property
    def chinese(self) -> np.ndarray:
        """Ideographs of each line, int64 [L]."""
        return self._count(_CHINESE)

    @functools.cached_property
    def symbols(self) -> np.ndarray:
        """Symbols, digits and punctuation of each line, int64 [L]."""
        return self._count(_SYMBOL)

    @functools.cached_property
    def run(self) -> np.ndarray:
        """The longest run of one to four repeated characters of each line, int64 [L]."""
        codes, _, ends = self._codes
        return _longest_runs(codes, ends)

    def contain(self, char: str) -> np.ndarray:
        """Returns whether each line contains a character, bool [L]."""
        return np.fromiter((char in line for line in self.lines), np.bool_, len(self.lines))

    def select(self, keep: np.ndarray) -> DocumentBatch:
        """Returns the lines of a mask, bool [L], with documents numbered anew."""
        lines = [self.lines[index] for index in np.flatnonzero(keep).tolist()]
        return DocumentBatch(lines, _number_documents(self.documents[keep]))

    @functools.cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The code points of the lines joined, and where each line starts and ends."""
        codes = to_codepoints("\n".join(self.lines) + "\n")
        ends = np.flatnonzero(codes == ord("\n"))
        return codes, np.concatenate([[0], ends[:-1] + 1]), ends

    @functools.cached_property
    def _classes(self) -> np.ndarray:
        return _character_classes().take(self._codes[0])

    def _count(self, kind: int) -> np.ndarray:
        return np.add.reduceat(self._classes == kind, self._codes[1], dtype=np.int64)


def read_batches(
    blocks: Iterable[str], *, max_document: int = MAX_DOCUMENT
) -> Iterator[DocumentBatch]:
    """Yields the documents of a text, as many at a time as its blocks hold.

    Blocks are complete lines; an empty line ends a document. Documents of over `max_document`
    characters are cut into parts.
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
        yield from _batch(held[:cut])
        held = held[cut:]
        characters = sum(map(len, held))
    yield from _batch(held)


def _batch(lines: Sequence[str]) -> Iterator[DocumentBatch]:
    filled = np.fromiter(map(bool, lines), np.bool_, len(lines))
    if filled.any():
        documents = np.cumsum(~filled)[filled]
        yield DocumentBatch([line for line in lines if line], _number_documents(documents))


def _number_documents(documents: np.ndarray) -> np.ndarray:
    """Returns ascending document numbers as 0, 1, 2, ... without gaps."""
    return np.cumsum(np.diff(documents, prepend=documents[:1]) != 0)


def _longest_runs(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    codes = codes.copy()
    # No two line ends are the same, so no repetition crosses one.
    codes[ends] = CODE_POINTS + np.arange(len(ends), dtype=np.uint32)
    longest = np.zeros(len(ends), np.int64)
    for period in range(1, _LONGEST_PERIOD + 1):
        same = np.flatnonzero(codes[period:] == codes[:-period])
        if not len(same):
            continue
        breaks = np.flatnonzero(np.diff(same) != 1)
        firsts = np.concatenate([[0], breaks + 1])
        sizes = np.diff(np.append(firsts, len(same)))
        # A repetition has its characters at least twice.
        twice = sizes >= period
        lines = np.searchsorted(ends, same[firsts[twice]])
        np.maximum.at(longest, lines, sizes[twice] + period)
    return longest


class Verdicts(NamedTuple):
    """The rules that remove lines and documents, as their numbers from 1; `KEPT` for none.

    The lines of a removed document are not marked for it.
    """

    lines: np.ndarray  # uint8 [L]
    documents: np.ndarray  # uint8 [D]

    def by_line(self, documents: np.ndarray) -> np.ndarray:
        """Returns the verdict on each line or on its document [L], uint8 [L]."""
        return np.where(self.lines == KEPT, self.documents[documents], self.lines)


@dataclasses.dataclass
class RemainingText:
    """The subject of rules on lines and documents: a batch, and the lines left by earlier rules."""

    lines: DocumentBatch
    left: np.ndarray  # bool [L]

    @functools.cached_property
    def repeated(self) -> np.ndarray:
        """Marks of lines left that occur earlier in their document, bool [L]."""
        repeated = np.zeros(len(self.left), np.bool_)
        repeated[self.left] = later_in_document(
            self.lines.hashes[self.left], self.lines.documents[self.left]
        )
        return repeated

    def totals(self, values: np.ndarray | int) -> np.ndarray:
        """Returns the sum of values [L] over the lines left of each document, int64 [D]."""
        documents, count = self.lines.documents, self.lines.num_documents
        # Sums of whole numbers under 2 ** 53 are exact in float64.
        return np.bincount(documents, values * self.left, count).astype(np.int64)


def judge_batch(batch: DocumentBatch, settings: CleanSettings) -> Verdicts:
    """Returns the verdicts of the rules that look at lines and documents alone."""
    verdicts = Verdicts(
        np.full(len(batch.lines), KEPT, np.uint8), np.full(batch.num_documents, KEPT, np.uint8)
    )
    text = RemainingText(batch, verdicts.lines == KEPT)
    for verdict, rule in settings.active_rules("batch"):
        matched = rule.matches(text, settings)
        if rule.on_documents:
            verdicts.documents[matched & (verdicts.documents == KEPT)] = verdict
        elif matched.any():
            # The lines of a removed document are removed with it.
            verdicts.lines[matched & (verdicts.by_line(batch.documents) == KEPT)] = verdict
            text = RemainingText(batch, verdicts.lines == KEPT)
    return verdicts


def hash_documents(line_hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns 64 bits of the hash of each document's lines in order, uint64 [D]."""
    starts = np.flatnonzero(np.diff(documents, prepend=-1)) * _HASH_BYTES
    data = line_hashes.astype("<u8").tobytes()
    bounds = itertools.pairwise([*starts.tolist(), len(data)])
    return _hashes(data[first:end] for first, end in bounds)


def _hashes(texts: Iterable[bytes]) -> np.ndarray:
    digests = [hashlib.blake2b(text, digest_size=_HASH_BYTES).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8")


@functools.cache
def _character_classes() -> np.ndarray:
    """Returns uint8 [0x110000]: the class of each character."""
    categories = {"P": _SYMBOL, "S": _SYMBOL, "N": _SYMBOL, "Z": _SPACE}
    classes = code_point_table(
        lambda char: categories.get(unicodedata.category(char)[0], 0), np.uint8
    )
    for first, last in (*CJK_RANGES, (_IDEOGRAPHIC_ZERO, _IDEOGRAPHIC_ZERO)):
        classes[first : last + 1] = _CHINESE
    return classes
