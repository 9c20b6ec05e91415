"""Scores against scikit-learn and SciPy, and by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from electra_zh.errors import UserError
from electra_zh.finetuning.scores.label_scores import (
    accuracy,
    confusion,
    matthews,
    mean_f1,
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
        assert mean_f1(gold, predicted, labels=[positive]) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    gold, predicted = _labels(seed)
    expected = 100 * sklearn.metrics.f1_score(gold, predicted, average="macro")
    assert mean_f1(gold, predicted) == pytest.approx(expected)


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


def test_two_values_correlate() -> None:
    for gold, predicted in (([0, 1, 0, 1], [2, 4, 2, 4]), ([0, 1, 2, 3], [0, 0, 1, 1])):
        expected = 100 * scipy.stats.pearsonr(gold, predicted).statistic
        assert pearson(gold, predicted) == pytest.approx(expected)
        assert pearson(predicted, gold) == pytest.approx(expected)


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
    assert mean_f1([], [], labels=[1]) == 0.0
    assert mean_f1([], []) == 0.0
    assert matthews([], []) == 0.0
    assert pearson([], []) == 0.0
    assert spearman([], []) == 0.0
    assert confusion([], [], ["a", "b"]).tolist() == [[0, 0], [0, 0]]
    assert percent(0, 0) == 0.0


def test_f1_is_zero_where_the_label_never_occurs() -> None:
    assert mean_f1([0, 0], [0, 0], labels=[1]) == 0.0
    assert mean_f1([1, 1], [0, 0], labels=[1]) == 0.0


def test_lists_of_different_length_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="2 gold, 1 predicted"):
        accuracy([1, 2], [1])
