"""Errors of a task's files and settings, found before training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import dataset
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.tasks import Split
from support.tuning import make_task


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": "acuracy"},
            r'metric "acuracy" is not available for classification. Did you mean "accuracy"',
        ),
        ({"metric": "f1", "labels": ["a", "b", "c"]}, "Allowed: accuracy, macro_f1, mcc$"),
        ({"metric": "f1", "kind": "choice"}, "Allowed: accuracy$"),
    ],
)
def test_a_metric_of_another_kind_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_kind(make_task(**changes), max_position_embeddings=64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reader": "jsonlines"}, r'reader "jsonlines" does not exist. Did you mean "json_lines"'),
        (
            {"reader": "columns"},
            r'"columns" makes examples for other kinds of task. Allowed for cl',
        ),
        (
            {"kind": "tagging", "reader": "table"},
            "Allowed for tagging: cluener, columns, plain_se",
        ),
    ],
)
def test_a_reader_of_something_else_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataset.read(make_task(**changes), ["x"], split="train", problems=BadExamples(skip=False))


def write(folder: Path, name: str, labels: str) -> tuple[str]:
    lines = [
        json.dumps({"text": "天地", **({"label": each} if each != "-" else {})}) for each in labels
    ]
    (folder / name).write_text("\n".join(lines) + "\n")
    return (str(folder / name),)


def test_what_else_is_to_be_known_of_the_files(tmp_path: Path) -> None:
    task = make_task(labels={"file": "labels.txt"}, fields={"text_a": "text"})
    paths: dict[Split, tuple[str, ...]] = {
        "train": write(tmp_path, "train.json", "abab"),
        "dev": write(tmp_path, "dev.json", "ab"),
        "test": write(tmp_path, "test.json", "ab-"),
    }
    found = Found(str(tmp_path), paths, "")
    data = dataset.load(task, found, max_position_embeddings=64, skip_bad=False)
    assert data.task.labels.names == ("a", "b")
    assert not data.test_labelled
    assert data.notes == (
        f"no labels.txt in {tmp_path}: the labels are those of the training set",
        "2 of 3 test examples have a label: the test is not scored",
    )


def test_a_test_file_that_is_not_found_is_reported(tmp_path: Path) -> None:
    task = make_task(labels=["a", "b"], fields={"text_a": "text"}, files={"test": ["test.json"]})
    paths: dict[Split, tuple[str, ...]] = {
        "train": write(tmp_path, "train.json", "ab"),
        "dev": write(tmp_path, "dev.json", "ab"),
    }
    data = dataset.load(
        task, Found("folder", paths, ""), max_position_embeddings=64, skip_bad=False
    )
    assert data.notes == ("no test.json in folder: the test is not scored",)


def test_a_submission_form_of_another_kind_is_refused() -> None:
    task = make_task(submission={"file": "x.json", "form": "idioms"})
    with pytest.raises(UserError, match=r'form "idioms" is not available .* Allowed: labels'):
        make_kind(task, max_position_embeddings=64)


def load(
    folder: Path, *, skip_bad: bool = False, labels: object = ("a", "b"), **splits: str
) -> Any:
    """Loads a task whose splits have a label for each letter; dev is that of train."""
    named = {"labels": labels} if labels else {"labels": {}}
    task = make_task(**named, fields={"text_a": "text"})
    splits = {"dev": splits["train"], **splits}
    paths: dict[Any, tuple[str, ...]] = {
        split: write(folder, f"{split}.json", letters) for split, letters in splits.items()
    }
    found = Found(str(folder), paths, str(folder / "labels") if labels == {"file": "x"} else "")
    return dataset.load(task, found, max_position_embeddings=64, skip_bad=skip_bad)


def test_a_placeholder_of_all_test_labels_is_no_label(tmp_path: Path) -> None:
    data = load(tmp_path, train="abab", test="xx")
    assert not data.test_labelled
    assert [example.label for example in data.splits["test"]] == [None, None]
    assert data.notes == ("all 2 test labels are x: not a label of the task, so not scored",)


def test_several_unknown_test_labels_are_bad(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'test.json, line 2: label not in the list: "x"'):
        load(tmp_path, train="abab", test="ax")


def test_several_labels_in_one_are_reported(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        labels = ("体育", "财经", "体育、财经", "文/理")
        lines = [json.dumps({"text": "天", "label": label}) for label in labels]
        (tmp_path / f"{split}.json").write_text("\n".join(lines), encoding="utf-8")
    paths: dict[Split, tuple[str, ...]] = {
        "train": (str(tmp_path / "train.json"),),
        "dev": (str(tmp_path / "dev.json"),),
    }
    task = make_task(labels={}, fields={"text_a": "text"})
    found = Found(str(tmp_path), paths, "")
    data = dataset.load(task, found, max_position_embeddings=64, skip_bad=False)
    assert data.notes == (
        '1 of 4 labels join others, as "体育、财经": each is a label of its own; '
        "kind: multi_label splits them at the label_separator of its fields",
    )


def test_one_known_label_of_all_test_examples_is_reported(tmp_path: Path) -> None:
    data = load(tmp_path, train="abab", test="aaaa")
    assert data.test_labelled
    assert data.notes == ("all 4 test labels are a: is it a placeholder?",)


def test_most_examples_may_not_be_bad(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"3 of 5 examples are bad, most of them: label not in the"):
        load(tmp_path, train="abxyx", skip_bad=True)
    assert len(load(tmp_path, train="abxb", skip_bad=True).splits["train"]) == 3


def test_a_label_of_its_own_for_every_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="each of the 12 training examples has another label"):
        load(tmp_path, labels=None, train="abcdefghijkl")


def test_numbers_to_predict_may_all_differ(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "天地", "label": number / 7}) for number in range(12)]
    (tmp_path / "a.json").write_text("\n".join(lines), encoding="utf-8")
    changes = {"kind": "regression", "metric": "spearman", "labels": {}}
    task = make_task(**changes, fields={"text_a": "text"})
    paths: dict[Split, tuple[str, ...]] = {s: (str(tmp_path / "a.json"),) for s in ("train", "dev")}
    found = Found(str(tmp_path), paths, "")
    data = dataset.load(task, found, max_position_embeddings=64, skip_bad=False)
    assert [len(data.splits[split]) for split in ("train", "dev")] == [12, 12]
    assert data.task.labels.names == ("0", str(11 / 7))


def test_files_are_read_again_for_other_labels_to_drop(tmp_path: Path) -> None:
    data = load(tmp_path, train="abab")
    labels = dataclasses.replace(data.task.labels, drop=("b",))
    again = data.with_config(dataclasses.replace(data.task, labels=labels))
    assert [example.label for example in again.splits["train"]] == ["a", "a"]


def test_data_may_have_the_numbers_of_a_map(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text('{"体育": 1, "财经": 0}', encoding="utf-8")
    data = load(tmp_path, labels={"file": "x"}, train="0101")
    assert data.task.labels.names == ("0", "1")
    assert data.task.labels.descriptions == ("财经", "体育")
    assert data.notes == (f"the data has the numbers of the labels in {tmp_path / 'labels'}",)


def test_duplicate_ids_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": 1, "text": "天", "label": "a"}\n' * 2, encoding="utf-8")
    problems = BadExamples(skip=False)
    dataset.read(make_task(fields={"text_a": "text"}), [str(path)], split="dev", problems=problems)
    assert problems.lines() == [
        f"1 ids have more than one example, first 1 at {path}, line 1 and {path}, line 2"
    ]


@pytest.mark.parametrize(
    "listed", [["[PAD]", "O", "B-LOC", "I-LOC", "B-PER", "I-PER"], ["LOC", "PER"]]
)
def test_listed_tags_are_types_of_entities(tmp_path: Path, listed: list[str]) -> None:
    (tmp_path / "labels").write_text(json.dumps({name: n for n, name in enumerate(listed)}))
    (tmp_path / "a.txt").write_text("马 B-PER\n云 I-PER\n", encoding="utf-8")
    changes = {"kind": "tagging", "reader": "columns", "metric": "f1", "fields": {}}
    task = make_task(**changes, labels={"file": "labels"})
    paths: dict[Split, tuple[str, ...]] = {s: (str(tmp_path / "a.txt"),) for s in ("train", "dev")}
    found = Found(str(tmp_path), paths, str(tmp_path / "labels"))
    data = dataset.load(task, found, max_position_embeddings=64, skip_bad=False)
    assert data.task.labels.names == ("LOC", "PER")


def test_labels_of_pandas_are_read_without_their_point(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n天,0.0\n地,1.0\n ,1\n", encoding="utf-8")
    task = make_task(labels=["0", "1"], reader="table", fields={"text_a": "text"})
    paths: dict[Split, tuple[str, ...]] = {s: (str(tmp_path / "a.csv"),) for s in ("train", "dev")}
    found = Found(str(tmp_path), paths, "")
    data = dataset.load(task, found, max_position_embeddings=64, skip_bad=False)
    assert [example.label for example in data.splits["dev"]] == ["0", "1", "1"]
    overlap = "2 of 3 dev examples are in the training set, too: their scores say nothing about new"
    assert data.lines() == [
        line
        for split in ("train", "dev")
        for line in (
            f"1 of 3 {split} examples have no text",
            'labels that end in ".0" are read without it',
            *([f"{overlap} texts"] if split == "dev" else []),
        )
    ]


@pytest.mark.parametrize(
    ("kind", "reader", "labels", "scored", "note"),
    [
        ("tagging", "spans", [[[0, 1, "PER"]], []], True, ""),
        ("tagging", "spans", [[], []], False, "so not scored"),
        ("multi_label", "label_lists", [["PER"], []], True, ""),
        ("multi_label", "label_lists", [["PER"]], True, "all 1 test labels are PER: is it a"),
        ("multi_label", "label_lists", [["?"], ["?"]], False, "so not scored"),
    ],
)
def test_labels_that_some_examples_lack_are_not_a_placeholder(
    tmp_path: Path, kind: str, reader: str, labels: list[Any], scored: bool, note: str
) -> None:
    train = [[[0, 1, "PER"]], []] if kind == "tagging" else [["PER"], []]
    paths: dict[Any, tuple[str, ...]] = {}
    for split, found in (("train", train), ("dev", train), ("test", labels)):
        path = tmp_path / f"{split}.json"
        lines = (json.dumps({"text": "天地", "label": each}) for each in found)
        path.write_text("\n".join(lines), encoding="utf-8")
        paths[split] = (str(path),)
    fields = {"text": "text"} if kind == "tagging" else {"text_a": "text"}
    task = make_task(kind=kind, reader=reader, metric="f1", labels={}, fields=fields)
    data = dataset.load(task, Found("", paths, ""), max_position_embeddings=64, skip_bad=False)
    assert data.test_labelled == scored
    assert note in "".join(data.notes)
    assert bool(note) == bool(data.notes)


@pytest.mark.parametrize(("texts", "same"), [("天地", 2), ("天日", 1), ("日月", 0), ("  ", 0)])
def test_examples_that_are_in_the_training_set_too_are_counted(
    tmp_path: Path, texts: str, same: int
) -> None:
    paths: dict[Any, tuple[str, ...]] = {}
    for split, found in (("train", "天地 "), ("dev", texts)):
        path = tmp_path / f"{split}.json"
        path.write_text("\n".join(json.dumps({"text": char, "label": "a"}) for char in found))
        paths[split] = (str(path),)
    task = make_task(labels=["a", "b"], fields={"text_a": "text"})
    data = dataset.load(task, Found("", paths, ""), max_position_embeddings=64, skip_bad=False)
    note = f"{same} of 2 dev examples are in the training set, too: their scores say nothing about "
    noted = [line for line in data.problems["dev"].lines() if "no text" not in line]
    assert noted == ([f"{note}new texts"] if same else [])
