"""Parquet and Arrow files as a corpus."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from electra_zh.data import documents, input_files
from electra_zh.data.cleaning import overlap
from electra_zh.errors import UserError

TEXTS = [
    "第一篇，第一句。\n\n第二句。",
    None,
    "",
    *(f"第{number}篇。" for number in range(3, 1200)),
]


def write(path: Path, **columns: Any) -> Path:
    """Writes a table: Parquet, or by the suffix an Arrow file or an Arrow stream (`.arrow`)."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    table = pyarrow.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=500)
        return path
    make = ipc.new_stream if path.suffix == ".arrow" else ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    return path


def read(*paths: Path, field: str = "text") -> tuple[list[str], documents.BadLineLog, int]:
    """Returns the documents, the bad rows, and the stored bytes that were reported as read."""
    found = input_files.find_inputs(list(map(str, paths)), text_field=field)
    (unit,) = documents.plan_units(found)
    reader = documents.UnitReader(unit, text_field=field)
    blocks = list(reader)
    text = "\n".join(block.text for block in blocks)
    return text.strip("\n").split("\n\n"), reader.bad_lines, sum(b.stored_bytes for b in blocks)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_each_row_is_a_document_as_in_json_lines(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, id=list(range(len(TEXTS))), content=TEXTS)
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps({"content": each}) for each in TEXTS))
    found, bad, stored = read(path, field="content")
    expected, bad_lines, _ = read(lines, field="content")
    assert found == expected
    assert found[0] == "第一篇，第一句。\n第二句。"
    assert len(found) == len(TEXTS) - 2
    reasons = {'no text in field "content"': 1, 'empty text in field "content"': 1}
    assert bad.counts == bad_lines.counts == reasons
    assert bad.positions['no text in field "content"'][0].show(str(path)) == f"{path}:2"
    assert stored == pytest.approx(os.path.getsize(path), rel=0.1)


def test_large_parquet_files_are_cut_between_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=[*TEXTS, None, *TEXTS])
    found = input_files.find_inputs([str(path)])
    (whole,), units = documents.plan_units(found), documents.plan_units(found, unit_bytes=9_000)
    assert 3 <= len(units) <= 5
    assert sum(unit.size for unit in units) == whole.size == os.path.getsize(path)
    (expected, positions), *parts = (_documents_of(unit) for unit in (whole, *units))
    assert all(documents for documents, _ in parts)
    assert [each for documents, _ in parts for each in documents] == expected
    assert [each for _, found in parts for each in found] == positions == [1, 1200, 1202]


def _documents_of(unit: documents.TextUnit) -> tuple[list[str], list[int]]:
    """Returns the documents of a unit, and the numbers of its rows without text."""
    reader = documents.UnitReader(unit)
    blocks = list(reader)
    assert sum(block.stored_bytes for block in blocks) <= unit.size
    text = "\n".join(block.text for block in blocks)
    bad = reader.bad_lines.positions.get('no text in field "text"', ())
    return text.strip("\n").split("\n\n"), [each.line for each in bad]


def test_paragraphs_of_a_list_are_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=[["甲。", "乙。"], ["丙。"]])
    assert read(path)[0] == ["甲。\n乙。", "丙。"]


def test_a_table_without_the_column_names_those_that_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", title=["甲"], content=["甲乙丙"])
    message = (
        "their fields: title, content. Name one with --text-field, such as --text-field content"
    )
    with pytest.raises(UserError, match=message):
        input_files.find_inputs([str(path)])


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_a_table_without_rows_and_column(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, title=[], content=[])
    with pytest.raises(UserError, match="their fields: title, content"):
        input_files.find_inputs([str(path)])
    assert read(path, field="content")[0] == [""]


def test_tables_among_other_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.parquet", text=["甲"])
    write(tmp_path / "b.parquet", title=["甲"])
    (tmp_path / "c.txt").write_text("乙\n")
    (tmp_path / "d.parquet").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    with caplog.at_level("INFO"):
        found = input_files.find_inputs([str(tmp_path)])
    assert [file.form for file in found] == ["parquet", "text"]
    assert caplog.messages == [
        "input: files: 2 (1 Parquet, 1 text); --format overrides; skipped: 1 binary (d.parquet), "
        '1 without text in field "text" (b.parquet)'
    ]


def test_a_large_file_for_one_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(input_files, "_MUCH_TEXT", 2_000)
    monkeypatch.setattr(input_files.machine, "usable_cpus", lambda: 8)
    whole = write(tmp_path / "a.parquet", text=TEXTS)
    (tmp_path / "b.txt").write_text("天地。\n" * 1_000)
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(os.urandom(9_000).hex().encode()))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress("天".encode()))
    with caplog.at_level("WARNING"):
        input_files.find_inputs([str(whole), str(tmp_path / "b.txt")])
        assert not caplog.messages
        input_files.find_inputs([str(tmp_path)])
    assert [line.partition(",")[0] for line in caplog.messages] == [
        "one process reads all of c.txt.gz"
    ]


def test_a_table_is_never_read_as_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=["甲"])
    (file,) = input_files.find_inputs([str(path)], form="text")
    assert file.form == "parquet"


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=TEXTS)
    data = path.read_bytes()
    path.write_bytes(data[:100])
    with pytest.raises(UserError, match=r"a\.parquet is a damaged Parquet file: \w"):
        input_files.find_inputs([str(path)])


def test_evaluation_data_in_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", question=["甲"], answers=[{"text": ["乙", "丙"]}])
    assert sorted(overlap.strings_of(str(path))) == sorted(["甲", "乙", "丙"])
