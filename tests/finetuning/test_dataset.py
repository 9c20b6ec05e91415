"""Errors of a task's files and settings, found before training."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_submission_form_of_another_kind_is_refused() -> None:
    task = make_task(submission={"file": "x.json", "form": "idioms"})
    with pytest.raises(UserError, match=r'form "idioms" is not available .* Allowed: labels'):
        make_kind(task, max_position_embeddings=64)
