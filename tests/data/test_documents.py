"""Inputs: their files, the cuts into units, and lines that are not text."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from electra_zh import files
from electra_zh.data import documents, input_files
from electra_zh.data.bad_lines import LinePosition
from electra_zh.data.documents import FileRange, TextUnit, UnitReader
from electra_zh.errors import UserError

TEXT = "第一行\n第二行\n\n第二篇\n"


def _read(path: Path | str, **options: object) -> str:
    """All text of a file, without the blank lines at its end."""
    reader = UnitReader(TextUnit(0, (FileRange(str(path), 0, -1),), 0), **options)  # type: ignore[arg-type]
    return "\n".join(block.text for block in reader).rstrip("\n")


def _names(found: tuple[input_files.InputFile, ...], folder: Path) -> list[str]:
    return [os.path.relpath(file.path, folder) for file in found]


def _compress(suffix: str, data: bytes) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data)
    if suffix == ".xz":
        return lzma.compress(data)
    # Two frames, as appending to a file makes.
    half = len(data) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(data[:half]) + compress(data[half:])


def test_folders_are_searched_for_known_suffixes_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.jsonl.gz", "a/c.txt.zst", "a/note.md", ".hidden.txt", "x.tar.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = input_files.find_inputs([str(tmp_path)])
    assert _names(found, tmp_path) == ["a/c.txt.zst", "a/z.jsonl.gz", "b.txt"]


def test_globs_and_files_come_once_in_the_order_given(tmp_path: Path) -> None:
    for name in ("1.txt", "2.txt", "3.text", "out/old.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    inputs = [str(tmp_path / "3.text"), str(tmp_path / "*.txt"), str(tmp_path)]
    found = input_files.find_inputs(inputs, exclude=str(tmp_path / "out"))
    assert _names(found, tmp_path) == ["3.text", "1.txt", "2.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.txt", "No such file or folder: .*none.txt"),
        ("empty", "No text files in .*empty"),
        ("no*", "Nothing matches .*no\\*"),
    ],
)
def test_inputs_that_are_not_there_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        input_files.find_inputs([str(tmp_path / name)])


def test_inputs_inside_of_the_output_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for name in ("a.txt", "*.txt", ""):
        path = str(tmp_path / name)
        with pytest.raises(UserError) as error:
            input_files.find_inputs([path], exclude=str(tmp_path))
        assert str(error.value) == f"The input {path} is inside --output {tmp_path}"


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed_files_are_read_whole(tmp_path: Path, suffix: str) -> None:
    text = "".join(f"第 {number} 行\n" for number in range(100_000))
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(_compress(suffix, text.encode()))
    assert _read(path) == text.rstrip("\n")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_archives_are_named(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    data = _compress(suffix, TEXT.encode() * 1000)
    path.write_bytes(data[:-7] if damage == "cut" else b"plain text")
    with pytest.raises(UserError, match=f"a.txt{suffix} is damaged"):
        _read(path)


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff一\r\n二\u2028三\x85\x0c四\r\n\r\n五\ufeff".encode())
    assert _read(path) == "一\n二\u2028三\x85\x0c四\n\n五\ufeff"


def test_lines_that_are_not_utf8_are_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("一\n".encode() + "二\n".encode("gbk") + "三\n\n四\n".encode() + b"\xff")
    unit = TextUnit(0, (FileRange(str(path), 0, -1),), 0)
    reader = UnitReader(unit)
    text = "\n".join(block.text for block in reader)
    assert text.rstrip("\n") == "一\n三\n\n四"
    assert reader.bad_lines.counts == {documents.NOT_UTF8: 2}
    positions = reader.bad_lines.positions[documents.NOT_UTF8]
    assert [position.show() for position in positions] == [f"{path}:2", f"{path}:6"]
    with pytest.raises(UserError, match=r"a\.txt:2: not UTF-8"):
        list(UnitReader(unit, strict=True))


def test_a_file_of_bad_lines_has_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\n" * 3)
    assert _read(path) == ""


def test_lines_of_ranges_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("一\n二\n三\n四\n", encoding="utf-8")
    assert LinePosition(str(path), 8, 1).show(name="a") == "a:4"


def test_json_records_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    records = [
        json.dumps({"body": "一\r\n\n二\u2028三"}),
        "",
        json.dumps({"body": ["no text"]}),
        "{broken",
        json.dumps({"body": "四"}, ensure_ascii=False),
        json.dumps([1]),
        "[" * 100_000,
    ]
    path.write_bytes(gzip.compress("\n".join(records).encode()))
    unit = TextUnit(0, (FileRange(str(path), 0, -1),), 0)
    reader = UnitReader(unit, text_field="body")
    text = "\n".join(block.text for block in reader)
    assert text.rstrip("\n") == "一\n二\u2028三\n\n四"
    assert reader.bad_lines.counts == {'no text in field "body"': 1, documents.NOT_JSON: 3}
    assert reader.bad_lines.positions[documents.NOT_JSON][0].line == 3
    with pytest.raises(UserError, match=r'gz:3: no text in field "body"'):
        list(UnitReader(unit, text_field="body", strict=True))


def test_files_of_a_unit_are_documents_of_their_own(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{name}1\n{name}2", encoding="utf-8")
    (unit,) = documents.plan_units(input_files.find_inputs([str(tmp_path)]))
    text = "\n".join(block.text for block in UnitReader(unit))
    assert text.rstrip("\n") == "a1\na2\n\nb1\nb2"


def test_large_files_are_cut_at_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [f"文档 {number} 的一行\n" * 3 for number in range(200)]
    path.write_text("\n".join(lines), encoding="utf-8")
    units = documents.plan_units(input_files.find_inputs([str(path)]), unit_bytes=1000)
    assert len(units) > 5
    for unit in units:
        first, *_, last = "\n".join(block.text for block in UnitReader(unit)).strip().split("\n\n")
        assert first.count("\n") == 2
        assert last.count("\n") == 2
    data = path.read_bytes()
    (starts, ends) = zip(
        *[(unit.ranges[0].start, unit.ranges[0].end) for unit in units], strict=True
    )
    assert starts == (0, *ends[:-1])
    assert ends[-1] == len(data)
    assert all(abs(unit.size - 1000) < 500 for unit in units)


@given(
    st.lists(st.sampled_from([b"", b"a", b"\xe4\xb8\x80" * 9, b"bb\r"]), min_size=1, max_size=60),
    st.integers(1, 60),
)
def test_units_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], unit_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("units") / "a.txt"
    path.write_bytes(b"\n".join(lines))
    units = documents.plan_units(input_files.find_inputs([str(path)]), unit_bytes=unit_bytes)
    found = [
        line
        for unit in units
        for block in UnitReader(unit)
        for line in block.text.split("\n")
        if line
    ]
    assert found == [line.decode().strip() for line in lines if line]


def test_too_long_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * (3 << 20))
    with pytest.raises(UserError, match=r"a\.txt has a line of over 1 MB"):
        _read(path)


def test_long_lines_cross_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    line = "长" * (documents.BLOCK_BYTES // 2)
    path.write_text(f"一\n{line}\n二\n", encoding="utf-8")
    assert _read(path) == f"一\n{line}\n二"


def test_remote_files_are_read() -> None:
    folder = "memory://electra_zh_documents"
    with files.atomic_write(f"{folder}/a.txt.gz") as file:
        file.write(gzip.compress(TEXT.encode()))
    (found,) = input_files.find_inputs([folder])
    assert found.path == f"{folder}/a.txt.gz"
    assert _read(found.path) == TEXT.rstrip("\n")
