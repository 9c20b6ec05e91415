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
    """The n-grams of some documents.

    Attributes:
      hashes: uint64 [G], in the order of the text.
      documents: int64 [G], the document of each; n-grams do not cross its ends.
    """

    hashes: np.ndarray
    documents: np.ndarray


NO_NGRAMS = Ngrams(np.empty(0, np.uint64), np.empty(0, np.int64))


def hash_ngrams(lines: Sequence[str], documents: np.ndarray, *, n: int) -> Ngrams:
    """Returns the n-grams of documents.

    Args:
      lines: their lines [L].
      documents: int64 [L], the number of each line's document, ascending.
      n: units per n-gram.
    """
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
    # `power` has the polynomials of 1, 2, 4, ... values, each made of two of half the width.
    power, width = values, 1
    result: np.ndarray | None = None
    done = 0
    while True:
        factor = np.uint64(pow(_BASE, width, 1 << 64))
        if n & width:
            if result is None:
                result = power
            else:
                rest = power[done:]
                count = min(len(result), len(rest))
                result = result[:count] * factor + rest[:count]
            done += width
        if done == n:
            assert result is not None
            return result
        power = power[:-width] * factor + power[width:]
        width *= 2


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


def prepare() -> None:
    """Makes the table of characters, before worker processes are forked that share it."""
    _plain_forms()
