"""Parquet and Arrow files as Hugging Face's datasets write them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import locate, readers, registry
from electra_zh.finetuning.examples import BadExamples


def read(path: Path, task: str, split: str = "dev") -> list[Any]:
    bad = BadExamples(skip=False)
    return list(readers.read(str(path), registry.load([task])[0], split=split, bad=bad))


def write(path: Path, columns: dict[str, Any], **features: Any) -> Path:
    """Writes a table: Parquet, or by the suffix an Arrow file or an Arrow stream (`.arrow`)."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    info = json.dumps({"info": {"features": features}}).encode()
    table = pyarrow.table(columns).replace_schema_metadata({b"huggingface": info})
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
        return path
    make = ipc.new_stream if path.suffix == ".arrow" else ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table)
    return path


def classes(*names: str) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_class_labels_are_read_by_their_names(tmp_path: Path, name: str) -> None:
    columns = {"sentence1": ["甲"] * 2, "sentence2": ["乙"] * 2, "label": [1, -1], "idx": [0, 1]}
    path = write(tmp_path / name, columns, label=classes("neutral", "entailment", "contradiction"))
    assert [each.label for each in read(path, "ocnli", "test")] == ["entailment", None]
    assert read(path, "ocnli", "test")[1].place == f"{path}, row 2"


def test_class_labels_stay_numbers_where_the_task_has_numbers(tmp_path: Path) -> None:
    columns = {"sentence": ["so good"], "label": [1]}
    path = write(tmp_path / "a.parquet", columns, label=classes("negative", "positive"))
    assert [each.label for each in read(path, "sst2")] == ["1"]


def test_tags_of_a_list(tmp_path: Path) -> None:
    tags = {"feature": classes("O", "B-PER", "I-PER"), "_type": "Sequence"}
    columns = {"tokens": [["海", "钓"]], "ner_tags": [[1, 2]]}
    (example,) = read(write(tmp_path / "a.parquet", columns, ner_tags=tags), "msra_ner")
    assert [(each.type, each.start, each.end) for each in example.entities] == [("PER", 0, 2)]


def test_questions_with_their_contexts(tmp_path: Path) -> None:
    answers = [{"text": ["北京"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    columns = {
        "id": ["a", "b"],
        "context": ["北京是首都"] * 2,
        "question": ["何"] * 2,
        "answers": answers,
    }
    path = write(tmp_path / "a.parquet", columns)
    assert [each.gold_answers() for each in read(path, "squad2")] == [["北京"], []]
    assert [each.answers is None for each in read(path, "cmrc2018", "test")] == [False, True]


def test_choices_and_blanks(tmp_path: Path) -> None:
    c3 = {"id": [3], "context": [["甲", "乙"]], "question": ["谁"], "choice": [["甲", "乙"]]}
    (question,) = read(write(tmp_path / "c3.parquet", {**c3, "answer": ["乙"]}), "c3")
    assert (question.id, question.context, question.answer) == (3, "甲\n乙", 1)
    columns = {
        "content": [["一#idiom1#", "二#idiom2#"]] * 2,
        "candidates": [["甲", "乙"]] * 2,
        "answers": [
            {"text": ["#idiom1#", "#idiom2#"], "candidate_id": numbers}
            for numbers in ([1, 0], [-1, -1])
        ],
    }
    found = read(write(tmp_path / "chid.parquet", columns), "chid", "test")
    assert [[blank.answer for blank in each.blanks] for each in found] == [[1, 0], [None, None]]


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"],
        ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"],
        ["train/data-00000-of-00001.arrow", "validation/data-00000-of-00001.arrow"],
        ["afqmc-train.arrow", "afqmc-validation.arrow", "cache-1.arrow"],
        ["train.parquet", "dev.parquet"],
    ],
)
def test_the_splits_are_found(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        path = tmp_path / "afqmc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = locate.find(registry.load(["afqmc"])[0], locate.folders_below(str(tmp_path)))
    assert found is not None
    assert found.paths == {
        split: (str(tmp_path / "afqmc" / name),)
        for split, name in zip(("train", "dev"), names, strict=False)
    }


def test_the_parts_of_a_split_are_one(tmp_path: Path) -> None:
    for number in range(2):
        columns = {"sentence1": ["甲"] * 2, "sentence2": ["乙"] * 2, "label": [0, 1]}
        write(tmp_path / "afqmc" / f"train-0000{number}-of-00002.parquet", columns)
    (task,) = registry.load(["afqmc"])
    found = locate.find(task, locate.folders_below(str(tmp_path)))
    assert found is not None
    paths, bad = found.paths["train"], BadExamples(skip=False)
    assert [e.id for e in readers.read(paths, task, split="train", bad=bad)] == [0, 1, 2, 3]


@pytest.mark.parametrize("head", [b"PAR1", b"\xff\xff\xff\xff", b"ARROW1\0\0"])
def test_a_damaged_file_is_named(tmp_path: Path, head: bytes) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    path.write_bytes(head + os.urandom(300))
    with pytest.raises(UserError, match=r"a\.parquet is a damaged (Parquet|Arrow) file: \w"):
        read(path, "afqmc")


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"a\.parquet is a Parquet file, which needs pyarrow: pip"):
        read(tmp_path / "a.parquet", "afqmc")
