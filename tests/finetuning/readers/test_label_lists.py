"""Readers of several labels per text: lists, cells, empty ones, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples, LabelsExample
from electra_zh.finetuning.readers.plain import is_plain
from electra_zh.finetuning.readers.streams import TaskFile
from electra_zh.finetuning.tasks import TaskConfig


def make_task(**changes: Any) -> TaskConfig:
    values = {
        "name": "own",
        "kind": "multi_label",
        "reader": "label_lists",
        "metric": "f1",
        "fields": {"text_a": "text", "label": "labels"},
    }
    return TaskConfig.from_dict({**values, **changes}, where="test")


def read(path: Path, content: str, split: str = "train", **changes: Any) -> list[LabelsExample]:
    path.write_text(content, encoding="utf-8")
    task = make_task(**changes)
    return list(readers.read(str(path), task, split=split, bad=BadExamples(skip=False)))


def test_lists_of_json(tmp_path: Path) -> None:
    values: list[Any] = [["甲", "乙", "甲"], [], "乙,丙", 3, [0, True], '["a,b"]']
    lines = [json.dumps({"text": "天", "labels": value}) for value in values]
    found = read(tmp_path / "a.json", "\n".join(lines))
    assert [each.label_names for each in found] == [
        *(("甲", "乙"), (), ("乙", "丙"), ("3",), ("0", "true"), ("a,b",)),
    ]
    assert all(each.has_label for each in found)


def test_cells_of_a_table(tmp_path: Path) -> None:
    content = "text\tlabels\n天\t甲, 乙\n地\t\n玄\t[丙]\n"
    found = read(tmp_path / "a.tsv", content)
    assert [each.label_names for each in found] == [("甲", "乙"), (), ("[丙]",)]
    fields = {"text_a": "text", "label": "labels", "label_separator": "|"}
    found = read(tmp_path / "a.csv", 'text,labels\n天,"甲,乙|丙"\n', fields=fields)
    assert [each.label_names for each in found] == [("甲,乙", "丙")]


def test_a_table_without_a_header_is_recognized_by_its_labels(tmp_path: Path) -> None:
    fields = {"columns": [["text_a", "label"], ["label", "text_a"]]}
    found = read(
        tmp_path / "a.tsv", "甲,乙\t天\n丙\t地\n", fields=fields, labels=["甲", "乙", "丙"]
    )
    assert [(each.text_a, each.label_names) for each in found] == [
        ("天", ("甲", "乙")),
        ("地", ("丙",)),
    ]


def test_unknown_labels_and_placeholders(tmp_path: Path) -> None:
    (example,) = read(tmp_path / "a.json", '{"text": "天"}', split="test")
    assert not example.has_label
    with pytest.raises(UserError, match="no labels: is this a test file"):
        read(tmp_path / "a.json", '{"text": "天"}')
    lines = '{"text": "天", "labels": ["甲", "乙"]}\n{"text": "地", "labels": ["丙"]}'
    (kept,) = read(tmp_path / "a.json", lines, labels={"drop": ["乙"]})
    assert kept.text_a == "地"


@pytest.mark.parametrize("value", [{"a": 1}, [["甲"]], [None]])
def test_other_values_are_refused(tmp_path: Path, value: object) -> None:
    line = json.dumps({"text": "天", "labels": value})
    with pytest.raises(UserError, match="not a list of labels: received"):
        read(tmp_path / "a.json", line)


def test_a_separator_is_needed(tmp_path: Path) -> None:
    fields = {"text_a": "text", "label_separator": ""}
    with pytest.raises(UserError, match="label_separator is empty"):
        read(tmp_path / "a.json", "{}", fields=fields)


def test_a_kind_with_one_label_cannot_use_it() -> None:
    task = make_task(kind="classification", metric="accuracy")
    from electra_zh.finetuning.kinds import kind_class

    with pytest.raises(UsageError, match="makes examples for other kinds"):
        readers.find_reader("label_lists", task, kind_class("classification").example_type)
    for name in ("label_lists", "table", "plain_texts"):
        readers.find_reader(name, task, kind_class("multi_label").example_type)


def test_plain_lines_are_recognized(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    for content, expected in (("天地\n玄黄\n", True), ("text\n天地\n", False)):
        path.write_text(content)
        assert is_plain(TaskFile(str(path)), make_task()) == expected
