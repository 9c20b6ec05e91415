"""Normalised characters, against the same rules one character at a time."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning import normalization
from electra_zh.data.cleaning.normalization import EMPTIED, collapse_spaces, normalize
from electra_zh.errors import UserError

TEXT = st.text(st.sampled_from("中文ab，。 \t\u3000\u200b\ufeff\u00ad\x00\ufffd\u0301\ue000\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("中\u200b文\ufeff", "中文"),
        ("a\u00adb\x07c", "abc"),
        ("\u3000\u3000段落　开头 \t 空格 ", "段落 开头 空格"),
        ("e\u0301", "é"),
        ("葛\U000e0100", "葛"),
        ("你好，世界！", "你好，世界！"),
        ("一行\n \t\n\n二行", "一行\n\n\n二行"),
        ("\ue000\U000f0000", EMPTIED),
        ("a\n\u200b \u200b\nb", f"a\n{EMPTIED}\nb"),
        ("a\u2028b\x85c", "a b c"),
        ("", ""),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normalize(text, "nfc").text == expected


def test_nfkc_makes_punctuation_ascii_and_nfc_does_not() -> None:
    assert normalize("ＡＢ，（１）", "nfkc").text == "AB,(1)"
    assert normalize("ＡＢ，（１）", "nfc").text == "ＡＢ，（１）"
    assert normalize("e\u0301", "none").text == "e\u0301"


def test_few_replacement_characters_are_deleted_and_many_are_left_for_the_rule() -> None:
    good = "字" * 99 + "\ufffd"
    result = normalize(f"{good}\n字\ufffd\n\ufffd", "nfc", max_replacement=0.01)
    assert result.text == f"{'字' * 99}\n字\ufffd\n\ufffd"
    assert result.deleted["replacement"] == 1


def test_deleted_characters_are_counted() -> None:
    result = normalize(" a\u200b  b \n\x00c\ufffd", "nfc", max_replacement=1)
    assert result.text == "a b\nc"
    assert result.deleted == {"control": 2, "white_space": 3, "replacement": 1}


@settings(deadline=None)
@given(TEXT, st.sampled_from(["nfc", "nfkc", "none"]))
def test_normalising_twice_changes_nothing(text: str, form: str) -> None:
    once = normalize(text, form).text
    # The mark of an emptied line is deleted the second time, and inserted again.
    assert normalize(once, form).text == once


@settings(deadline=None)
@given(TEXT)
def test_only_blank_lines_become_empty(text: str) -> None:
    before, after = text.split("\n"), normalize(text, "nfc").text.split("\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert (not new) == (not old or old.isspace())


@settings(deadline=None)
@given(st.text(st.sampled_from("a \n")))
def test_spaces_equal_split_and_join(text: str) -> None:
    lines = (" ".join(part for part in line.split(" ") if part) for line in text.split("\n"))
    assert collapse_spaces(text) == "\n".join(lines)


@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_every_character_is_normalised(form: str) -> None:
    # All that Unicode assigns, and the ends of the planes.
    codes = [*range(0x40000), *range(0xE0000, 0xE1000), 0x4FFFF, 0xF0000, 0x10FFFD, 0x10FFFF]
    text = "".join(f"x{chr(code)}x\n" for code in codes if code != ord("\n"))
    once = normalize(text, form, max_replacement=1).text
    assert normalize(once, form).text == once
    left = set(once)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") for char in left - {"\n"})
    assert {char for char in left if char.isspace()} == {" ", "\n"}


def test_traditional_to_simplified() -> None:
    pytest.importorskip("opencc")
    text = normalize("漢字，頭髮和發展", "nfc", to_simplified=True).text
    assert text == "汉字，头发和发展"


def test_missing_opencc_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opencc", None)
    normalization._converter.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'electra-zh\[opencc\]'"):
        normalize("漢字", "nfc", to_simplified=True)
