"""Words: where they begin in a text, and which tokens begin one."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.text.characters import to_codepoints
from electra_zh.text.settings import WordSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from electra_zh.text.words.base import Segmenter
from electra_zh.text.words.segmenter import SpacesSegmenter, begins_word, make_segmenter


def _tokenizer() -> WordPieceTokenizer:
    chars = [chr(point) for point in (*range(0x21, 0x7F), *range(0x4E00, 0x9FA6))]
    pieces = [f"##{char}" for char in "abcdefghijklmnopqrstuvwxyz0123456789"]
    words = ["link", "com", "ctrip", "iphone", "##phone", "caf", "cafe", "。", "，", "％"]
    return WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *chars, *pieces, *words]))


TOKENIZER = _tokenizer()


@functools.cache
def _jieba() -> Segmenter:
    return make_segmenter(WordSettings())


def _begins(segmenter: Segmenter, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids of a block, and which of its tokens begin a word."""
    tokenized = TOKENIZER.tokenize_text(text)
    starts = segmenter.starts(text, tokenized.codepoints)
    return tokenized.ids, begins_word(starts, TOKENIZER.find_firsts(text, tokenized, starts))


def _shown(segmenter: Segmenter, text: str) -> str:
    """The tokens of a text with a bar before each word."""
    shown = ""
    for index, begins in zip(*_begins(segmenter, text), strict=True):
        shown += ("|" if begins else " ") + TOKENIZER.vocabulary.tokens[index]
    return shown


def _plainly(words: list[str], text: str) -> list[bool]:
    """The rule, written down slowly: words -> characters -> tokens."""
    word_of = [index for index, word in enumerate(words) for _ in word]
    firsts = TOKENIZER.encode_batch([text]).starts.tolist()
    owners = [word_of[first] for first in firsts]
    return [place == 0 or owner != owners[place - 1] for place, owner in enumerate(owners)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我们来到北京清华大学", "|我 们|来 到|北 京|清 华 大 学"),
        ("增长3.5%。", "|增 长|3 . 5 %|。"),
        ("tp-link路由器", "|t ##p|-|link|路 由 器"),
        ("符合GB/T标准", "|符 合|g ##b|/|t|标 准"),
        ("买iPhone6s吧", "|买|iphone ##6 ##s|吧"),
        ("会C++语言", "|会|c + +|语 言"),
        ("会F++语言", "|会|f|+ +|语 言"),
        ("在U.S.工作", "|在|u|.|s|.|工 作"),
        ("去ctrip.com订", "|去|ctrip|.|com|订"),
        ("2-4月", "|2|-|4|月"),
        # jieba knows no accents: a letter with one stands alone.
        ("café店", "|cafe|店"),
        ("cafe\u0301店", "|cafe|店"),
        ("是AT&T公司", "|是|a ##t & t|公 司"),
        # Characters that vanish end jieba's words too.
        ("北\u200b京", "|北|京"),
        ("A\u200bB店", "|a|##b|店"),
        ("我　们", "|我|们"),
        # [UNK] is one token of all words that it covers.
        ("жж好", "|[UNK]|好"),
        ("", ""),
    ],
)
def test_tokens_of_mixed_text(text: str, expected: str) -> None:
    assert _shown(_jieba(), text) == expected


MIXED = [
    *("3.5", "tp-link", "GB/T", "iPhone6s", "C++", "U.S.", "café", "cafe\u0301", "AT&T", "2-4"),
    *(
        "ctrip.com",
        "жж",
        "１２",
        "ｐ４",
        "カメラ",
        "한국",
        "4S店",
        "北京",
        "我们",
        "清华",
        "大学",
        "，“",
    ),
    *"的了𠀀龥鿿か。”…—\u200b\u0301\ufe0f😀 \n\t\u3000-.%+&#_",
]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(MIXED), st.characters()), max_size=20).map("".join))
@example("İ北京")
@example("각각한국")
def test_tokens_begin_words_by_the_plain_rule(text: str) -> None:
    text = text.replace("\r", "")
    words = [_jieba().cut(line) for line in text.split("\n")]
    joined = list(itertools.chain.from_iterable([*line, "\n"] for line in words))[:-1]
    assert _begins(_jieba(), text)[1].tolist() == _plainly(joined, text)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"我们 ab1.\n\t\u3000\u2028\x1f\u200b", "C++"])).map("".join))
def test_spaces_part_words(text: str) -> None:
    starts = SpacesSegmenter().starts(text, to_codepoints(text))
    bounds = [*np.flatnonzero(starts).tolist(), len(text)]
    words = [text[start:end] for start, end in itertools.pairwise(bounds)]
    assert "".join(words) == text
    assert [word for word in words if not word.isspace()] == text.split()
    assert all(len(word) == 1 for word in words if word.isspace())


def test_spaces_are_those_of_every_code_point() -> None:
    points = [point for point in range(0x110000) if chr(point).isspace()]
    text = "".join(f"a{chr(point)}a" for point in points)
    assert SpacesSegmenter().starts(text, to_codepoints(text)).tolist() == [
        index == 0 or place > 0 for index in range(len(points)) for place in range(3)
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "jeiba"}, r'No such file: jeiba; .*jieba, none, spaces or a file.*mean "jieba"'),
        ({"kind": "."}, r"\. is a folder"),
        (
            {"kind": "spaces", "hmm": False},
            "--no-hmm applies to --words jieba only; --words is spaces",
        ),
        ({"kind": "spaces", "check_every": 5}, "--check-words applies to --words jieba only"),
        ({"dictionaries": ("nowhere.txt",)}, "No such file: nowhere.txt"),
        ({"check_every": 0}, "check_every must be at least 1; received 0"),
    ],
)
def test_wrong_settings_are_rejected(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WordSettings(**values)  # type: ignore[arg-type]


def test_settings_are_recorded_without_paths(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    words = WordSettings(kind=str(tmp_path / "a.txt")).recorded()
    assert words["words"] == "a.txt"
    jieba = WordSettings(dictionaries=(str(tmp_path / "b.txt"),), check_every=3).recorded()
    assert (jieba["words"], jieba["words_hmm"], jieba["check_words"]) == ("jieba", True, 3)
    assert "jieba 0.42.1, rjieba " in jieba["words_library"]
    assert str(tmp_path) not in str([words, jieba])
    assert len({words["words_sha256"], *jieba["words_dictionaries"]}) == 2
