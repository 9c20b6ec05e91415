"""Scores against scikit-learn and SciPy, and by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import Entity
from electra_zh.finetuning.scorers import (
    accuracy,
    binary_f1,
    confusion,
    entity_scores,
    macro_f1,
    matthews,
    mention_scores,
    pearson,
    percent,
    spearman,
)

NAMES = ["体育", "财经", "科技", "房产"]
SEEDS = range(6)


def _labels(seed: int, *, classes: int = 4, size: int = 200) -> tuple[list[str], list[str]]:
    """Gold and predicted labels that agree more often than by chance."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(classes, size=size)
    predicted = np.where(rng.random(size) < 0.5, gold, rng.integers(classes, size=size))
    return [NAMES[i] for i in gold], [NAMES[i] for i in predicted]


def _numbers(seed: int, *, ties: bool) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=100)
    predicted = gold + rng.normal(size=100)
    if ties:
        gold, predicted = gold.round(0), predicted.round(0)
    return gold.tolist(), predicted.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_is_scikit_learns(seed: int) -> None:
    gold, predicted = _labels(seed)
    expected = 100 * sklearn.metrics.accuracy_score(gold, predicted)
    assert accuracy(gold, predicted) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_f1_is_scikit_learns(seed: int) -> None:
    gold, predicted = _labels(seed, classes=2)
    for positive in NAMES[:2]:
        expected = 100 * sklearn.metrics.f1_score(gold, predicted, pos_label=positive)
        assert binary_f1(gold, predicted, positive=positive) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    gold, predicted = _labels(seed)
    expected = 100 * sklearn.metrics.f1_score(gold, predicted, average="macro")
    assert macro_f1(gold, predicted) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_f1_over_given_labels_counts_an_absent_one_as_zero(seed: int) -> None:
    gold, predicted = _labels(seed, classes=3)
    expected = 100 * sklearn.metrics.f1_score(
        gold, predicted, average="macro", labels=NAMES, zero_division=0
    )
    assert macro_f1(gold, predicted, labels=NAMES) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_matthews_is_scikit_learns(seed: int, classes: int) -> None:
    gold, predicted = _labels(seed, classes=classes)
    expected = 100 * sklearn.metrics.matthews_corrcoef(gold, predicted)
    assert matthews(gold, predicted) == pytest.approx(expected)


def test_matthews_of_opposites_and_of_one_label() -> None:
    assert matthews([0, 1, 0, 1], [1, 0, 1, 0]) == -100.0
    assert matthews([0, 1, 0, 1], [0, 1, 0, 1]) == 100.0
    assert matthews([0, 1, 0, 1], [1, 1, 1, 1]) == 0.0
    assert matthews([1, 1], [1, 1]) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_is_scikit_learns(seed: int) -> None:
    gold, predicted = _labels(seed)
    counts = confusion(gold, predicted, NAMES)
    assert counts.dtype == np.int64
    expected = sklearn.metrics.confusion_matrix(gold, predicted, labels=NAMES)
    np.testing.assert_array_equal(counts, expected)


def test_confusion_has_rows_of_true_labels() -> None:
    counts = confusion([0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 2])
    assert counts.tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_confusion_names_an_unknown_label() -> None:
    message = 'label "entailmnt" is not among entailment, neutral. Did you mean "entailment"?'
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        confusion(["entailmnt"], ["neutral"], ["entailment", "neutral"])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_are_scipys(seed: int, ties: bool) -> None:
    gold, predicted = _numbers(seed, ties=ties)
    assert pearson(gold, predicted) == pytest.approx(
        100 * scipy.stats.pearsonr(gold, predicted).statistic
    )
    assert spearman(gold, predicted) == pytest.approx(
        100 * scipy.stats.spearmanr(gold, predicted).statistic
    )


def test_spearman_by_hand() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4; centred -1.5, 0, 0, 1.5 and -1.5, 0.5, -0.5, 1.5:
    # 4.5 / sqrt(4.5 * 5) = 0.948683...
    assert spearman([0, 7, 7, 9], [1, 3, 2, 100]) == pytest.approx(100 * 4.5 / math.sqrt(22.5))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_correlations_of_extreme_numbers(scale: float) -> None:
    assert pearson([scale, 2 * scale, 3 * scale], [1, 2, 3]) == pytest.approx(100.0)


def test_a_constant_correlates_with_nothing() -> None:
    # The mean of three 0.1 is not 0.1: their variance is not 0 in floating point.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for score in (pearson, spearman):
            assert score([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]) == 0.0
            assert score([0.1, 0.1, 0.1], [1.0, 2.0, 3.0]) == 0.0
            assert score([0.0, 0.0], [0.0, 0.0]) == 0.0
            assert score([1.0], [2.0]) == 0.0


def test_a_diverged_model_shows() -> None:
    for score in (pearson, spearman):
        assert math.isnan(score([1.0, 2.0, 3.0], [1.0, math.nan, 2.0]))
        assert math.isnan(score([1.0, 2.0, 3.0], [1.0, math.inf, 2.0]))


def test_scores_of_nothing_are_zero() -> None:
    assert accuracy([], []) == 0.0
    assert binary_f1([], [], positive=1) == 0.0
    assert macro_f1([], []) == 0.0
    assert macro_f1([], [], labels=[0, 1]) == 0.0
    assert matthews([], []) == 0.0
    assert pearson([], []) == 0.0
    assert spearman([], []) == 0.0
    assert confusion([], [], ["a", "b"]).tolist() == [[0, 0], [0, 0]]
    assert percent(0, 0) == 0.0


def test_f1_is_zero_where_the_label_never_occurs() -> None:
    assert binary_f1([0, 0], [0, 0], positive=1) == 0.0
    assert binary_f1([1, 1], [0, 0], positive=1) == 0.0


def test_lists_of_different_length_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="2 gold, 1 predicted"):
        accuracy([1, 2], [1])
    with pytest.raises(AssertionError, match="1 gold, 0 predicted"):
        entity_scores([[]], [])


def test_entities_by_hand() -> None:
    # Sentence 1: PER right; ORG one unit too long: wrong on both sides.
    # Sentence 2: LOC is taken for ORG; one PER is made up.
    # Sentence 3: nothing to find, nothing found.
    # The same span in another sentence is another entity.
    gold = [[Entity("PER", 0, 2), Entity("ORG", 3, 7)], [Entity("LOC", 0, 2)], []]
    predicted = [
        [Entity("PER", 0, 2), Entity("ORG", 3, 8)],
        [Entity("ORG", 0, 2), Entity("PER", 3, 7)],
        [],
    ]
    scores = entity_scores(gold, predicted)
    # 1 correct of 4 predicted and of 3 gold: P 1/4, R 1/3, F1 2 * 1 / (4 + 3).
    assert scores.micro.type == ""
    assert scores.micro.precision == 25.0
    assert scores.micro.recall == pytest.approx(100 / 3)
    assert scores.micro.f1 == pytest.approx(200 / 7)
    rows = {row.type: (row.gold, row.predicted, row.correct) for row in scores.types}
    assert rows == {"LOC": (1, 0, 0), "ORG": (1, 2, 0), "PER": (1, 2, 1)}
    # F1: LOC 0, ORG 0, PER 2 * 1 / (1 + 2) = 2/3; the mean of three is 2/9.
    assert [row.type for row in scores.types] == ["LOC", "ORG", "PER"]
    assert scores.types[2].precision == 50.0
    assert scores.types[2].recall == 100.0
    assert scores.types[2].f1 == pytest.approx(200 / 3)
    assert scores.macro_f1 == pytest.approx(200 / 9)


def test_entities_of_chunking_by_hand() -> None:
    # NP 0-2, VP 2-3, NP 3-5 against NP 0-2, VP 2-4, NP 4-5: 1 correct of 3 and of 3.
    gold = [[Entity("NP", 0, 2), Entity("VP", 2, 3), Entity("NP", 3, 5)]]
    predicted = [[Entity("NP", 0, 2), Entity("VP", 2, 4), Entity("NP", 4, 5)]]
    scores = entity_scores(gold, predicted)
    assert scores.micro.f1 == pytest.approx(100 / 3)
    assert scores.macro_f1 == 25.0  # NP 2 * 1 / (2 + 2), VP 0


def test_an_entity_counts_once_however_often_it_is_given() -> None:
    twice = [[Entity("PER", 0, 1), Entity("PER", 0, 1)]]
    assert entity_scores([[Entity("PER", 0, 1)]], twice).micro == ("", 100, 100, 100, 1, 1, 1)


def test_no_entities_score_zero() -> None:
    for scores in (
        entity_scores([], []),
        entity_scores([[]], [[]]),
        mention_scores([], [], predicted=[]),
    ):
        assert scores.micro == ("", 0.0, 0.0, 0.0, 0, 0, 0)
        assert scores.macro_f1 == 0.0
        assert scores.types == ()


def test_mentions_by_hand() -> None:
    texts = ["曼联胜曼联", "北京人在北京"]
    # 曼联 stands twice and is one mention: finding one of its places is enough.
    gold = [
        [Entity("organization", 0, 2), Entity("organization", 3, 5)],
        [Entity("address", 0, 2), Entity("name", 0, 3)],
    ]
    predicted = [
        [Entity("organization", 3, 5)],
        # The string is 北京, as in the gold entity at 0: right. 人在 is no name.
        [Entity("address", 4, 6), Entity("name", 2, 4)],
    ]
    scores = mention_scores(texts, gold, predicted=predicted)
    rows = {row.type: (row.gold, row.predicted, row.correct, row.f1) for row in scores.types}
    assert rows == {
        "address": (1, 1, 1, 100.0),
        "name": (1, 1, 0, 0.0),
        "organization": (1, 1, 1, 100.0),
    }
    assert scores.macro_f1 == pytest.approx(200 / 3)
    assert scores.micro.f1 == pytest.approx(200 / 3)
    # Strictly only organization at 3 is right: 1 of 4 gold and of 3 predicted.
    assert entity_scores(gold, predicted).micro.f1 == pytest.approx(200 / 7)


def test_a_type_that_is_only_predicted_lowers_the_mean_and_an_absent_one_does_not() -> None:
    gold = [[Entity("name", 0, 1)]]
    assert mention_scores(["王"], gold, predicted=gold).macro_f1 == 100.0
    predicted = [[Entity("name", 0, 1), Entity("book", 0, 1)]]
    assert mention_scores(["王"], gold, predicted=predicted).macro_f1 == 50.0
