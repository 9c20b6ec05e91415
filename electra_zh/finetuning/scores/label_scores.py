"""Scores of labels and numbers in percent, by scikit-learn and SciPy.

Every score of no examples is 0, and so is every ratio whose denominator is 0: a score is always a
number that can be compared. The libraries take a second to import, so they are imported here only
when the first score is computed.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from electra_zh.errors import UserError, did_you_mean

# The names or the numbers of classes.
Label = TypeVar("Label", str, int)


def percent(part: float, total: float) -> float:
    """Returns `part` of `total` in percent; 0.0 of nothing."""
    return 100.0 * part / total if total else 0.0


def accuracy(gold: Sequence[Label], predicted: Sequence[Label]) -> float:
    """Returns the percentage of equal labels."""
    assert len(gold) == len(predicted), f"{len(gold)} gold, {len(predicted)} predicted"
    return percent(sum(map(operator.eq, gold, predicted)), len(gold))


def confusion(
    gold: Sequence[Label], predicted: Sequence[Label], labels: Sequence[Label]
) -> np.ndarray:
    """Returns the confusion matrix of C labels, int64 [C, C]: rows are gold, columns predicted.

    Raises:
      UserError: a label is not among `labels`.
    """
    from sklearn.metrics import confusion_matrix

    for label in sorted({*gold, *predicted} - set(labels)):
        names = [str(known) for known in labels]
        hint = did_you_mean(str(label), names)
        raise UserError(f'label "{label}" is not among {", ".join(names)}.{hint}')
    if not gold:
        return np.zeros((len(labels), len(labels)), np.int64)
    return np.asarray(confusion_matrix(gold, predicted, labels=labels), np.int64)


def mean_f1(
    gold: Sequence[Label], predicted: Sequence[Label], *, labels: Sequence[Label] | None = None
) -> float:
    """Returns the mean F1 of labels; by default of all that occur on either side (macro F1).

    MRPC and QQP are scored by that of one label.
    """
    from sklearn.metrics import f1_score

    if not gold:
        return 0.0
    score = f1_score(gold, predicted, labels=labels, average="macro", zero_division=0)
    return float(100.0 * score)


def matthews(gold: Sequence[Label], predicted: Sequence[Label]) -> float:
    """Returns the Matthews correlation, -100 to 100, as CoLA is scored.

    It is 0.0 if either side has only one label: the correlation is undefined then.
    """
    from sklearn.metrics import matthews_corrcoef

    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    return float(100.0 * matthews_corrcoef(gold, predicted))


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns Pearson's correlation, -100 to 100, as STS-B is scored.

    It is 0.0 if either side is constant or has fewer than two values: the correlation is undefined
    then. It is NaN if a value is not finite, to tell a diverged model from a bad one.
    """
    from scipy.stats import pearsonr

    if not np.isfinite([*gold, *predicted]).all():
        return float("nan")
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    return float(100.0 * pearsonr(gold, predicted).statistic)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns Spearman's rank correlation, -100 to 100; 0.0 and NaN as in `pearson`."""
    from scipy.stats import rankdata

    if not np.isfinite([*gold, *predicted]).all():
        return float("nan")
    return pearson(rankdata(gold).tolist(), rankdata(predicted).tolist())
