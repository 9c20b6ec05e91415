"""The characters of a text put in order, a block at a time.

First what has no place in text is taken out (control and zero-width characters, U+FFFD) and every
white space becomes a plain one; then the Unicode form and simplified characters; then runs of white
space become one space, and none is left at the ends of a line. Lines stay lines: a line that was
blank is empty after it and still ends its document; a line with nothing but characters that are
taken out is no blank line, and becomes `EMPTIED`.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numpy as np

from electra_zh.data.cleaning.settings import UnicodeForm
from electra_zh.errors import UserError
from electra_zh.text.wordpiece.characters import CODE_POINTS, to_codepoints

REPLACEMENT = 0xFFFD
# A code point that is no character, and taken out of all text: it can stand for what was there.
EMPTIED = "\ufffe"

_PLAIN, _SPACE, _NEWLINE, _REPLACEMENT, _REMOVED = range(5)
# Planes with assigned characters, private ones apart.
_PLANES_IN_USE = ((0, 0x40000), (0xE0000, 0xE1000))
_PRIVATE_PLANES = 0xF0000
# Invisible, though Unicode does not call them format characters: variation selectors, the grapheme
# joiner, the Hangul fillers.
_INVISIBLE = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x180B, 0x180F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
)
_SPACE_CODE, _NEWLINE_CODE = 0x20, 0x0A


class Normalized(NamedTuple):
    """A text put in order.

    Attributes:
      text: the same number of lines as before.
      control: control and zero-width characters taken out.
      replacement: U+FFFD taken out; those of lines with too many of them are left in.
      white_space: white space taken out at the ends of lines and beside other white space.
    """

    text: str
    control: int
    replacement: int
    white_space: int


def normalize(
    text: str, form: UnicodeForm, *, to_simplified: bool = False, max_replacement: float = 0.01
) -> Normalized:
    """Returns the lines of a text put in order.

    Args:
      text: lines joined by "\\n".
      form: the Unicode form.
      to_simplified: turn traditional characters into simplified ones.
      max_replacement: the largest share of U+FFFD, of the characters that are no white space, in a
        line that it is taken out of.
    """
    text, control, replacement = _remove_characters(text, max_replacement)
    if form != "none":
        text = unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    if to_simplified:
        text = _converter().convert(text)
    collapsed = collapse_spaces(text)
    return Normalized(collapsed, control, replacement, len(text) - len(collapsed))


def _remove_characters(text: str, max_replacement: float) -> tuple[str, int, int]:
    """Returns the text without what has no place in it, and how many characters of each kind."""
    # Every line, the last one too, ends with a line end.
    codes = to_codepoints(text + "\n")
    kinds = _kinds().take(codes)
    removed = kinds == _REMOVED
    broken = kinds == _REPLACEMENT
    any_removed, any_broken = bool(removed.any()), bool(broken.any())
    spaces = kinds == _SPACE
    codes = np.where(spaces, np.uint32(_SPACE_CODE), codes)
    if any_removed or any_broken:
        ends = np.flatnonzero(kinds == _NEWLINE)
        starts = np.concatenate([[0], ends[:-1] + 1])
        solid = _line_sums(kinds == _PLAIN, starts)
        of_line = _line_sums(broken, starts)
        # What is left in is for the rule on U+FFFD to find.
        spoilt = of_line > max_replacement * (solid + of_line)
        broken &= ~np.repeat(spoilt, ends + 1 - starts)
        taken = removed | broken
        emptied = starts[(solid == 0) & ~spoilt & (_line_sums(taken, starts) > 0)]
        codes[emptied] = ord(EMPTIED)
        keep = ~taken
        keep[emptied] = True
        codes = codes[keep]
    return _to_text(codes[:-1]), int(removed.sum()), int(broken.sum())


def _line_sums(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(mask, starts, dtype=np.int64)


def collapse_spaces(text: str) -> str:
    """Returns the text with single spaces inside of lines and none at their ends."""
    if "  " not in text and " \n" not in text and "\n " not in text and text == text.strip(" "):
        return text
    codes = to_codepoints(f"\n{text}\n")
    space = codes == _SPACE_CODE
    # Of a run of spaces, the first stays.
    codes = codes[~(space & np.concatenate([[False], space[:-1]]))]
    space, newline = codes == _SPACE_CODE, codes == _NEWLINE_CODE
    space[1:-1] &= newline[:-2] | newline[2:]
    return _to_text(codes[~space][1:-1])


def _to_text(codes: np.ndarray) -> str:
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le")


@functools.cache
def _kinds() -> np.ndarray:
    """Returns uint8 [0x110000]: what becomes of each character."""
    kinds = np.full(CODE_POINTS, _PLAIN, np.uint8)
    for first, end in _PLANES_IN_USE:
        for code in range(first, end):
            char = chr(code)
            if char.isspace():
                kinds[code] = _SPACE
            elif unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co"):
                kinds[code] = _REMOVED
    kinds[_PRIVATE_PLANES:] = _REMOVED
    for first, last in (*_INVISIBLE, (0xFDD0, 0xFDEF)):
        kinds[first : last + 1] = _REMOVED
    # The last two code points of every plane are no characters.
    kinds.reshape(-1, 1 << 16)[:, -2:] = _REMOVED
    kinds[REPLACEMENT] = _REPLACEMENT
    kinds[_NEWLINE_CODE] = _NEWLINE
    return kinds


@functools.cache
def _converter() -> Any:
    """Returns OpenCC's converter.

    Raises:
      UserError: OpenCC is not installed.
    """
    try:
        import opencc
    except ImportError:
        raise UserError("--to-simplified needs OpenCC: pip install 'electra-zh[opencc]'") from None
    return opencc.OpenCC("t2s")


def prepare(*, to_simplified: bool) -> None:
    """Loads what normalising needs, before worker processes are forked that share it.

    Raises:
      UserError: a package is not installed.
    """
    _kinds()
    if to_simplified:
        _converter()
