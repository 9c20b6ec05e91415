"""Characters: code points as arrays, tables over all of them, and the normalisation of text."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from electra_zh.text.settings import TokenizerSettings

# Unassigned characters vanish, so token ids depend on the version of Unicode that Python knows.
UNICODE_VERSION = unicodedata.unidata_version

CODE_POINTS = 0x110000
# Unicode assigns nothing in planes 4 to 13, and planes 15 and 16 are for private use. A test
# checks every code point.
_PLANES_IN_USE = ((0, 0x40000), (0xE0000, 0xE1000))

# Ideographs, each a word of its own to WordPiece. Kana and Hangul are not among them.
CJK_RANGES = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
# Halves of characters, which JSON can bring and UTF-8 cannot encode.
SURROGATE = re.compile("[\ud800-\udfff]")
# Symbols to Unicode, punctuation to the reference, as every other ASCII mark.
ASCII_SYMBOLS = "$+<=>^`|~"


def is_cjk(code_point: int) -> bool:
    """Returns whether the character is an ideograph by the reference's ranges."""
    if code_point < CJK_RANGES[0][0]:  # Most other characters; only speed.
        return False
    return any(first <= code_point <= last for first, last in CJK_RANGES)


def is_dropped(char: str) -> bool:
    """Returns whether the character vanishes from the text: control, format, unassigned, ..."""
    if unicodedata.category(char)[0] == "C":
        return char not in "\t\n\r"
    return char == "\ufffd"


def is_punctuation(char: str) -> bool:
    """Returns whether the character is punctuation, which is a word of its own to WordPiece."""
    return unicodedata.category(char)[0] == "P" or char in ASCII_SYMBOLS


def normalize(word: str, settings: TokenizerSettings) -> str:
    """Returns the word lower-cased and without accents, according to the settings."""
    if settings.lower_case:
        word = word.lower()
    if settings.strip_accents:
        decomposed = unicodedata.normalize("NFD", word)
        word = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    return word


def to_codepoints(text: str) -> np.ndarray:
    """Returns the text's characters, uint32 [len(text)], read-only."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def to_text(points: np.ndarray) -> str:
    """Returns the text of code points."""
    return points.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")


def code_point_table(
    value: Callable[[str], float], dtype: DTypeLike, *, default: int = 0
) -> np.ndarray:
    """Returns a table of the values of all code points, [0x110000].

    Planes in which Unicode assigns no characters have the default.
    """
    table = np.full(CODE_POINTS, default, dtype)
    for first, end in _PLANES_IN_USE:
        table[first:end] = np.fromiter(map(value, map(chr, range(first, end))), dtype, end - first)
    return table


@functools.cache
def major_categories() -> np.ndarray:
    """Returns uint8 [0x110000]: the first letter of each character's Unicode category."""
    category = unicodedata.category
    return code_point_table(lambda char: ord(category(char)[0]), np.uint8, default=ord("C"))


def joined_starts(texts: Sequence[str]) -> np.ndarray:
    """Returns the start of each text in the texts joined by one character, int64 [texts]."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.cumsum(lengths + 1) - lengths - 1


def find_runs(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns starts and ends, int64, of the maximal runs of True in bool [C]."""
    changes = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    return changes[::2], changes[1::2]
