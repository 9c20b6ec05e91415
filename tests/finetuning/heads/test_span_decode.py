"""The best spans: against trying all pairs, across windows, and with other answers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.finetuning.heads.span_decode import (
    NEGATIVE,
    AnswerText,
    WindowSpans,
    best_spans,
    best_spans_of_starts,
    make_prediction,
    n_best,
    other_answers,
)

Spans = list[tuple[float, int, int]]


def all_pairs(start: np.ndarray, end: np.ndarray, max_length: int) -> Spans:
    """All spans by trying, best first: score, first and last position; `end` [L] or [L, L]."""
    length = len(start)
    ends = np.broadcast_to(end, [length, length])
    found = [
        (float(start[i] + ends[i, j]), i, j)
        for i in range(length)
        for j in range(i, min(i + max_length, length))
        if start[i] > NEGATIVE and ends[i, j] > NEGATIVE
    ]
    return sorted(found, reverse=True)


def listed(pairs: WindowSpans, row: int = 0) -> Spans:
    values = zip(*(part.numpy()[row].tolist() for part in pairs), strict=True)
    return [(score, first, last) for score, first, last in values if score > NEGATIVE / 2]


def random_scores(
    generator: np.random.Generator, shape: tuple[int, ...], *, unit: float
) -> np.ndarray:
    """Distinct multiples of a unit, some of them not allowed."""
    scores = (generator.permutation(np.prod(shape)).reshape(shape) * unit).astype(np.float32)
    scores[generator.random(shape) < 0.3] = NEGATIVE
    return scores


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.sampled_from([1, 3, 16]),
    max_length=st.sampled_from([1, 4, 30]),
    count=st.sampled_from([1, 5, 20]),
)
def test_best_pairs_are_those_of_trying_all(
    seed: int, length: int, max_length: int, count: int
) -> None:
    generator = np.random.default_rng(seed)
    start = random_scores(generator, (length,), unit=1.0)
    end = random_scores(generator, (length,), unit=2.0**-10)  # so that all sums are distinct
    pairs = best_spans(
        tf.constant(start[None]), tf.constant(end[None]), max_length=max_length, count=count
    )
    assert [part.shape for part in pairs] == [(1, count)] * 3
    expected = all_pairs(start, end, max_length)[:count]
    assert [span[1:] for span in listed(pairs)] == [span[1:] for span in expected]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), max_length=st.sampled_from([1, 4, 30]))
def test_pairs_of_beam_are_those_of_trying_all(seed: int, max_length: int) -> None:
    length, count = 9, 20
    generator = np.random.default_rng(seed)
    start = random_scores(generator, (length,), unit=1.0)
    ends = random_scores(generator, (length, length), unit=2.0**-10)
    order = np.argsort(-start)  # a beam of all the starts
    pairs = best_spans_of_starts(
        tf.constant(start[order][None]),
        tf.constant(order[None], tf.int32),
        tf.constant(ends[order][None]),
        max_length=max_length,
        count=count,
    )
    expected = all_pairs(start, ends, max_length)[:count]
    assert [span[1:] for span in listed(pairs)] == [span[1:] for span in expected]


def test_windows_have_spans_of_their_own() -> None:
    start = tf.constant([[5.0, 0.0, 1.0], [0.0, 5.0, 1.0]])
    end = tf.constant([[0.0, 3.0, 0.0], [9.0, 0.0, 2.0]])
    pairs = best_spans(start, end, max_length=3, count=1)
    assert listed(pairs, 0) == [(8.0, 0, 1)]
    assert listed(pairs, 1) == [(9.0, 0, 0)]


def test_candidates_are_characters_sorted_by_question_and_score() -> None:
    scores = np.array([[1.0, -2e9], [3.0, 2.0], [7.0, -1e9]], np.float32)
    starts = np.array([[1, 0], [0, 1], [2, 0]], np.int32)
    ends = np.array([[2, 0], [0, 3], [2, 900]], np.int32)
    text = "".join(map(chr, range(0x4E00, 0x4E80)))
    found = n_best(
        (scores, starts, ends),
        question=np.array([0, 0, 2]),
        row_starts=np.array([0, 3, 7]),
        characters=(np.arange(10) * 10, np.arange(10) * 10 + 9),
        contexts=[text] * 3,
        count=9,
    )
    assert [[each.score for each in spans] for spans in found] == [[3.0, 2.0, 1.0], [], [7.0]]
    assert [[each.start for each in spans] for spans in found] == [[30, 40, 10], [], [90]]
    assert [[each.end for each in spans] for spans in found] == [[39, 69, 29], [], [99]]


def test_each_text_is_kept_once_with_its_best_score() -> None:
    found = n_best(
        (
            np.array([[4.0, 3.0, 2.0, 1.0], [9.0, -2e9, -2e9, -2e9]], np.float32),
            np.array([[0, 3, 1, 2], [0, 0, 0, 0]], np.int32),
            np.array([[0, 3, 1, 3], [0, 0, 0, 0]], np.int32),
        ),
        question=np.array([0, 2]),
        row_starts=np.array([0, 4]),
        characters=(np.array([0, 1, 2, 3, 0]), np.array([1, 2, 3, 4, 1])),
        contexts=["天地玄天", "黄", "宇"],
        count=2,
    )
    assert found == [
        [AnswerText("天", 0, 1, 4.0), AnswerText("地", 1, 2, 2.0)],
        [],
        [AnswerText("宇", 0, 1, 9.0)],
    ]


def test_probabilities_are_the_softmax_of_the_best() -> None:
    spans = [AnswerText("天", 0, 1, 2.0), AnswerText("地", 1, 2, 2.0 - np.log(3))]
    prediction = make_prediction(spans, -1.5, None)
    assert prediction[:5] == ("天", 0, 1, 2.0, -1.5)
    assert [each.text for each in prediction.nbest] == ["天", "地"]
    assert [each.probability for each in prediction.nbest] == pytest.approx([0.75, 0.25])


def test_another_answer_stands_in_place_of_the_span() -> None:
    prediction = make_prediction([AnswerText("天", 0, 1, 2.0)], 3.0, "NO")
    assert prediction[:4] == ("NO", -1, -1, 2.0)
    assert prediction.nbest[0].text == "天"


def test_no_spans_are_no_answer() -> None:
    prediction = make_prediction([], 0.0, None)
    assert (prediction.text, prediction.start, prediction.nbest) == ("", -1, ())


def test_null_score_is_the_least_of_all_windows() -> None:
    scores, answers = other_answers(
        {"null": np.array([4.0, 1.0, 2.5])},
        np.array([0, 0, 1]),
        best_scores=[2.0, 2.0],
        names=(),
        threshold=0.0,
    )
    assert scores == [-1.0, 0.5]
    assert answers == [None, ""]


def test_answerability_head_decides_where_there_is_one() -> None:
    outputs = {"null": np.zeros(2), "unanswerable": np.array([-3.0, -2.0])}
    scores, answers = other_answers(
        outputs, np.array([0, 1]), best_scores=[9.0, 9.0], names=(), threshold=-2.75
    )
    assert scores == [-3.0, -2.0]
    assert answers == [None, ""]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([[0.1, 0.05, 0.05, 0.8], [0.7, 0.1, 0.1, 0.1]], None),
        ([[0.1, 0.1, 0.1, 0.7], [0.1, 0.7, 0.1, 0.1]], "YES"),
        ([[0.1, 0.1, 0.6, 0.2], [0.2, 0.1, 0.1, 0.6]], "NO"),
        ([[0.2, 0.1, 0.1, 0.6], [0.3, 0.1, 0.1, 0.5]], ""),
    ],
)
def test_one_window_is_enough_for_an_answer(
    windows: list[list[float]], expected: str | None
) -> None:
    scores, answers = other_answers(
        {"answer_types": np.log(windows)},
        np.array([0, 0]),
        best_scores=[0.0],
        names=("YES", "NO", "NONE"),
        threshold=np.inf,
    )
    assert answers == [expected]
    assert (scores[0] > 0) == (expected == "")


def test_no_questions() -> None:
    nothing = other_answers({}, np.zeros(0), best_scores=[], names=(), threshold=0.0)
    assert nothing == ([], [])
