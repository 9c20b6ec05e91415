"""The vocabulary file: valid ones, and the errors of invalid ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"


def _file(folder: Path, content: str | bytes) -> str:
    path = folder / "vocab.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def test_ids_are_line_numbers(tmp_path: Path) -> None:
    vocabulary = Vocabulary.load(_file(tmp_path, SPECIAL + "中\n##a\n"))
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "中", "##a")
    assert vocabulary.ids["##a"] == 6
    assert vocabulary.size == 7
    special = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id)
    assert (*special, vocabulary.sep_id, vocabulary.mask_id) == (0, 1, 2, 3, 4)


def test_line_separator_characters_do_not_end_lines(tmp_path: Path) -> None:
    # Google's Chinese vocabulary has a line that holds U+2028 alone.
    vocabulary = Vocabulary.load(_file(tmp_path, SPECIAL + "\u2028\n中\n"))
    assert vocabulary.tokens[5:] == ("", "中")


def test_tokens_are_stripped_and_the_last_line_end_may_lack(tmp_path: Path) -> None:
    content = SPECIAL.replace("\n", "\r\n") + "  中 "
    assert Vocabulary.load(_file(tmp_path, content)).tokens == (*SPECIAL_TOKENS, "中")


@pytest.mark.parametrize("end", ["\n\n", "\n\n\n \n", "\r\n\r\n"])
def test_empty_lines_at_the_end_are_not_tokens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    with caplog.at_level("INFO", logger="absl"):
        vocabulary = Vocabulary.load(_file(tmp_path, SPECIAL + "\u2028\n中" + end))
    assert vocabulary.tokens[5:] == ("", "中")
    assert "lines are empty: no tokens" in caplog.text


@pytest.mark.parametrize(
    ("tokens", "cased"),
    [
        (["中", "。"], None),
        (["a", "##b", "<S>", "[unused1]", "[MASK2]"], False),
        (["A", "a", "##bC", "中"], True),
        (["a", "b", "##c", "A"], False),
    ],
)
def test_the_case_of_a_vocabulary(tokens: list[str], cased: bool | None) -> None:
    assert Vocabulary([*SPECIAL_TOKENS, *tokens]).is_cased is cased


def test_save_and_load_give_the_same(tmp_path: Path) -> None:
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "", "中", "##a"])
    path = str(tmp_path / "saved.txt")
    vocabulary.save(path)
    again = Vocabulary.load(path)
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert again.sha256 == vocabulary.sha256 != Vocabulary([*SPECIAL_TOKENS, "中"]).sha256


def test_can_be_sent_to_another_process() -> None:
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "中"])
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        (SPECIAL.replace("[MASK]\n", ""), r"is missing \[MASK\]: "),
        ("中\n国\n", r"is missing \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        (SPECIAL + "中\n国\n中\n", 'has a duplicate token "中": lines 6 and 8'),
        (SPECIAL + "\n\u2028\n", 'has a duplicate token "": lines 6 and 7'),
        ("中\n" + SPECIAL, r"\[PAD\] on line 2; it must be on line 1"),
        ("\ufeff" + SPECIAL, "byte order mark"),
        (SPECIAL.encode() + b"\xff\n", "not UTF-8 text: line 6, byte 31"),
        (SPECIAL + "two words\n", 'not a vocabulary: line 6 is "two words"'),
        (("[PAD]\n[UNK]\n的\n一\n是\n不\n了\n").encode("gbk"), "line 3, .*it looks like GB18030; "),
        ("一段很长的文字" * 40, 'not a vocabulary: line 1 is "一段很长的文字'),
    ],
)
def test_rejected_files(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = _file(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        Vocabulary.load(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such vocabulary file: .*absent"):
        Vocabulary.load(str(tmp_path / "absent.txt"))
    with pytest.raises(UserError, match="is a folder"):
        Vocabulary.load(str(tmp_path))


def test_huge_files_are_rejected_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(UserError, match="68,157,440 bytes"):
        Vocabulary.load(str(path))


def test_an_empty_vocabulary_is_rejected() -> None:
    with pytest.raises(UserError, match="The vocabulary is empty"):
        Vocabulary([])
