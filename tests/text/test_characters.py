"""Words of a line by the reference's rule, and the table of characters that follows from it."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.wordpiece.splitting import DROP, SPACE, WORD, character_forms, split_words

DEFAULT = TokenizerSettings()
ACCENTS = TokenizerSettings(strip_accents=False)
CASED = TokenizerSettings(lower_case=False)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("我爱北京", ["我", "爱", "北", "京"]),
        ("BERT模型v1.0", ["bert", "模", "型", "v1", ".", "0"]),
        ("a\u200bb\x00c\ufffdd\x85e", ["abcde"]),  # they vanish within a word
        ("a\u2028b\u3000c\td", ["a", "b", "c", "d"]),
        ("Café", ["cafe"]),
        ("a≠b", ["a", "=", "b"]),  # decomposes into = and a mark
        ("[MASK]", ["[", "mask", "]"]),
        ("カタ", ["カタ"]),  # kana are not ideographs
        ("\uf900", ["\u8c48"]),  # a compatibility ideograph
        ("ΑΣ Σ", ["ας", "σ"]),  # final sigma
        ("Α'Σ", ["α", "'", "ς"]),  # its context continues across an apostrophe
        ("中\u0301", ["中"]),
        ("", []),
        (" \t\u200b ", []),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split_words(line, DEFAULT) == words


def test_a_word_may_be_very_long() -> None:
    letters = "x" * 100_000
    words = split_words(f"{letters},{letters}..", TokenizerSettings())
    assert words == [letters, ",", letters, ".", "."]


def test_settings_decide_on_case_and_accents() -> None:
    assert split_words("Café≠", ACCENTS) == ["café≠"]
    assert split_words("Café", CASED) == ["Café"]
    # As in the reference, accents are stripped only together with lower-casing.
    assert split_words("Café", TokenizerSettings(lower_case=False, strip_accents=True)) == ["Café"]


@pytest.mark.parametrize("settings", [DEFAULT, ACCENTS, CASED], ids=["default", "accents", "cased"])
def test_every_character_alone_becomes_its_form(settings: TokenizerSettings) -> None:
    forms = character_forms(settings)
    singles = np.flatnonzero(forms >= 0).tolist()
    assert [split_words(chr(point), settings) for point in singles] == [
        [chr(form)] for form in forms[singles].tolist()
    ]
    empty = np.flatnonzero((forms == SPACE) | (forms == DROP))
    text = empty.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    # All at once: white space and nothing else must be left.
    assert split_words(text, settings) == []


@pytest.mark.parametrize("settings", [DEFAULT, ACCENTS, CASED], ids=["default", "accents", "cased"])
def test_classes_follow_the_categories(settings: TokenizerSettings) -> None:
    forms = character_forms(settings)
    major = np.array([ord(unicodedata.category(chr(point))[0]) for point in range(0x110000)])
    spaces = (major == ord("Z")) | np.isin(np.arange(0x110000), [9, 10, 13])
    np.testing.assert_array_equal(forms == SPACE, spaces)
    dropped = ((major == ord("C")) & ~spaces) | (np.arange(0x110000) == 0xFFFD)
    np.testing.assert_array_equal(forms == DROP, dropped)
    # Letters, marks, digits and symbols are in words, but for ideographs and ASCII signs.
    assert (forms[[ord(char) for char in "aＡé가カ☀０"]] == WORD).all()


def test_no_punctuation_is_a_combining_mark() -> None:
    # What `character_forms` says about cutting after punctuation depends on this.
    for point in range(0x110000):
        if unicodedata.category(chr(point))[0] == "P":
            assert unicodedata.combining(chr(point)) == 0


def test_only_the_sigma_has_a_lower_case_by_context() -> None:
    for point in range(0x110000):
        char = chr(point)
        lower = char.lower()
        if lower != char and char != "\u03a3":
            assert ("a" + char + "a").lower() == f"a{lower}a"
            assert ("a" + char).lower() == f"a{lower}"
