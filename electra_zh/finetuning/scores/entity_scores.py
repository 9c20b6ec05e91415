"""Scores of entities, in percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple

from electra_zh.finetuning.examples import Entity
from electra_zh.finetuning.scores.label_scores import percent


class TypeScore(NamedTuple):
    """Scores in percent and counts of the entities of one type; type "" is all types together."""

    type: str
    precision: float
    recall: float
    f1: float
    gold: int
    predicted: int
    correct: int

    def cells(self) -> list[str]:
        """Returns the values as a row of a table."""
        return [str(cell) if isinstance(cell, str | int) else f"{cell:.2f}" for cell in self]


class EntityScores(NamedTuple):
    """Scores of tagging: over all entities, the mean F1 of the types, and a row per type by name.

    The mean is over the types with gold or predicted entities: a type that occurs on neither side
    says nothing about the predictions.
    """

    micro: TypeScore
    macro_f1: float
    types: tuple[TypeScore, ...]


def entity_scores(
    gold: Sequence[Iterable[Entity]], predicted: Sequence[Iterable[Entity]]
) -> EntityScores:
    """Scores entities strictly: type, start and end must all be correct.

    The F1 of chunking is the same. A duplicate entity of a sentence counts once.
    """
    return set_scores(
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
    zero if a type is never predicted or never found; here its F1 is 0.
    """
    return set_scores(_mentions(texts, gold), _mentions(texts, predicted))


def _mentions(
    texts: Sequence[str], sentences: Sequence[Iterable[Entity]]
) -> list[set[tuple[str, str]]]:
    return [
        {(entity.type, text[entity.start : entity.end]) for entity in entities}
        for text, entities in zip(texts, sentences, strict=True)
    ]


def set_scores(
    gold: Sequence[Collection[tuple[str, Hashable]]],
    predicted: Sequence[Collection[tuple[str, Hashable]]],
) -> EntityScores:
    """Scores sets of (type, anything), one for each sentence."""
    assert len(gold) == len(predicted), f"{len(gold)} gold, {len(predicted)} predicted"
    in_gold = Counter(type_ for items in gold for type_, _ in items)
    in_predicted = Counter(type_ for items in predicted for type_, _ in items)
    both = zip(gold, predicted, strict=True)
    correct = Counter(type_ for a, b in both for type_, item in a if (type_, item) in b)
    types = tuple(
        _type_score(type_, in_gold[type_], in_predicted[type_], correct[type_])
        for type_ in sorted(in_gold | in_predicted)
    )
    micro = _type_score("", in_gold.total(), in_predicted.total(), correct.total())
    macro_f1 = sum(row.f1 for row in types) / len(types) if types else 0.0
    return EntityScores(micro, macro_f1, types)


def _type_score(type_: str, gold: int, predicted: int, correct: int) -> TypeScore:
    precision, recall = percent(correct, predicted), percent(correct, gold)
    f1 = percent(2 * correct, gold + predicted)  # 2PR / (P + R) in one division
    return TypeScore(type_, precision, recall, f1, gold, predicted, correct)
