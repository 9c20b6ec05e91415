"""Tokens of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.scores.answer_tokens import (
    longest_common_run,
    mixed_segmentation,
    without_punctuation,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("光荣和ω-force", "光|荣|和|ωforce"),  # the hyphen is removed and does not separate
        ("1996年8月", "1996|年|8|月"),
        ("《I Love You》专辑", "i|love|you|专|辑"),
        ("a，b", "ab"),  # nor does a comma
        ("国  家", "国|家"),
        ("1,200.5元", "1,200.5|元"),
        ("A, B", "a|,|b"),
        ("50%以上", "50|%|以|上"),
        ("(NFL)联盟", "(|nfl|)|联|盟"),
        ("he said no.", "he|said|no|."),
        ("U.S. Army", "u.s.|army"),
        ("wait...what", "wait|...|what"),
        ("don't", "do|n't"),
        ("Rock'n roll's", "rock'n|roll|'s"),
        ("'quoted'", "'|quoted|'"),
        ("東京タワー", "東|京|タワー"),  # kana are a run
        ("二〇〇八", "二|〇〇|八"),  # and so is a zero that is not an ideograph
        ("好…的", "好|…|的"),  # a single ellipsis stays
        ("一一龥龥", "一|一|龥|龥"),  # the first ideograph and the last one
        ("，。！", ""),
        ("", ""),
    ],
)
def test_segmentation(text: str, expected: str) -> None:
    assert mixed_segmentation(text) == (expected.split("|") if expected else [])


def test_a_long_run_of_common_tokens_is_found() -> None:
    tokens = list("中文" * 150)
    assert longest_common_run(tokens, [*tokens, "a"]) == 300


@given(text=st.text(alphabet="中文aB1 .,:'\"()%，。-n't…"))
def test_segmentation_loses_and_adds_nothing(text: str) -> None:
    expected = "".join(without_punctuation(text).split())
    assert "".join(mixed_segmentation(text)) == expected


def test_without_punctuation_keeps_inner_spaces() -> None:
    assert without_punctuation(" 《New York》-时报。 ") == "new york时报"
    assert without_punctuation("《 A") == " a"  # stripped before the bracket went


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("中国人民", "中国的人民", 2),  # the common subsequence would have 4
        ("abcd", "xbcdy", 3),
        ("abab", "baba", 3),
        ("aa", "aaaa", 2),
        ("abc", "xyz", 0),
        ("", "abc", 0),
        ("", "", 0),
    ],
)
def test_longest_common_run(first: str, second: str, expected: int) -> None:
    assert longest_common_run(first, second) == expected
    assert longest_common_run(second, first) == expected


@given(first=st.text(alphabet="ab", max_size=8), second=st.text(alphabet="ab", max_size=8))
def test_longest_common_run_is_the_longest_shared_substring(first: str, second: str) -> None:
    shared = {
        first[i:j]
        for i in range(len(first) + 1)
        for j in range(i, len(first) + 1)
        if first[i:j] in second
    }
    assert longest_common_run(first, second) == max(map(len, shared))
