"""Hashes of n-grams: stretches of n letters, digits and ideographs.

Case, width, punctuation, white space and line ends make no difference: what is compared is the
characters that are left when all of those are taken away.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.text.characters import CJK_RANGES, CODE_POINTS, to_codepoints

# An odd number: multiplying by it loses nothing. 2 ** 64 over the golden ratio.
_BASE = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
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
      n: characters of a gram.
    """
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    codes = _plain_forms().take(to_codepoints("".join(lines)))
    kept = codes > 0
    codes = codes[kept]
    of_code = np.repeat(documents, lengths)[kept]
    if len(codes) < n:
        return Grams(np.empty(0, np.uint64), np.empty(0, np.int64))
    hashes = _rolling(scramble(codes.astype(np.uint64)), n)
    inside = of_code[n - 1 :] == of_code[: len(of_code) - n + 1]
    return Grams(scramble(hashes[inside]), of_code[: len(inside)][inside])


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
    """Returns uint32 [0x110000]: what each character is compared as; 0 where it is left out."""
    forms = np.zeros(CODE_POINTS, np.uint32)
    for first, end in _PLANES_IN_USE:
        for code in range(first, end):
            char = chr(code)
            if char.isalnum():
                plain = unicodedata.normalize("NFKC", char).lower()
                forms[code] = ord(plain) if len(plain) == 1 else code
    for first, last in CJK_RANGES:
        ideographs = forms[first : last + 1]
        ideographs[ideographs == 0] = np.arange(first, last + 1, dtype=np.uint32)[ideographs == 0]
    return forms


def prepare() -> None:
    """Makes the table of characters, before worker processes are forked that share it."""
    _plain_forms()
