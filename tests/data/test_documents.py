"""Inputs: their files, the cuts into units, and lines that are not text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from electra_zh import content, files
from electra_zh.data import archives, documents, input_files
from electra_zh.data.bad_lines import LinePosition
from electra_zh.data.documents import FileRange, TextUnit, UnitReader
from electra_zh.errors import UserError

TEXT = "第一行\n第二行\n\n第二篇\n"


def _unit(path: Path | str) -> TextUnit:
    form = content.recognize(archives.read_head(str(path)))
    return TextUnit(0, (FileRange(str(path), 0, -1, form, 0),), 0)


def _read(path: Path | str, **options: object) -> str:
    """All text of a file, without the blank lines at its end."""
    reader = UnitReader(_unit(path), **options)  # type: ignore[arg-type]
    return "\n".join(block.text for block in reader).rstrip("\n")


def _names(found: tuple[input_files.InputFile, ...], folder: Path) -> list[str]:
    return [os.path.relpath(file.path, folder) for file in found]


def _compress(suffix: str, data: bytes) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data)
    if suffix == ".xz":
        return lzma.compress(data)
    if suffix == ".bz2":
        return bz2.compress(data)
    # Two frames, as appending to a file makes.
    half = len(data) // 2
    compress = zstandard.ZstdCompressor().compress
    return compress(data[:half]) + compress(data[half:])


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return buffer.getvalue()


def test_folders_are_searched_for_text_of_any_name_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = json.dumps({"text": "文本"}).encode()
    contents = {
        "b.txt": b"x",
        "a/z.jsonl.gz": gzip.compress(line),
        "a/wiki_00": b'<doc id="1">\nx\n</doc>\n',
        "a/note": b"x",
        ".hidden.txt": b"x",
        "c.txt.partial-1": b"x",
        "x.tar.gz": _tar(),
        "picture.txt": bytes(200),
        "no.txt": b"",
    }
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with caplog.at_level("INFO"):
        found = input_files.find_inputs([str(tmp_path)])
    assert _names(found, tmp_path) == ["a/note", "a/wiki_00", "a/z.jsonl.gz", "b.txt", "no.txt"]
    assert [file.form for file in found] == ["text", "wikiextractor", "jsonl", "text", "empty"]
    assert caplog.messages == [
        "input: files: 5 (2 text, 1 WikiExtractor, 1 JSON lines, 1 empty); recognized by content: "
        "note, wiki_00; --format overrides; skipped: 2 binary (picture.txt, x.tar.gz)"
    ]


def test_warnings_about_tables_and_pages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "工单.csv").write_text("编号,正文\n1,文本\n")
    (tmp_path / "b.htm").write_text("<html>")
    with caplog.at_level("WARNING"):
        input_files.find_inputs([str(tmp_path)])
    pages, tables = caplog.messages
    assert pages.endswith("extract the text of b.htm")
    assert tables.endswith("write the column of the text of 工单.csv to a file of its own")


def test_a_folder_without_text_names_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(100))
    (tmp_path / "b.txt").write_text("<html>")
    with pytest.raises(UserError, match=r"found: 1 binary \(a.png\), 1 XML or HTML \(b.txt\)$"):
        input_files.find_inputs([str(tmp_path)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(100), "a.txt is binary, not text"),
        (b"<html><body>", "a.txt is XML or HTML. Extract its text"),
        (
            ("这是他的文本，我们的。\n" * 9).encode("gbk"),
            "looks like GB18030; convert it: iconv -f GB",
        ),
        (
            ("这是他的文本，我们的。\n" * 9).encode("utf-16"),
            "looks like UTF-16; convert it: iconv -f UTF",
        ),
        ("text\n".encode("utf-16-le"), "looks like UTF-16LE"),
        (
            b'{"title": "a", "content": "bb"}\n',
            "their fields: title, content.*--text-field content",
        ),
        (b'{"a": "bb", "b": ["a", "bb"]}\n', "--text-field b$"),
        (b"{}", "their fields: none"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        input_files.find_inputs([str(path)])
    assert input_files.find_inputs([str(path)], form="text")[0].form == "text"


def test_json_without_the_field_is_skipped_only_next_to_json_with_it(tmp_path: Path) -> None:
    (tmp_path / "info.json").write_text('{"version": "1.0",\n "size": 3}')
    (tmp_path / "b.txt").write_text("文本")
    with pytest.raises(UserError, match=r"info.json: no text in field .*version, size"):
        input_files.find_inputs([str(tmp_path)])
    (tmp_path / "a").write_text('{"text": "a"}')
    found = input_files.find_inputs([str(tmp_path)])
    assert _names(found, tmp_path) == ["a", "b.txt"]
    with pytest.raises(UserError, match=r"info\.json"):
        input_files.find_inputs([str(tmp_path), str(tmp_path / "info.json")])


def test_the_reports_of_a_cleaning_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "cleaned-00000-of-00001.txt").write_text("文本")
    (tmp_path / "report.json").write_text(json.dumps({"kind": input_files.CLEANED}))
    (tmp_path / "report.md").write_text("# Cleaned text")
    found = input_files.find_inputs([str(tmp_path)])
    assert _names(found, tmp_path) == ["cleaned-00000-of-00001.txt"]


def test_a_vocabulary_in_a_folder_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("文本")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    assert _names(input_files.find_inputs([str(tmp_path)]), tmp_path) == ["a.txt"]


def test_a_list_of_texts_is_the_lines_of_a_document(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": ["一", "二"]}, {"text": ["三", 4]}]), encoding="utf-8")
    reader = UnitReader(_unit(path))
    assert "\n".join(block.text for block in reader).rstrip("\n") == "一\n二"
    assert reader.bad_lines.counts == {'no text in field "text"': 1}


def test_a_pipe_is_read(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, TEXT.encode())
    os.close(write)
    (found,) = input_files.find_inputs([f"/dev/fd/{read}"])
    os.close(read)
    assert _read(found.path) == TEXT.rstrip("\n")
    assert found.form == "text"


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


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
@pytest.mark.parametrize("name", ["a.txt", "a", "a.txt.gz"])
def test_compressed_files_are_read_whole(tmp_path: Path, suffix: str, name: str) -> None:
    text = "".join(f"第 {number} 行\n" for number in range(30_000))
    path = tmp_path / name
    path.write_bytes(_compress(suffix, text.encode()))
    assert _read(path) == text.rstrip("\n")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_damaged_archives_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(_compress(suffix, TEXT.encode() * 1000)[:-7])
    with pytest.raises(UserError, match=f"a.txt{suffix} is damaged"):
        _read(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_plain_text_with_the_suffix_of_an_archive_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_text(TEXT, encoding="utf-8")
    assert _read(path) == TEXT.rstrip("\n")


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff一\r\n二\u2028三\x85\x0c四\r\n\r\n五\ufeff".encode())
    assert _read(path) == "一\n二\u2028三\x85\x0c四\n\n五\ufeff"


def test_lines_that_are_not_utf8_are_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("一\n".encode() + "二\n".encode("gbk") + "三\n\n四\n".encode() + b"\xff")
    reader = UnitReader(_unit(path))
    text = "\n".join(block.text for block in reader)
    assert text.rstrip("\n") == "一\n三\n\n四"
    assert reader.bad_lines.counts == {documents.NOT_UTF8: 2}
    positions = reader.bad_lines.positions[documents.NOT_UTF8]
    shown = [position.show(str(path)) for position in positions]
    assert shown == [f"{path}:2", f"{path}:6"]
    with pytest.raises(UserError, match=r"a\.txt:2: not UTF-8"):
        list(UnitReader(_unit(path), strict=True))


def test_a_file_of_bad_lines_has_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\n" * 3)
    assert _read(path) == ""


def test_lines_of_ranges_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("一\n二\n三\n四\n", encoding="utf-8")
    assert LinePosition(0, 8, 1).show(str(path), name="a") == "a:4"


def test_json_records_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    records = [
        json.dumps({"body": "一\r\n\n二\u2028三"}),
        "",
        json.dumps({"body": ["no text", 1]}),
        "{broken",
        json.dumps({"body": "四"}, ensure_ascii=False),
        json.dumps([1]),
        "[" * 100_000,
    ]
    path.write_bytes(gzip.compress("\n".join(records).encode()))
    reader = UnitReader(_unit(path), text_field="body")
    text = "\n".join(block.text for block in reader)
    assert text.rstrip("\n") == "一\n二\u2028三\n\n四"
    assert reader.bad_lines.counts == {'no text in field "body"': 1, documents.NOT_JSON: 3}
    assert reader.bad_lines.positions[documents.NOT_JSON][0].line == 3
    with pytest.raises(UserError, match=r'gz:3: no text in field "body"'):
        list(UnitReader(_unit(path), text_field="body", strict=True))


ARTICLES = [{"title": "一", "text": "一甲\n\n一乙"}, {"text": "二\u2028甲"}, {"text": "三甲\n三乙"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("as_array", [True, False])
@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_json_of_any_layout_is_documents(
    tmp_path: Path, indent: int | None, as_array: bool, name: str
) -> None:
    values = [ARTICLES] if as_array else ARTICLES
    text = "\n".join(json.dumps(each, ensure_ascii=False, indent=indent) for each in values)
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert _read(path) == "一甲\n一乙\n\n二\u2028甲\n\n三甲\n三乙"
    (found,) = input_files.find_inputs([str(path)])
    assert found.form == ("json" if as_array or indent else "jsonl")


def test_records_of_empty_texts_are_counted_and_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    texts = ["一", "", " \n\t", "二", []]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    reader = UnitReader(_unit(path), strict=True)
    assert "".join(block.text for block in reader).split() == ["一", "二"]
    (reason,) = reader.bad_lines.counts
    assert reason == 'empty text in field "text"'
    assert [each.line for each in reader.bad_lines.positions[reason]] == [1, 2, 4]


def test_an_array_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BLOCK_BYTES", 50)
    path = tmp_path / "a.json"
    texts = [f"第{number}篇" * (number % 40) for number in range(200)]
    path.write_text(json.dumps([{"n": 1.5, "text": text} for text in texts]), encoding="utf-8")
    assert _read(path).split() == [text for text in texts if text]
    path.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    assert _read(path).split() == [text for text in texts if text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "a"},\n{"text": b}]', "a.json:2: not valid JSON: Expecting value"),
        ('[{"text": "a"},\n{"text": "b"}', "a.json is damaged: it ends inside a JSON array"),
        ('[{"text": "a"},\n{"text": "b', "a.json:2: not valid JSON: Unterminated string"),
    ],
)
def test_damaged_arrays_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        _read(path)


def test_bad_items_of_an_array_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a"},\n{"b": 1},\n{"text": "\xff"}, 3]')
    reader = UnitReader(_unit(path))
    assert "".join(block.text for block in reader).strip() == "a"
    reasons = {'no text in field "text"': 1, documents.NOT_UTF8: 1, documents.NOT_JSON: 1}
    assert reader.bad_lines.counts == reasons
    assert reader.bad_lines.positions[documents.NOT_UTF8][0].show("a") == "a:3"


DOCS = "".join(
    f'<doc id="{n}" url="u" title="题{n}">\n题{n}\n\n{n}甲 &lt;b&gt;\n \n{n}乙\n</doc>\n'
    for n in range(50)
)


@pytest.mark.parametrize("unit_bytes", [1, 500, None])
def test_each_element_of_wikiextractor_is_a_document(
    tmp_path: Path, unit_bytes: int | None
) -> None:
    path = tmp_path / "wiki_00"
    path.write_text(DOCS, encoding="utf-8")
    units = documents.plan_units(input_files.find_inputs([str(path)]), unit_bytes=unit_bytes)
    text = "\n\n".join(block.text for unit in units for block in UnitReader(unit))
    found = [each for each in text.split("\n\n") if each.strip()]
    assert [each.strip() for each in found] == [f"题{n}\n{n}甲 <b>\n{n}乙" for n in range(50)]
    assert (len(units) > 1) == (unit_bytes is not None)


def test_entities_do_not_end_a_document(tmp_path: Path) -> None:
    path = tmp_path / "wiki_00"
    path.write_text('<doc id="1">\n甲&#10;&#10;乙\n&nbsp;\n丙\n</doc>\n', encoding="utf-8")
    (unit,) = documents.plan_units(input_files.find_inputs([str(path)]))
    assert "".join(block.text for block in UnitReader(unit)).strip() == "甲\n乙\n丙"


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


def test_the_copy_of_a_pipe_has_a_plain_name(tmp_path: Path) -> None:
    pipe, path = tmp_path / "made", tmp_path / "a.txt"
    path.write_text("天\n", encoding="utf-8")
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=("地\n".encode(),), daemon=True).start()
    found = input_files.find_inputs([str(pipe), str(path)])
    assert input_files.short_names(found) == ["pipe", "a.txt"]
