"""The reference's rule for words, one line at a time and as one array over all code points.

`split_words` is the rule itself (google-research/electra, model/tokenization.py, BasicTokenizer),
character by character. `character_forms` is the same rule as a table, for the characters on which
it does not depend on their neighbours.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from electra_zh.text.characters import (
    ASCII_SYMBOLS,
    CJK_RANGES,
    find_runs,
    is_cjk,
    is_dropped,
    is_punctuation,
    major_categories,
    normalize,
    to_text,
)
from electra_zh.text.settings import TokenizerSettings

# Classes in `character_forms` of the characters that are not always one word.
SPACE = -1  # ends a word
WORD = -2  # part of a word: its tokens depend on the characters around it
DROP = -3  # vanishes, and does not end a word

_CJK_COMPATIBILITY = (0xF900, 0x2F800)
_HANGUL = (0xAC00, 0xD7A3)

# The one letter whose lower case depends on its neighbours (final sigma).
CAPITAL_SIGMA = "\u03a3"


def split_words(line: str, settings: TokenizerSettings) -> list[str]:
    """Splits a line into normalised words by the reference's rule; a line end is a space.

    Clean, put spaces round ideographs, split at white space, normalise each part, split each at
    punctuation.
    """
    # str.split knows every space that is left: tab, line ends, and categories Zs, Zl and Zp.
    kept = (char for char in line if not is_dropped(char))
    spaced = "".join(f" {char} " if is_cjk(ord(char)) else char for char in kept)
    words: list[str] = []
    for part in spaced.split():
        word = normalize(part, settings)
        start = 0
        for index, char in enumerate(word):
            if is_punctuation(char):
                words += (word[start:index], char)
                start = index + 1
        words.append(word[start:])
    return list(filter(None, words))


def character_forms(settings: TokenizerSettings) -> np.ndarray:
    """Returns for each code point the one-character word it always is, or its class.

    A form is given to ideographs and punctuation only. Cutting a line before and after such a
    character changes nothing for its neighbours:

    - the reference puts spaces around ideographs too;
    - punctuation ends words, and lower-casing looks at single characters (but for the capital
      sigma: see `word_runs`);
    - decomposing reorders combining marks only after a character that is not one, and each form
      starts with such a character. Marks after punctuation are then sorted among themselves as
      they are without it; its own marks are of category Mn and dropped.

    Everything else that is neither SPACE nor DROP is WORD: always safe, since a stretch of WORD
    and DROP characters goes through `split_words`.

    Returns:
      int32 [0x110000]: the code point of the form, or SPACE, WORD or DROP.
    """
    major = major_categories()
    forms = np.full(len(major), WORD, np.int32)
    forms[major == ord("C")] = DROP
    forms[major == ord("Z")] = SPACE
    forms[[0x09, 0x0A, 0x0D]] = SPACE
    forms[0xFFFD] = DROP
    single = major == ord("P")
    single[[ord(char) for char in ASCII_SYMBOLS]] = True
    for low, high in CJK_RANGES:
        single[low : high + 1] = True
    points = np.flatnonzero(single & (forms == WORD))
    forms[points] = points
    if settings.lower_case:
        _apply_normal_forms(forms, settings)
    return forms


def _apply_normal_forms(forms: np.ndarray, settings: TokenizerSettings) -> None:
    """Sets the forms of characters that lower-casing or decomposing changes."""
    looked_at = (forms >= 0) | (forms == WORD)
    # Hangul syllables decompose into several letters, so they stay WORD. Of the ideographs, only
    # the compatibility ones decompose. Skipping the others saves most of the time.
    for first, last in (*CJK_RANGES, _HANGUL):
        if first not in _CJK_COMPATIBILITY:
            looked_at[first : last + 1] = False
    text = to_text(np.flatnonzero(looked_at))
    for start in range(0, len(text), 32):
        some = text[start : start + 32]
        if some.lower() == some and unicodedata.is_normalized("NFD", some):
            continue
        for char in some:
            form = normalize(char, settings)
            if form != char:
                forms[ord(char)] = ord(form) if _stands_alone(char, form) else WORD


def _stands_alone(char: str, form: str) -> bool:
    """Returns whether a character that becomes `form` is always the word `form`."""
    if len(form) != 1 or not (is_cjk(ord(char)) or is_punctuation(form)):
        return False
    return unicodedata.combining(unicodedata.normalize("NFD", char.lower())[0]) == 0


def word_runs(
    text: str, codes: np.ndarray, settings: TokenizerSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns starts and ends of the maximal stretches of WORD and DROP characters in codes [C].

    If text is lower-cased, each part of it that holds a capital sigma first becomes one stretch of
    WORD in `codes`. The lower case of the sigma depends on the letters before and after it, also
    across punctuation such as apostrophes. The reference lower-cases all text between white space
    and ideographs: that complete part needs `split_words`.
    """
    if settings.lower_case:
        _join_sigma_parts(text, codes)
    return find_runs(codes < SPACE)


def _join_sigma_parts(text: str, codes: np.ndarray) -> None:
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
