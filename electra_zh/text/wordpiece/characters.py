"""What the tokenizer sees in each character, and how a line becomes words.

`split_words` is the reference's rule (google-research/electra, model/tokenization.py,
BasicTokenizer), character by character. `character_forms` is the same rule as one array over all
code points, for the characters on which it does not depend on their neighbours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CODE_POINTS = 0x110000

# What `character_forms` says of a character that is no word on its own.
SPACE = -1  # ends a word
WORD = -2  # part of a word: its tokens depend on the characters around it
DROP = -3  # vanishes, and does not end a word

# Ideographs, each a word of its own. Kana and Hangul are not among them.
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
# They count as punctuation, as all that is ASCII and no letter, digit or space, though Unicode
# calls them symbols.
_ASCII_SYMBOLS = "$+<=>^`|~"
_CJK_COMPATIBILITY = (0xF900, 0x2F800)
_HANGUL = (0xAC00, 0xD7A3)
# Unicode assigns nothing in planes 4 to 13, and planes 15 and 16 are for private use: all of them
# vanish. A test goes over every code point.
_PLANES_IN_USE = ((0, 0x40000), (0xE0000, 0xE1000))

# The one letter whose lower case depends on its neighbours (final sigma).
CAPITAL_SIGMA = "\u03a3"


@dataclass(frozen=True)
class TokenizerSettings:
    """How text is normalised.

    Attributes:
      lower_case: lower-case all text.
      strip_accents: decompose (NFD) and drop combining marks; only together with `lower_case`.
      map_punctuation: give punctuation that the vocabulary lacks the id of its ASCII counterpart
        (see `wordpiece.PUNCTUATION_MAP`). The reference has no such thing.
    """

    lower_case: bool = True
    strip_accents: bool = True
    map_punctuation: bool = False

    @property
    def strips(self) -> bool:
        """Whether accents are stripped in fact."""
        return self.lower_case and self.strip_accents


def code_point_table(
    form: Callable[[str], int], dtype: type[np.generic], *, default: int = 0
) -> np.ndarray:
    """Returns [0x110000]: the form of each character; `default` in planes without characters."""
    table = np.full(CODE_POINTS, default, dtype)
    for first, end in _PLANES_IN_USE:
        table[first:end] = [form(chr(code)) for code in range(first, end)]
    return table


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
    """Returns whether the character is a word of its own as punctuation."""
    return unicodedata.category(char)[0] == "P" or char in _ASCII_SYMBOLS


def normalize(word: str, settings: TokenizerSettings) -> str:
    """Returns the word lower-cased and without accents, as the settings say."""
    if settings.lower_case:
        word = word.lower()
    if settings.strips:
        decomposed = unicodedata.normalize("NFD", word)
        word = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    return word


def split_words(line: str, settings: TokenizerSettings) -> list[str]:
    r"""Splits a line into normalised words by the reference's rule; "\n" is a space.

    Clean, put spaces round ideographs, split at white space, normalise each part, split each at
    punctuation.
    """
    # str.split knows every space that is left: tab, line ends, and categories Zs, Zl and Zp.
    kept = (char for char in line if not is_dropped(char))
    spaced = "".join(f" {char} " if is_cjk(ord(char)) else char for char in kept)
    words: list[str] = []
    for part in spaced.split():
        for word in _split_punctuation(normalize(part, settings)):
            # Decomposing could bring white space; today's Unicode has no such character.
            words.extend(word.split())
    return words


def _split_punctuation(word: str) -> list[str]:
    # Cut, not put together: what stands between spaces may be a whole file.
    words: list[str] = []
    start = 0
    for index, char in enumerate(word):
        if is_punctuation(char):
            if start < index:
                words.append(word[start:index])
            words.append(char)
            start = index + 1
    if start < len(word):
        words.append(word[start:])
    return words


def character_forms(settings: TokenizerSettings) -> np.ndarray:
    """Returns for each code point the one-character word it always is, or its class.

    A form is given to ideographs and punctuation only. Cutting a line before and behind such a
    character changes nothing for its neighbours:

    - an ideograph stands between spaces in the reference too;
    - punctuation ends words, and lower-casing looks at single characters (but for the capital
      sigma: see `join_sigma_parts`);
    - decomposing reorders combining marks only behind a character that is none, and each form
      starts with such a character. Marks behind punctuation are then sorted among themselves as
      they are without it; its own marks are of category Mn and dropped.

    Everything else that is neither SPACE nor DROP is WORD: always safe, since a stretch of WORD
    and DROP characters goes through `split_words`.

    Returns:
      int32 [0x110000]: the code point of the form, or SPACE, WORD or DROP.
    """
    forms = np.full(CODE_POINTS, DROP, np.int32)
    for first, end in _PLANES_IN_USE:
        points = np.arange(first, end, dtype=np.int32)
        names = "".join(map(unicodedata.category, _to_text(points))).encode("ascii")
        major = np.frombuffer(names, np.uint8)[::2]
        part = np.where(major == ord("C"), DROP, WORD).astype(np.int32)
        part[major == ord("Z")] = SPACE
        single = major == ord("P")
        if first == 0:
            part[[0x09, 0x0A, 0x0D]] = SPACE
            part[0xFFFD] = DROP
            single[[ord(char) for char in _ASCII_SYMBOLS]] = True
        for low, high in CJK_RANGES:
            single[max(low - first, 0) : max(high + 1 - first, 0)] = True
        single &= part == WORD
        part[single] = points[single]
        forms[first:end] = part
    if settings.lower_case:
        _apply_normal_forms(forms, settings)
    return forms


def _apply_normal_forms(forms: np.ndarray, settings: TokenizerSettings) -> None:
    """Gives characters that lower-casing or decomposing changes the form of what they become."""
    looked_at = (forms >= 0) | (forms == WORD)
    # Hangul syllables decompose into several letters, so they stay WORD. Of the ideographs, only
    # the compatibility ones decompose. Leaving the others out saves most of the time.
    for first, last in (*CJK_RANGES, _HANGUL):
        if first not in _CJK_COMPATIBILITY:
            looked_at[first : last + 1] = False
    text = _to_text(np.flatnonzero(looked_at))
    for start in range(0, len(text), 32):
        some = text[start : start + 32]
        if some.lower() == some and unicodedata.is_normalized("NFD", some):
            continue
        for char in some:
            form = normalize(char, settings)
            if form != char:
                alone = _stands_alone(char, form)
                forms[ord(char)] = ord(form) if alone else WORD


def _stands_alone(char: str, form: str) -> bool:
    """Returns whether a character that becomes `form` is always the word `form`."""
    if len(form) != 1 or not (is_cjk(ord(char)) or is_punctuation(form)):
        return False
    return unicodedata.combining(unicodedata.normalize("NFD", char.lower())[0]) == 0


def to_codepoints(text: str) -> np.ndarray:
    """Returns the text's characters, uint32 [len(text)], read-only."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def _to_text(points: np.ndarray) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def word_runs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns starts and ends of the maximal stretches of WORD and DROP characters.

    Args:
      codes: int32, of each character its class where it is SPACE, WORD or DROP.
    """
    inside = np.zeros(len(codes) + 2, np.bool_)
    np.less(codes, SPACE, out=inside[1:-1])
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    return changes[::2], changes[1::2]


def join_sigma_parts(text: str, codes: np.ndarray) -> None:
    """Makes each part of the text that holds a capital sigma one run of WORD in `codes`.

    Its lower case depends on the letters before and behind it, also across punctuation such as
    apostrophes. The reference lower-cases what stands between white space and ideographs: that
    whole part must go through `split_words`.
    """
    end = 0
    position = text.find(CAPITAL_SIGMA)
    while position >= 0:
        start = position
        while start > end and not _bounds_part(text[start - 1], codes[start - 1]):
            start -= 1
        end = position + 1
        while end < len(text) and not _bounds_part(text[end], codes[end]):
            end += 1
        codes[start:end] = WORD
        position = text.find(CAPITAL_SIGMA, end)


def _bounds_part(char: str, code: int) -> bool:
    return bool(code == SPACE) or (bool(code != DROP) and is_cjk(ord(char)))
