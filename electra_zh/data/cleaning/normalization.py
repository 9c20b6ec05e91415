"""Normalisation of characters, a block of text at a time.

First control and zero-width characters and U+FFFD are deleted, and all white space becomes plain
spaces. Then follow the Unicode form and the conversion to simplified characters. Last, runs of
spaces become one space, and lines are stripped. Lines stay lines. A blank line becomes empty and
still ends its document. A line of deleted characters only is not blank, and becomes `EMPTIED`.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from electra_zh.data.cleaning.rules import EMPTIED, REPLACEMENT
from electra_zh.errors import UserError, install_line
from electra_zh.text.characters import code_point_table, to_codepoints, to_text

_PLAIN, _SPACE, _NEWLINE, _REPLACEMENT, _DELETED = range(5)
_PRIVATE_PLANES = 0xF0000
# Invisible, although Unicode does not call them format characters: variation selectors, the
# grapheme joiner, the Hangul fillers.
_INVISIBLE = (
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x180B, 0x180F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
)
_NONCHARACTERS = (0xFDD0, 0xFDEF)
_SPACE_CODE, _NEWLINE_CODE = 0x20, 0x0A


class NormalizedText(NamedTuple):
    """A normalised text, of as many lines as before, and the characters deleted from it by class.

    The classes are `control`: control and zero-width characters; `replacement`: U+FFFD, but for
    lines with too many of them; `white_space`: at the ends of lines and next to white space.
    """

    text: str
    deleted: Counter[str]


def normalize(
    text: str, form: str, *, to_simplified: bool = False, max_replacement: float = 0.01
) -> NormalizedText:
    r"""Returns the normalised lines of a text, lines joined by "\n".

    The Unicode form is "nfc", "nfkc" or "none". U+FFFD is deleted from lines with at most the
    fraction `max_replacement` of it among the characters other than white space.
    """
    text, control, replacement = _delete_characters(text, max_replacement)
    if form != "none":
        text = unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    if to_simplified:
        text = _converter().convert(text)
    collapsed = collapse_spaces(text)
    white_space = len(text) - len(collapsed)
    deleted = Counter(control=control, replacement=replacement, white_space=white_space)
    return NormalizedText(collapsed, deleted)


def _delete_characters(text: str, max_replacement: float) -> tuple[str, int, int]:
    """Returns the text, and the numbers of control characters and of U+FFFD deleted from it."""
    # Every line, the last one too, ends with a line end.
    codes = to_codepoints(text + "\n")
    kinds = _kinds().take(codes)
    control = kinds == _DELETED
    broken = kinds == _REPLACEMENT
    any_control, any_broken = bool(control.any()), bool(broken.any())
    codes = np.where(kinds == _SPACE, np.uint32(_SPACE_CODE), codes)
    if any_control or any_broken:
        ends = np.flatnonzero(kinds == _NEWLINE)
        starts = np.concatenate([[0], ends[:-1] + 1])
        solid = _line_sums(kinds == _PLAIN, starts)
        of_line = _line_sums(broken, starts)
        # Lines with too many keep theirs, for the rule on U+FFFD to find.
        spoilt = of_line > max_replacement * (solid + of_line)
        broken &= ~np.repeat(spoilt, ends + 1 - starts)
        deleted = control | broken
        emptied = starts[(solid == 0) & ~spoilt & (_line_sums(deleted, starts) > 0)]
        codes[emptied] = ord(EMPTIED)
        keep = ~deleted
        keep[emptied] = True
        codes = codes[keep]
    return to_text(codes[:-1]), int(control.sum()), int(broken.sum())


def _line_sums(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(mask, starts, dtype=np.int64)


def collapse_spaces(text: str) -> str:
    """Returns the text with single spaces inside lines and none at their ends."""
    if "  " not in text and " \n" not in text and "\n " not in text and text == text.strip(" "):
        return text
    codes = to_codepoints(f"\n{text}\n")
    space = codes == _SPACE_CODE
    # The first space of a run is kept.
    codes = codes[~(space & np.concatenate([[False], space[:-1]]))]
    space, newline = codes == _SPACE_CODE, codes == _NEWLINE_CODE
    space[1:-1] &= newline[:-2] | newline[2:]
    return to_text(codes[~space][1:-1])


@functools.cache
def _kinds() -> np.ndarray:
    """Returns uint8 [0x110000]: the treatment of each character."""

    def kind(char: str) -> int:
        if char.isspace():
            return _SPACE
        return _DELETED if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else _PLAIN

    kinds = code_point_table(kind, np.uint8, default=_PLAIN)
    kinds[_PRIVATE_PLANES:] = _DELETED
    for first, last in (*_INVISIBLE, _NONCHARACTERS):
        kinds[first : last + 1] = _DELETED
    # The last two code points of every plane are not characters.
    kinds.reshape(-1, 1 << 16)[:, -2:] = _DELETED
    kinds[ord(REPLACEMENT)] = _REPLACEMENT
    kinds[_NEWLINE_CODE] = _NEWLINE
    return kinds


@functools.cache
def _converter() -> Any:
    """Returns OpenCC's converter."""
    try:
        import opencc
    except ImportError:
        raise UserError(f"--to-simplified needs OpenCC: {install_line('opencc')}") from None
    return opencc.OpenCC("t2s")
