"""Hashes of n-grams: stretches of n ideographs and words.

An ideograph is a unit, and so is a run of other letters and digits, which say less one by one: 13
Latin letters are no more than a word. Case, width, punctuation, white space and line ends between
units make no difference.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.text.wordpiece.characters import CODE_POINTS, is_cjk, to_codepoints

# An odd number: multiplying by it loses nothing. 2 ** 64 over the golden ratio.
_BASE = 0x9E3779B97F4A7C15
# Marks the letters and digits that are no ideographs.
_LETTER = 1 << 31
_PLANES_IN_USE = ((0, 0x40000), (0xE0000, 0xE1000))


class Grams(NamedTuple):
    """The n-grams of some documents.

    Attributes:
      hashes: uint64 [G], in the order of the text.
      documents: int64 [G], the document of each; n-grams do not go over its ends.
    """

    hashes: np.ndarray
    documents: np.ndarray


def grams(lines: Sequence[str], documents: np.ndarray, *, n: int) -> Grams:
    """Returns the n-grams of documents.

    Args:
      lines: their lines [L].
      documents: int64 [L], the number of each line's document, ascending.
      n: units of a gram.
    """
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    # The line ends part the words.
    codes = _plain_forms().take(to_codepoints("\n".join(lines)))
    kept = np.flatnonzero(codes)
    values, starts = _units(codes, kept)
    if len(values) < n:
        return Grams(np.empty(0, np.uint64), np.empty(0, np.int64))
    ends = np.cumsum(lengths + 1)
    of_unit = np.repeat(documents, np.diff(np.searchsorted(kept[starts], ends), prepend=0))
    hashes = _rolling(values, n)
    inside = of_unit[n - 1 :] == of_unit[: len(of_unit) - n + 1]
    return Grams(scramble(hashes[inside]), of_unit[: len(inside)][inside])


def _units(codes: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a hash of each ideograph and each run of letters, and where it starts in `kept`."""
    letter = codes >= _LETTER
    # A letter behind a letter goes on with its word.
    goes_on = np.zeros(len(codes), np.bool_)
    goes_on[1:] = letter[1:] & letter[:-1]
    starts = np.flatnonzero(~goes_on[kept])
    sizes = np.diff(np.append(starts, len(kept)))
    within = np.arange(len(kept)) - np.repeat(starts, sizes)
    values = scramble(codes[kept] + (within.astype(np.uint64) << np.uint64(32)))
    return (np.add.reduceat(values, starts) if len(starts) else values), starts


def _rolling(values: np.ndarray, n: int) -> np.ndarray:
    """Returns the polynomial over the base of each n values in a row, uint64 [len - n + 1]."""
    # Of stretches of 1, 2, 4, ... values, each made of two of half its length.
    power, width = values, 1
    result: np.ndarray | None = None
    done = 0
    while True:
        if n & width:
            if result is None:
                result = power
            else:
                # The part behind what is done so far.
                behind = power[done:]
                count = min(len(result), len(behind))
                factor = np.uint64(pow(_BASE, width, 1 << 64))
                result = result[:count] * factor + behind[:count]
            done += width
        if done == n:
            assert result is not None
            return result
        factor = np.uint64(pow(_BASE, width, 1 << 64))
        power = power[:-width] * factor + power[width:]
        width *= 2


def scramble(values: np.ndarray) -> np.ndarray:
    """Returns 64-bit values spread over all 64 bits, one to one (Steele et al., SplitMix64)."""
    values = values + np.uint64(_BASE)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@functools.cache
def _plain_forms() -> np.ndarray:
    """Returns uint32 [0x110000]: what each character is compared as; 0 where it is left out.

    Those of letters and digits are marked with `_LETTER`.
    """
    forms = np.zeros(CODE_POINTS, np.uint32)
    for first, end in _PLANES_IN_USE:
        for code in range(first, end):
            char = chr(code)
            if char.isalnum():
                plain = unicodedata.normalize("NFKC", char).lower()
                form = plain if len(plain) == 1 else char
                forms[code] = ord(form) | (0 if is_cjk(ord(form)) else _LETTER)
    return forms


def prepare() -> None:
    """Makes the table of characters, before worker processes are forked that share it."""
    _plain_forms()
