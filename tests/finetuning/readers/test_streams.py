"""Lines of files: encodings, packing, and empty files."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from electra_zh.errors import UserError
from electra_zh.finetuning import readers, registry
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.readers.streams import Record, TaskFile, json_records

Pack = Callable[[bytes], bytes]


def test_lines_have_places_and_no_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff甲\r\n\n乙\u2028丙".encode())
    assert list(TaskFile(str(path)).lines()) == [
        Record("甲", f"{path}, line 1"),
        Record("", f"{path}, line 2"),
        Record("乙\u2028丙", f"{path}, line 3"),
    ]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_line_end_of_a_file(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"甲{end}{end}乙{end}".encode())
    assert [line.value for line in TaskFile(str(path)).lines()] == ["甲", "", "乙"]


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("甲\n乙\n".encode()))
    assert [line.value for line in TaskFile(str(path)).lines()] == ["甲", "乙"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserError, match=r"a\.txt is empty"):
        list(TaskFile(str(tmp_path / "a.txt")).lines())
    with pytest.raises(UserError, match=r"^standard input is empty"):
        TaskFile("-")


@pytest.mark.parametrize(
    ("task", "good", "line"),
    [
        ("tnews", '{"sentence": "甲", "label": "1"}', b'{"sentence": "\xff", "label": "1"}'),
        ("lcqmc", "甲\t乙\t1", b"a\t\xff\t1"),
        ("msra_ner", "甲 O\n", b"\xff O"),
    ],
)
def test_a_line_that_is_not_utf_8_is_bad(tmp_path: Path, task: str, good: str, line: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{good}\n".encode() * 2 + line + b"\n")
    bad = BadExamples(skip=True)
    found = list(readers.read(str(path), registry.load([task])[0], split="train", bad=bad))
    assert len(found) == 2
    number = 2 * f"{good}\n".count("\n") + 1
    assert bad.first == {"not UTF-8 text": f"{path}, line {number}"}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress, bytes])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_the_bytes_decide_the_compression(tmp_path: Path, pack: Pack, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack("甲\n乙\n".encode()))
    assert [line.value for line in TaskFile(str(path)).lines()] == ["甲", "乙"]


VALUES = [{"text": "甲" * 3000, "n": number, "list": [[], {"a": "]}"}]} for number in range(99)]


@pytest.mark.parametrize(
    "text",
    [
        "".join(json.dumps(value) + "\n" for value in VALUES),
        json.dumps(VALUES, ensure_ascii=False),
        "\ufeff " + json.dumps(VALUES, ensure_ascii=False, indent=2),
        "\n".join(json.dumps(value, indent=1) for value in VALUES),
        json.dumps(VALUES[:50], indent=1) + "\n" + json.dumps(VALUES[50:]),
    ],
    ids=["lines", "one line", "indented", "values", "arrays"],
)
def test_objects_are_read_in_every_form_of_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(text.encode())
    records = list(json_records(TaskFile(str(path))))
    assert [record.value for record in records] == VALUES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": 2}', "a is damaged: it ends inside a JSON array"),
        ('[\n{"a": 1},\n{"a": "b', "a:3: not valid JSON: Unterminated string"),
        ('[{"a": 1},\n\n{"a" 2}]', "a:3: not valid JSON: Expecting"),
    ],
)
def test_a_damaged_array_is_never_read_in_part(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        list(json_records(TaskFile(str(path))))


def test_an_item_that_is_not_an_object_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('[{"a": 1}, 3, {"a": 2}]')
    found = [record.value for record in json_records(TaskFile(str(path)))]
    assert [isinstance(value, dict) for value in found] == [True, False, True]
