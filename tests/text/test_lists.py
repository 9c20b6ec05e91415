"""Lists of words and dictionaries: read, rejected with file and line, and applied to text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.text.characters import to_codepoints
from electra_zh.text.words.lists import DictionaryWord, ListSegmenter, read_dictionary, read_words


def _write(path: Path, data: str | bytes) -> str:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def test_dictionaries_are_read_as_jieba_s(tmp_path: Path) -> None:
    path = _write(tmp_path / "d", "\ufeff云计算 5\n李小福 2 nr\r\n\n  创新办 i \n3 4 n\n八一双鹿\n")
    assert read_dictionary(path) == [
        DictionaryWord("云计算", 5),
        DictionaryWord("李小福", 2),
        DictionaryWord("创新办", None),
        DictionaryWord("3", 4),
        DictionaryWord("八一双鹿", None),
    ]


def test_words_with_spaces_are_read_as_jieba_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path / "d", "Edu Trust认证 2000\n机器 学习 3 n\nWindows 10 系统\n好 2\n")
    with caplog.at_level("INFO", logger="absl"):
        assert read_dictionary(path) == [
            DictionaryWord("Edu Trust认证", 2000),
            DictionaryWord("机器 学习", 3),
            DictionaryWord("Windows 10 系统", None),
            DictionaryWord("好", 2),
        ]
    assert "words with spaces, which never match text, as in jieba: 3, such as" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("好 1\n机器  学习 3", r'd:2: "机器  学习 3" is not "word \[frequency\] \[tag\]"'),
        ("机器 学习 3.5", r"d:1: .*integer frequency"),
        ("好\t3", r"d:1: .*single spaces"),
        ("好 -1", r"d:1: "),
        ("好 3 NR", r"d:1: .*lower-case letters"),
        ("好 3.5 n", r"d:1: "),
        (
            "好 1\n\n坏 9999999999999",
            r"d:3: the frequency of 坏 is 9999999999999; it must be at most",
        ),
        (b"ok 1\n\xff\xfe 2", r"d:2: the line is not UTF-8"),
        ("\n \n", r"d contains no words"),
        ('{"云计算": 5}', r"d is JSON lines, not a list of words"),
        (gzip.compress(b"a 5", mtime=0), r"d:1: .* it is compressed \(gz\); unpack it"),
    ],
)
def test_malformed_dictionaries_are_rejected(
    tmp_path: Path, data: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_dictionary(_write(tmp_path / "d", data))


def test_lists_have_words_in_their_first_column(tmp_path: Path) -> None:
    path = _write(tmp_path / "w", "\ufeff北京 3 ns\n清华\t9\r\n\n大学\u3000x\n北京\n")
    assert read_words(path) == {"北京", "清华", "大学"}


@pytest.mark.parametrize(
    ("data", "message"),
    [("", "w contains no words"), (b"a\nb\n\xe4\xbd", "w:3: the line is not UTF-8")],
)
def test_malformed_lists_are_rejected(tmp_path: Path, data: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_words(_write(tmp_path / "w", data))


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("北京 北京大学 大学生", "在北京大学生活", "在|北京大学|生|活"),
        ("北京", "iPhone6s在3.5版café 北京", "iPhone6s|在|3|.|5|版|café| |北京"),
        ("T恤 in 卡拉OK C++", "T恤in卡拉OK厅interest用C++", "T恤|in|卡拉OK|厅|interest|用|C++"),
        ("卡拉O", "卡拉OKabc厅", "卡拉O|Kabc|厅"),
        ("北京", "北\n京北京", "北|\n|京|北京"),
    ],
)
def test_the_longest_word_wins(words: str, text: str, expected: str) -> None:
    assert ListSegmenter(frozenset(words.split())).cut(text) == expected.split("|")


WORDS = st.frozensets(st.text("甲乙丙aB1+", min_size=1, max_size=4), min_size=1)


def _plainly(words: frozenset[str], text: str) -> list[str]:
    """The rule, written down slowly."""
    found: list[str] = []
    while text:
        run = 0
        while run < len(text) and text[run] in "aB1é":
            run += 1
        longest = max([len(word) for word in words if text.startswith(word)], default=0)
        size = max(run, longest, 1)
        found.append(text[:size])
        text = text[size:]
    return found


@settings(deadline=None)
@given(words=WORDS, text=st.text("甲乙丙aB1é+，\n", max_size=30))
@example(words=frozenset(["甲a"]), text="甲aB1")
def test_words_by_the_plain_rule(words: frozenset[str], text: str) -> None:
    segmenter = ListSegmenter(words)
    expected = _plainly(words, text)
    assert segmenter.cut(text) == expected
    starts = [place == 0 for word in expected for place in range(len(word))]
    assert segmenter.starts(text, to_codepoints(text)).tolist() == starts
