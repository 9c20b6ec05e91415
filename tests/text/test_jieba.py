"""jieba's words: exactly those of jieba itself."""

from __future__ import annotations

import functools
import importlib.resources
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.text.characters import to_codepoints
from electra_zh.text.words import jieba as jieba_words
from electra_zh.text.words.jieba import JiebaSegmenter

BOTH = pytest.mark.parametrize("hmm", [True, False])
RARE = "製衹儘龍鱻丂\u9fd5\u9fd6\u9fff㐀\uf900\U00020000\U0002b740\U00030000\U0002fa1f"
LATIN = [*"aZ19+#&._%-", "T恤", "4S店", "AT&T", "C++", "卡拉OK", "3.5%", "tp-link", "v1.2.3"]
OTHER = list("，。！·—“ \t\n\u3000\u200b\u2028\x1c\x00é１ａＡか한😀\ud800\ue000\ufffd")
# Common words and characters, such that the dictionary leaves many single.
CHINESE = list("的我是在不了有和人这中大为上个国他来到说们要就出会可也你对生能而子那得于着下自之")
CHINESE += [
    "北京",
    "研究生",
    "命",
    "起源",
    "结合",
    "成分子时",
    "小明",
    "硕士",
    "欧阳",
    "建国",
    "杭研",
]
SOME = st.one_of(*map(st.sampled_from, (list(RARE), LATIN, OTHER, CHINESE, CHINESE)))
IDEOGRAPHS = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)
TEXTS = st.lists(st.one_of(SOME, SOME, IDEOGRAPHS, st.characters()), max_size=25).map("".join)


@functools.cache
def _segmenter(hmm: bool) -> JiebaSegmenter:
    return JiebaSegmenter(hmm=hmm)


def _block(segmenter: JiebaSegmenter, lines: list[str]) -> list[list[str]]:
    """The words of lines that were cut as one block."""
    text = "\n".join(lines)
    places = np.flatnonzero(segmenter.starts(text, to_codepoints(text))).tolist()
    found: list[list[str]] = [[]]
    for start, end in itertools.pairwise([*places, len(text)]):
        word = text[start:end]
        if word == "\r\n":  # one piece to jieba, and white space alone to a tokenizer
            found[-1].append("\r")
        if word in ("\n", "\r\n"):
            found.append([])
        else:
            found[-1].append(word)
    return found


@BOTH
@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
@example(text="2-4去ctrip.com买tp-link")
@example(text="a.b3.5%4..5--6a_b1%%")
@example(text="AT&T与xAT&Ty和T恤")
@example(text="𠀀我们中𠀀国")
@example(text="製衹儘龍鱻" * 5)
@example(text="\ud800我们\udc00")
def test_words_are_jieba_s(hmm: bool, text: str) -> None:
    segmenter = _segmenter(hmm)
    assert segmenter.cut(text) == segmenter.cut_slowly(text)


@BOTH
@settings(deadline=None)
@given(lines=st.lists(TEXTS.map(lambda text: text.replace("\n", "")), min_size=1, max_size=8))
@example(lines=["我们\r", "研究生命\r", "起源"])
def test_a_block_is_cut_as_its_lines(hmm: bool, lines: list[str]) -> None:
    segmenter = _segmenter(hmm)
    assert _block(segmenter, lines) == [segmenter.cut_slowly(line) for line in lines]


@BOTH
def test_the_sample_corpus_is_cut_as_by_jieba(hmm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jieba_words, "_PART_CHARACTERS", 500)
    segmenter = _segmenter(hmm)
    sample = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    lines = sample.read_text(encoding="utf-8").split("\n")
    assert _block(segmenter, lines) == [segmenter.cut_slowly(line) for line in lines]


@pytest.mark.slow
@BOTH
def test_every_character_has_its_class_in_jieba(hmm: bool) -> None:
    segmenter = _segmenter(hmm)
    lines = [f"我们{chr(point)}中国a{chr(point)}1" for point in range(0x110000) if point != 10]
    for first in range(0, len(lines), 1 << 15):
        some = lines[first : first + (1 << 15)]
        assert _block(segmenter, some) == [segmenter.cut_slowly(line) for line in some]


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes jieba's dictionary a copy of one that was loaded before."""
    from jieba import Tokenizer

    frequencies, total = _loaded()
    monkeypatch.setattr(
        Tokenizer, "gen_pfdict", staticmethod(lambda file: (dict(frequencies), total))
    )


@functools.cache
def _loaded() -> tuple[dict[str, int], int]:
    from jieba import Tokenizer

    frequencies, total = Tokenizer.gen_pfdict(Tokenizer().get_dict_file())
    return frequencies, total


def _cut_by_jieba(dictionary: str, texts: list[str], hmm: bool) -> list[list[str]]:
    """Returns jieba's words of texts, with the dictionary read by jieba itself."""
    from jieba import Tokenizer, finalseg

    tokenizer = Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(None)
    tokenizer.initialized = True
    try:
        tokenizer.load_userdict(dictionary)
        return [list(tokenizer.cut(text, HMM=hmm)) for text in texts]
    finally:
        # jieba keeps these for all tokenizers.
        finalseg.Force_Split_Words.clear()


ENTRIES = st.tuples(
    st.lists(
        st.sampled_from([*"的我们中国人大学生研究a1B+.·", "C++", "𠀀"]), min_size=1, max_size=4
    ),
    st.sampled_from(["", " 0", " 1", " 7", " 1000", " 9999999"]),
    st.sampled_from(["", " n", " nz"]),
).map(lambda entry: "".join(entry[0]) + entry[1] + entry[2])


@settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=15),
    hmm=st.booleans(),
    texts=st.lists(
        st.lists(
            st.sampled_from([*"的我们中国人大学生研究a1B+.·，", "C++", "𠀀", "起源"]), max_size=30
        ).map("".join),
        min_size=40,
        max_size=40,
    ),
)
@example(
    entries=["我们 0", "的 0", "我们 50", "中国人 0"], hmm=True, texts=["我们的中国人", "国人我们"]
)
@example(
    entries=["中国 人 5", "Edu Trust认证 2000", "我 们 0", "人 一 n"],
    hmm=False,
    texts=["中国人，中国 人Edu Trust认证", "我 们我们", "人 一人"],
)
def test_further_words_count_as_in_jieba(
    tmp_path: Path, loaded_once: None, entries: list[str], hmm: bool, texts: list[str]
) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(entries), encoding="utf-8")
    segmenter = JiebaSegmenter(hmm=hmm, dictionaries=[str(path)])
    expected = _cut_by_jieba(str(path), texts, hmm)
    assert [segmenter.cut(text) for text in texts] == expected
    assert [segmenter.cut_slowly(text) for text in texts] == expected


def test_further_words_leave_jieba_itself_alone(tmp_path: Path, loaded_once: None) -> None:
    from jieba import finalseg

    path = tmp_path / "words.txt"
    path.write_text("杭研 0", encoding="utf-8")
    assert JiebaSegmenter(dictionaries=[str(path)]).cut("他来到了网易杭研大厦")[-3:] == [
        "杭",
        "研",
        "大厦",
    ]
    assert not finalseg.Force_Split_Words
    assert "杭研" in _segmenter(True).cut("他来到了网易杭研大厦")


def test_malformed_dictionaries_are_rejected_before_jieba_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("好\n机器\t学习 3", encoding="utf-8")
    with pytest.raises(UserError, match=r"words\.txt:2: "):
        JiebaSegmenter(dictionaries=[str(path)])


class _Wrong:
    """A segmenter that takes every word of rjieba apart."""

    def cut(self, text: str, hmm: bool) -> list[str]:
        return list(text)


def test_lines_are_checked_and_taken_from_jieba(
    loaded_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = JiebaSegmenter(hmm=False, check_every=3)
    lines = [*["清华大学"] * 4, "", *["北京大学"] * 4]
    _block(segmenter, lines)
    assert dict(segmenter.counts) == {"checked": 3}
    segmenter.clear()
    monkeypatch.setattr(segmenter, "_fast", _Wrong())
    whole, apart = ["清华大学"], list("清华大学")
    found = _block(segmenter, lines)
    assert found[:4] == [whole, apart, apart, whole]
    assert found[5:] == [list("北京大学"), list("北京大学"), ["北京大学"], list("北京大学")]
    assert dict(segmenter.counts) == {"checked": 3, "different": 3}
    assert segmenter.differences == ["清华大学", "清华大学", "北京大学"]
    segmenter.clear()
    assert not segmenter.counts
    assert not segmenter.differences


def test_loading_leaves_no_files_and_says_nothing(tmp_path: Path) -> None:
    code = (
        "from electra_zh.text.words.jieba import JiebaSegmenter\n"
        "print(JiebaSegmenter().cut('我们𠀀中国a-b'))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
    )
    assert result.stdout.decode().strip() == "['我们', '𠀀', '中国', 'a', '-', 'b']"
    assert result.stderr == b""
    assert not list(tmp_path.iterdir())


def test_the_model_finds_jieba_s_words_in_any_ideographs() -> None:
    from jieba import finalseg

    generator = random.Random(0)
    rare, common = list(RARE[:6]), [each for each in CHINESE if len(each) == 1]
    runs = [
        "".join(
            generator.choice(common)
            if generator.random() < 0.7
            else generator.choice(rare)
            if generator.random() < 0.5
            else chr(generator.randint(0x4E00, 0x9FD5))
            for _ in range(generator.randint(1, 12))
        )
        for _ in range(3000)
    ]
    ends = np.cumsum([len(run) for run in runs])
    firsts = ends - [len(run) for run in runs]
    model = _segmenter(True)._jieba.word_model()
    found = np.sort(model.starts(to_codepoints("".join(runs)), firsts, ends)).tolist()
    expected = []
    place = 0
    for run in runs:
        for word in finalseg.cut(run):
            expected.append(place)
            place += len(word)
    assert found == expected
    none = np.zeros(0, np.int64)
    assert not len(model.starts(to_codepoints("我"), none, none))
