"""Scores of entities by hand."""

from __future__ import annotations

import pytest

from electra_zh.finetuning.examples import Entity
from electra_zh.finetuning.scores.entity_scores import entity_scores, mention_scores


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
    # 曼联 occurs twice and is one mention: finding one of its places is enough.
    gold = [
        [Entity("organization", 0, 2), Entity("organization", 3, 5)],
        [Entity("address", 0, 2), Entity("name", 0, 3)],
    ]
    predicted = [
        [Entity("organization", 3, 5)],
        # The string is 北京, as in the gold entity at 0: right. 人在 is not a name.
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


def test_sentences_of_different_number_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="1 gold, 0 predicted"):
        entity_scores([[]], [])
