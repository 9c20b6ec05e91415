"""Predictions that are all the same are reported."""

from __future__ import annotations

import numpy as np
import pytest

from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.kinds.classification import LabelPrediction
from electra_zh.finetuning.scores.answer_counts import AnswerCounts, same_answer
from support.tuning import LABELS, make_classification, make_task


def predictions(*labels: str) -> list[LabelPrediction]:
    return [LabelPrediction(label, np.array([0.5, 0.5])) for label in labels]


@pytest.mark.parametrize(
    ("same", "others", "line"),
    [
        (10, 0, 'all 10 predictions are "100": the model may have learnt nothing'),
        (999, 1, '99.90% of 1,000 predictions are "100": the model may have learnt nothing'),
        (9, 0, None),
        (90, 10, None),
    ],
)
def test_equal_predictions_are_reported(same: int, others: int, line: str | None) -> None:
    counts = AnswerCounts(make_classification(), predictions(*["100"] * same, *["101"] * others))
    assert list(counts.lines()) == ([] if line is None else [line])


def test_a_label_s_description_is_shown() -> None:
    labels = {"names": LABELS, "descriptions": ["news_story", "news_culture"]}
    kind = make_kind(make_task(labels=labels), max_position_embeddings=64)
    (line,) = AnswerCounts(kind, predictions(*["101"] * 20)).lines()
    assert line.startswith('all 20 predictions are "101" (news_culture): ')


def test_empty_lines_are_counted_and_are_no_answer() -> None:
    counts = AnswerCounts(make_classification(), [*predictions("100", "101"), *[None] * 20])
    assert list(counts.lines()) == ["20 empty lines have no prediction (null)"]
    counts = AnswerCounts(make_classification(), [None])
    assert list(counts.lines()) == ["1 empty line has no prediction (null)"]


def test_no_predictions_are_not_the_same() -> None:
    assert same_answer("x", 0, 0) == []
