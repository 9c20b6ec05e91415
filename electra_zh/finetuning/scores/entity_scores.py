"""Scores of entities, in percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from electra_zh.finetuning.examples import Entity
from electra_zh.finetuning.scores.label_scores import percent


class TypeScore(NamedTuple):
    """Score of the entities of one type, or of all types together.

    Attributes:
      type: the type; empty for all types together.
      precision: correct / predicted, in percent.
      recall: correct / gold, in percent.
      f1: harmonic mean of the two, in percent.
      gold: number of entities in the data.
      predicted: number of predicted entities.
      correct: number of predicted entities that are in the data.
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
      macro_f1: mean F1 in percent of the types with gold or predicted entities: a type that occurs
        on neither side says nothing about the predictions.
      types: one row per type, in the order of the names.
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
    zero if a type is never predicted or never found; here its F1 is 0.
    """
    return _scores(
        [_mentions(text, entities) for text, entities in zip(texts, gold, strict=True)],
        [_mentions(text, entities) for text, entities in zip(texts, predicted, strict=True)],
    )


def _mentions(text: str, entities: Iterable[Entity]) -> set[tuple[str, Hashable]]:
    return {(entity.type, text[entity.start : entity.end]) for entity in entities}


def _scores(
    gold: Sequence[set[tuple[str, Hashable]]], predicted: Sequence[set[tuple[str, Hashable]]]
) -> EntityScores:
    """Scores sets of (type, anything) sentence by sentence."""
    assert len(gold) == len(predicted), f"{len(gold)} gold, {len(predicted)} predicted"
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
    macro_f1 = sum(row.f1 for row in types) / len(types) if types else 0.0
    return EntityScores(micro, macro_f1, types)


def _type_score(type_: str, gold: int, predicted: int, correct: int) -> TypeScore:
    return TypeScore(
        type=type_,
        precision=percent(correct, predicted),
        recall=percent(correct, gold),
        # 2PR / (P + R) in one division.
        f1=percent(2 * correct, gold + predicted),
        gold=gold,
        predicted=predicted,
        correct=correct,
    )
