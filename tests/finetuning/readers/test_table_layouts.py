"""Tables as programs write them: columns without a name, separators by content, JSON by content."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.tasks import Labels, TaskConfig

FIELDS = {"text_a": "text", "columns": [["text_a", "label"], ["label", "text_a"]]}
TASK = TaskConfig(
    *("own", "classification", "table", "accuracy"),
    fields=FIELDS,
    labels=Labels(names=("0", "1")),
)
PAIRS = TaskConfig(
    *("pairs", "classification", "table", "accuracy"),
    fields={"text_a": "a", "text_b": "b", "columns": [["text_a", "text_b", "label"]]},
    labels=Labels(names=("0", "1")),
)
READ = [("甲", "0"), ("乙", "1"), ("丙", "0")]


def read(
    folder: Path,
    content: str | bytes,
    *,
    name: str = "data.csv",
    task: TaskConfig = TASK,
    split: str = "train",
) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Returns the texts and labels of a file, and the lines on it without its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    bad = BadExamples(skip=False)
    found = [
        (f"{each.text_a}|{each.text_b}" if each.text_b is not None else each.text_a, each.label)
        for each in readers.read(str(path), task, split=split, bad=bad)
    ]
    return found, [line.replace(f"{path}: ", "") for line in bad.lines()]


@pytest.mark.parametrize(
    "lines",
    [
        [",text,label", "0,甲,0", "1,乙,1", "2,丙,0"],
        ["text,label,", "甲,0,x", "乙,1,", "丙,0"],
        ["text,,label", "甲,x,0", "乙,,1", "丙, ,0"],
        ["text,label,,", "甲,0,,", "乙,1,x,", "丙,0,,y"],
        ["text,label", "甲,0,", "乙,1,,", "丙,0"],
        ["text,label,note", "甲,0", "乙,1", "丙,0,x"],
        ["Unnamed: 0,text,label", "0,甲,0", "1,乙,1", "2,丙,0"],
    ],
    ids=["front", "end", "middle", "two", "longer rows", "shorter rows", "pandas again"],
)
@pytest.mark.parametrize("separator", [",", "\t"])
def test_no_row_is_lost_to_a_column_without_a_name(
    tmp_path: Path, lines: list[str], separator: str
) -> None:
    content = "".join(line.replace(",", separator) + "\n" for line in lines)
    assert read(tmp_path, content, name="data.csv") in (
        (READ, []),
        (READ, ["columns separated by TABs"]),
    )


@pytest.mark.parametrize("split", ["train", "test", "new"])
def test_running_numbers_in_front_are_not_a_column(tmp_path: Path, split: str) -> None:
    rows = "0,甲,0\n1,乙,1\n2,丙,0\n"
    note = ["the running numbers in the first column are not read"]
    for header in ("text,label\n", ""):
        assert read(tmp_path, header + rows, split=split) == (READ, note)
    pairs = "5\t甲\t乙\n6\t丙\t丁\n"
    found = read(tmp_path, pairs, name="a.tsv", task=PAIRS, split="new")
    assert found == ([("甲|乙", None), ("丙|丁", None)], note)


def test_numbers_of_shuffled_rows_are_not_a_column(tmp_path: Path) -> None:
    note = ["the numbers without a name in the first column are not read"]
    for header, rows in (
        ("text,label", "甲,0\n9,乙,1\n3,丙,0\n"),
        ("label,text", "0,甲\n9,1,乙\n3,0,丙\n"),
    ):
        assert read(tmp_path, f"{header}\n17,{rows}") == (READ, note)
    # Texts with commas after labels.
    assert read(tmp_path, "label,text\n1,甲,乙\n0,丙,丁\n")[0] == [("甲,乙", "1"), ("丙,丁", "0")]


def test_a_label_of_nan_is_missing(tmp_path: Path) -> None:
    found, _ = read(tmp_path, '{"text": "甲", "label": NaN}\n', name="a.json", split="test")
    assert found == [("甲", None)]


def test_labels_that_count_up_are_labels(tmp_path: Path) -> None:
    assert read(tmp_path, "0,甲\n1,乙\n", split="new") == ([("甲", "0"), ("乙", "1")], [])


def test_new_data_without_a_header_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: no header, and no label of the task where"):
        read(tmp_path, "x\t甲\t乙\ny\t丙\t丁\n", name="a.tsv", task=PAIRS, split="new")


def test_a_placeholder_may_stand_for_the_labels_of_test_data(tmp_path: Path) -> None:
    content = "甲\t乙\t-1\n丙\t丁\t-1\n"
    found, _ = read(tmp_path, content, name="a.tsv", task=PAIRS, split="test")
    assert found == [("甲|乙", "-1"), ("丙|丁", "-1")]


def test_rows_without_the_label_are_test_data(tmp_path: Path) -> None:
    content = "text,label\n甲\n乙,1\n"
    assert read(tmp_path, content, split="test")[0] == [("甲", None), ("乙", "1")]
    with pytest.raises(UserError, match="line 2: too few columns: expected at least 2, found 1"):
        read(tmp_path, content)


def test_rows_of_another_language_and_empty_ones_are_counted(tmp_path: Path) -> None:
    fields = {"text_a": "text", "only": {"lang": "zh"}}
    task = TaskConfig("own", "classification", "table", "accuracy", fields=fields)
    content = "lang,text,label\nzh,甲,0\nen,x,1\n,,\n"
    found, lines = read(tmp_path, content, task=task)
    assert found == [("甲", "0")]
    assert lines == ["skipped 1 row: lang is not zh", "skipped 1 row: all cells are empty"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a", "a.json"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_the_header_decides_the_separator(tmp_path: Path, name: str, separator: str) -> None:
    content = "text,label\n甲,0\n乙,1\n丙,0\n".replace(",", separator)
    found, lines = read(tmp_path, content, name=name)
    assert found == READ
    usual = "," if name == "a.csv" else "\t"
    assert bool(lines) == (separator != usual)


def test_labels_decide_the_separator_without_a_header(tmp_path: Path) -> None:
    assert read(tmp_path, "甲,0\n乙,1\n丙,0\n", name="a.txt")[0] == READ


def test_a_tsv_file_with_its_header_in_quotes_has_quoting(tmp_path: Path) -> None:
    content = '"text"\t"label"\n"他说""好"""\t"1"\n'
    assert read(tmp_path, content, name="a.tsv")[0] == [('他说"好"', "1")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.json", "a.jsonl", "a"])
@pytest.mark.parametrize("reader", ["table", "json_lines"])
@pytest.mark.parametrize("form", ["lines", "array", "indented", "values", "table"])
def test_the_content_decides_and_not_the_name(
    tmp_path: Path, name: str, reader: str, form: str
) -> None:
    rows = [{"text": text, "label": int(label)} for text, label in READ]
    content = {
        "lines": "".join(json.dumps(row) + "\n" for row in rows),
        "array": json.dumps(rows, ensure_ascii=False),
        "indented": json.dumps(rows, ensure_ascii=False, indent=2),
        "values": "\n".join(json.dumps(row, indent=1) for row in rows),
        "table": "text\tlabel\n甲\t0\n乙\t1\n丙\t0\n",
    }[form]
    task = TaskConfig("own", "classification", reader, "accuracy", fields=FIELDS)
    assert read(tmp_path, content, name=name, task=task)[0] == READ
    for pack in (gzip.compress, lzma.compress):
        assert read(tmp_path, pack(content.encode()), name=name, task=task)[0] == READ


@pytest.mark.parametrize(("label", "read_as"), [(["0"], "0"), ([1], "1"), ([], None)])
def test_a_list_may_hold_the_only_label(
    tmp_path: Path, label: list[object], read_as: str | None
) -> None:
    content = json.dumps({"text": "甲", "label": label})
    assert read(tmp_path, content, split="test")[0] == [("甲", read_as)]


@pytest.mark.parametrize("label", [["0", "1"], {"a": 1}])
def test_several_labels_are_not_one(tmp_path: Path, label: object) -> None:
    content = json.dumps({"text": "甲", "label": label})
    with pytest.raises(UserError, match=r'line 1: field "label" is not one label: received'):
        read(tmp_path, content)


def test_a_text_of_null_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'field "text" is not text: received null'):
        read(tmp_path, '{"text": null, "label": 1}')


def test_new_json_may_name_its_texts_as_the_task_does(tmp_path: Path) -> None:
    content = '{"text_a": "甲", "text_b": "乙"}'
    assert read(tmp_path, content, task=PAIRS, split="new")[0] == [("甲|乙", None)]
    with pytest.raises(UserError, match=r'no field "a": the fields are text_a, text_b'):
        read(tmp_path, content, task=PAIRS)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("text,label\n甲,0\n\n,\n乙,1\n\n", ["甲", "", "", "乙"]),
        ('{"text": "甲"}\n\n{"text": "乙"}\n\n', ["甲", "", "乙"]),
        ("甲\n\n乙\n", ["甲", "", "乙"]),
    ],
)
def test_blank_lines_of_new_data_count(tmp_path: Path, content: str, texts: list[str]) -> None:
    found, _ = read(tmp_path, content, split="new")
    assert [text for text, _ in found] == texts
