"""Lines of files: encodings, packing, and empty files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import readers, registry
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.readers.streams import Record, read_lines


def test_lines_have_places_and_no_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff甲\r\n\n乙\u2028丙".encode())
    assert list(read_lines(str(path))) == [
        Record("甲", f"{path}, line 1"),
        Record("", f"{path}, line 2"),
        Record("乙\u2028丙", f"{path}, line 3"),
    ]


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("甲\n乙\n".encode()))
    assert [line.value for line in read_lines(str(path))] == ["甲", "乙"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=r"a\.txt is empty"):
        list(read_lines(str(tmp_path / "a.txt")))


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("tnews", b'{"sentence": "\xff", "label": "1"}'),
        ("lcqmc", b"a\t\xff\t1"),
        ("msra_ner", b"\xff O"),
    ],
)
def test_a_line_that_is_not_utf_8_is_bad(tmp_path: Path, task: str, line: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(line + b"\n")
    bad = BadExamples(skip=True)
    assert list(readers.read(str(path), registry.load([task])[0], split="train", bad=bad)) == []
    assert bad.first == {"not UTF-8 text": f"{path}, line 1"}
