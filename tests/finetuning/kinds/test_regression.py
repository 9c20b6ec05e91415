"""Regression: targets, predictions, scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.kinds.regression import Regression
from support.tuning import make_start, make_task, make_texts

TOKENIZER = make_start().make_tokenizer()


def example(label: str | None) -> TextExample:
    return TextExample(7, "天地", None, label, "dev.json, line 3")


def make_regression() -> Regression:
    task = make_task(kind="regression", metric="spearman", labels=[1, 5])
    return Regression(task, max_seq_length=32)


def test_targets_are_scaled_by_the_range() -> None:
    rows = make_regression().encode(
        [example("1"), example("2"), example("5")], TOKENIZER, training=True
    )
    assert rows.per_group["target"].tolist() == [0, 0.25, 1]


@pytest.mark.parametrize("label", [None, "unknown", "nan"])
def test_a_label_that_is_not_a_number_is_not_written(label: str | None) -> None:
    unknown = dataclasses.replace(make_texts(1)[0], label=label)
    assert make_regression().to_json(unknown, 2.5) == {"id": 0, "value": 2.5}
    known = dataclasses.replace(unknown, label="3")
    assert make_regression().to_json(known, 2.5)["gold"] == 3.0


def test_the_range_of_the_training_labels_is_exact() -> None:
    task = make_task(kind="regression", metric="spearman", labels={})
    names = Regression.labels_from(task, ["0.987654321", "12345678.5", "3"])
    assert names == ("0.987654321", "12345678.5")
    assert Regression.labels_from(task, ["5.0", "1", "1"]) == ("1", "5")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", "10%"], 'a training label is not a number: "10%"$'),
        (["1", "nan"], 'a training label is not a number: "nan"$'),
        (["1", "1.0"], "the training labels are all the same number"),
    ],
)
def test_labels_without_a_range_are_refused(labels: list[str], message: str) -> None:
    task = make_task(kind="regression", metric="spearman", labels={})
    with pytest.raises(UserError, match=message):
        Regression.labels_from(task, labels)


def test_predicts_in_the_range_of_the_labels() -> None:
    kind = make_regression()
    examples = [example("1"), example("2"), example("5")]
    rows = kind.encode(examples, TOKENIZER, training=False)
    values = kind.predictions({"value": np.array([0.5, 0.0, 1.0])}, rows, examples)
    assert values == [3.0, 1.0, 5.0]
    assert kind.scores(examples, [1.0, 2.0, 3.0])["spearman"] == pytest.approx(100)


@pytest.mark.parametrize("label", ["6", "much", None, "nan"])
def test_label_outside_the_range_is_a_problem(label: str | None) -> None:
    with pytest.raises(UserError, match=r"not a number of the range.*from 1 to 5"):
        make_regression().check([example(label)], BadExamples(skip=False))


@pytest.mark.parametrize("labels", [[5, 1], [1, 2, 5], ["low", "high"], 5, ["1", "1.0"]])
def test_listed_labels_that_are_not_a_range_are_refused(labels: object) -> None:
    task = make_task(kind="regression", metric="spearman", labels=labels)
    with pytest.raises(UserError, match=r"labels of regression are a minimum and a maximum; rec"):
        Regression(task, max_seq_length=32)
