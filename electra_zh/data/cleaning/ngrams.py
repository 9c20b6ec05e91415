"""Hashes of n-grams of units. A unit is an ideograph, or a run of other letters and digits.

13 single Latin letters would be no more than a word. Case, width, punctuation, white space and line
ends between units make no difference.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.text.characters import code_point_table, is_cjk, to_codepoints

# An odd number, so that multiplying by it is one to one: 2 ** 64 over the golden ratio.
_BASE = 0x9E3779B97F4A7C15
# Marks letters and digits other than ideographs.
_LETTER = 1 << 31


class Ngrams(NamedTuple):
    """The n-grams of some documents in the order of the text; none crosses a document's end."""

    hashes: np.ndarray  # uint64 [G]
    documents: np.ndarray  # int64 [G]


NO_NGRAMS = Ngrams(np.empty(0, np.uint64), np.empty(0, np.int64))


def hash_ngrams(lines: Sequence[str], documents: np.ndarray, *, n: int) -> Ngrams:
    """Returns the n-grams of lines whose documents have the ascending numbers int64 [L]."""
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    # Line ends separate words.
    codes = _plain_forms().take(to_codepoints("\n".join(lines)))
    kept = np.flatnonzero(codes)
    values, starts = _hash_units(codes, kept)
    if len(values) < n:
        return NO_NGRAMS
    ends = np.cumsum(lengths + 1)
    of_unit = np.repeat(documents, np.diff(np.searchsorted(kept[starts], ends), prepend=0))
    hashes = _rolling_hashes(values, n)
    inside = of_unit[n - 1 :] == of_unit[: len(of_unit) - n + 1]
    return Ngrams(scramble(hashes[inside]), of_unit[: len(inside)][inside])


def _hash_units(codes: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hash of each unit, and the index in `kept` of its first character."""
    letter = codes >= _LETTER
    # A letter after a letter continues its word.
    continues = np.zeros(len(codes), np.bool_)
    continues[1:] = letter[1:] & letter[:-1]
    starts = np.flatnonzero(~continues[kept])
    sizes = np.diff(np.append(starts, len(kept)))
    within = np.arange(len(kept)) - np.repeat(starts, sizes)
    values = scramble(codes[kept] + (within.astype(np.uint64) << np.uint64(32)))
    return (np.add.reduceat(values, starts) if len(starts) else values), starts


def _rolling_hashes(values: np.ndarray, n: int) -> np.ndarray:
    """Returns the polynomial over `_BASE` of each n consecutive values, uint64 [len - n + 1]."""
    count = len(values) - n + 1
    hashes = values[:count].copy()
    for offset in range(1, n):
        hashes *= np.uint64(_BASE)
        hashes += values[offset : offset + count]
    return hashes


def scramble(values: np.ndarray) -> np.ndarray:
    """Returns 64-bit values spread over all 64 bits, one to one (Steele et al., SplitMix64)."""
    spread: np.ndarray = values + np.uint64(_BASE)
    spread = (spread ^ (spread >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    spread = (spread ^ (spread >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread ^= spread >> np.uint64(31)
    return spread


@functools.cache
def _plain_forms() -> np.ndarray:
    """Returns uint32 [0x110000]: the form in which each character is compared; 0 to skip it.

    Those of letters and digits are marked with `_LETTER`.
    """

    def form(char: str) -> int:
        if not char.isalnum():
            return 0
        plain = unicodedata.normalize("NFKC", char).lower()
        code = ord(plain if len(plain) == 1 else char)
        return code | (0 if is_cjk(code) else _LETTER)

    return code_point_table(form, np.uint32)
