"""Scores of classification, regression and tagging, in percent as published tables have them.

Every score of nothing is 0.0, and so is every ratio whose denominator is 0: a score is always a
number that can be compared. Answers to questions are scored in `reading_scores`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.examples import Entity

# What tells classes apart: their names or their numbers.
Label = TypeVar("Label", str, int)


class TypeScore(NamedTuple):
    """Score of the entities of one type, or of all together.

    Attributes:
      type: the entities' type; empty for all types together.
      precision: correct / predicted, in percent.
      recall: correct / gold, in percent.
      f1: harmonic mean of the two, in percent.
      gold: number of entities in the data.
      predicted: number of entities that were predicted.
      correct: of these, those that are in the data.
    """

    type: str
    precision: float
    recall: float
    f1: float
    gold: int
    predicted: int
    correct: int


class EntityScores(NamedTuple):
    """Scores of tagging.

    Attributes:
      micro: over the entities of all types together.
      macro_f1: mean of the types' F1 in percent. Over the types with gold or predicted entities:
        a type that occurs on neither side says nothing about the predictions.
      types: one row a type, in the order of the names.
    """

    micro: TypeScore
    macro_f1: float
    types: tuple[TypeScore, ...]


def accuracy(gold: Sequence[Label], predicted: Sequence[Label]) -> float:
    """Returns the percentage of equal labels; 0.0 of none."""
    _check_lengths(gold, predicted)
    return percent(sum(map(_equal, gold, predicted)), len(gold))


def confusion(
    gold: Sequence[Label], predicted: Sequence[Label], labels: Sequence[Label]
) -> np.ndarray:
    """Counts how often each label was taken for each.

    Args:
      gold: true labels.
      predicted: predicted labels, as many.
      labels: all C labels, in the order of the rows and columns.

    Returns:
      int64 [C, C]: row = true label, column = predicted label.

    Raises:
      UserError: a label is not among `labels`.
    """
    _check_lengths(gold, predicted)
    index = {label: i for i, label in enumerate(labels)}
    for label in (*gold, *predicted):
        if label not in index:
            names = [str(known) for known in labels]
            hint = did_you_mean(str(label), names)
            raise UserError(f'label "{label}" is not among {", ".join(names)}.{hint}')
    rows = [index[label] for label in gold]
    columns = [index[label] for label in predicted]
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def binary_f1(gold: Sequence[Label], predicted: Sequence[Label], *, positive: Label) -> float:
    """Returns the F1 of one label in percent, as MRPC and QQP are scored."""
    _check_lengths(gold, predicted)
    correct = sum(g == p == positive for g, p in zip(gold, predicted, strict=True))
    return _f1(correct, sum(g == positive for g in gold), sum(p == positive for p in predicted))


def macro_f1(
    gold: Sequence[Label], predicted: Sequence[Label], *, labels: Collection[Label] | None = None
) -> float:
    """Returns the mean of the labels' F1 in percent.

    Args:
      gold: true labels.
      predicted: predicted labels, as many.
      labels: the labels to average over, where one without gold and predictions counts as 0; by
        default all that occur on either side.
    """
    _check_lengths(gold, predicted)
    chosen = set(gold) | set(predicted) if labels is None else set(labels)
    in_gold, in_predicted = Counter(gold), Counter(predicted)
    correct = Counter(g for g, p in zip(gold, predicted, strict=True) if g == p)
    return _mean([_f1(correct[label], in_gold[label], in_predicted[label]) for label in chosen])


def matthews(gold: Sequence[Label], predicted: Sequence[Label]) -> float:
    """Returns the Matthews correlation, -100 to 100, as CoLA is scored.

    For more than two labels it is Gorodkin's R_K (2004, equation 8). It is 0.0 where either side
    has one label only: the correlation is undefined there, and nothing has been told apart.
    """
    _check_lengths(gold, predicted)
    in_gold, in_predicted = Counter(gold), Counter(predicted)
    # Python's integers: products of counts overflow nothing, and equal terms cancel exactly.
    total = len(gold)
    correct = sum(map(_equal, gold, predicted))
    joint = correct * total - sum(in_gold[label] * in_predicted[label] for label in in_gold)
    gold_spread = total**2 - sum(count**2 for count in in_gold.values())
    predicted_spread = total**2 - sum(count**2 for count in in_predicted.values())
    if gold_spread == 0 or predicted_spread == 0:
        return 0.0
    return 100.0 * joint / float(np.sqrt(float(gold_spread) * float(predicted_spread)))


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns Pearson's correlation, -100 to 100, as STS-B is scored.

    It is 0.0 where either side is constant (or has fewer than two values): the correlation is
    undefined there, and a constant tells nothing. It is NaN where a value is not finite, so that
    a diverged model is not mistaken for a bad one.
    """
    _check_lengths(gold, predicted)
    x, y = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    # By comparison, not by variance: the mean of equal numbers need not be that number exactly.
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    return float(np.clip(100.0 * np.dot(_unit(x), _unit(y)), -100.0, 100.0))


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Returns Spearman's rank correlation, -100 to 100; 0.0 and NaN as in `pearson`.

    Equal values share the mean of their ranks.
    """
    _check_lengths(gold, predicted)
    x, y = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    return pearson(_ranks(x).tolist(), _ranks(y).tolist())


def entity_scores(
    gold: Sequence[Iterable[Entity]], predicted: Sequence[Iterable[Entity]]
) -> EntityScores:
    """Scores entities strictly: type, start and end must all be right.

    The F1 of chunking is the same. An entity that is given twice in a sentence counts once.

    Args:
      gold: the entities of each sentence.
      predicted: the predicted ones of each sentence, in the same order.
    """
    return _scores(
        [{(entity.type, entity) for entity in sentence} for sentence in gold],
        [{(entity.type, entity) for entity in sentence} for sentence in predicted],
    )


def mention_scores(
    texts: Sequence[str],
    gold: Sequence[Iterable[Entity]],
    *,
    predicted: Sequence[Iterable[Entity]],
) -> EntityScores:
    """Scores entities as CLUENER's public scorer (`score.py`) does; its score is `macro_f1`.

    A sentence is a set of mentions, each a type and a string: a mention that occurs twice in a
    sentence counts once, and finding one of the two places is enough. The public scorer divides by
    zero where a type is never predicted or never found; here its F1 is 0.

    Args:
      texts: the sentences.
      gold: the entities of each sentence, over its characters.
      predicted: the predicted ones, likewise.
    """
    _check_lengths(texts, gold)
    _check_lengths(texts, predicted)
    return _scores(
        [_mentions(text, entities) for text, entities in zip(texts, gold, strict=True)],
        [_mentions(text, entities) for text, entities in zip(texts, predicted, strict=True)],
    )


def percent(part: float, whole: float) -> float:
    """Returns `part` of `whole` in percent; 0.0 of nothing."""
    return 100.0 * part / whole if whole else 0.0


def _scores(
    gold: Sequence[set[tuple[str, Hashable]]], predicted: Sequence[set[tuple[str, Hashable]]]
) -> EntityScores:
    """Scores sets of (type, anything) sentence by sentence."""
    _check_lengths(gold, predicted)
    in_gold = Counter(type_ for items in gold for type_, _ in items)
    in_predicted = Counter(type_ for items in predicted for type_, _ in items)
    correct = Counter(
        type_
        for gold_items, predicted_items in zip(gold, predicted, strict=True)
        for type_, _ in gold_items & predicted_items
    )
    types = tuple(
        _type_score(type_, in_gold[type_], in_predicted[type_], correct[type_])
        for type_ in sorted(in_gold.keys() | in_predicted.keys())
    )
    micro = _type_score("", in_gold.total(), in_predicted.total(), correct.total())
    return EntityScores(micro, _mean([row.f1 for row in types]), types)


def _type_score(type_: str, gold: int, predicted: int, correct: int) -> TypeScore:
    return TypeScore(
        type=type_,
        precision=percent(correct, predicted),
        recall=percent(correct, gold),
        f1=_f1(correct, gold, predicted),
        gold=gold,
        predicted=predicted,
        correct=correct,
    )


def _mentions(text: str, entities: Iterable[Entity]) -> set[tuple[str, Hashable]]:
    return {(entity.type, text[entity.start : entity.end]) for entity in entities}


def _f1(correct: int, gold: int, predicted: int) -> float:
    # 2PR / (P + R) with P = correct / predicted and R = correct / gold, in one division.
    return percent(2 * correct, gold + predicted)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _equal(gold: Label, predicted: Label) -> bool:
    return gold == predicted


def _unit(values: np.ndarray) -> np.ndarray:
    """Returns the centred values, scaled to length 1."""
    # Scaled first: squares of very small or very large numbers leave the range of float64.
    centred = values / np.abs(values).max()
    centred = centred - centred.mean()
    return centred / np.linalg.norm(centred)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks from 1, float64; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # Rank of the last of each group of equals.
    return (last - (counts - 1) / 2.0)[inverse]


def _check_lengths(gold: Sequence[object], predicted: Sequence[object]) -> None:
    assert len(gold) == len(predicted), f"{len(gold)} gold, {len(predicted)} predicted"
