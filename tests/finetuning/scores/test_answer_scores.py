"""Answers scored by hand under the rules of CMRC 2018, CJRC, SQuAD 1.1 and SQuAD 2.0."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.scores.answer_scores import (
    METRICS,
    AnswerScore,
    cjrc_score,
    cmrc_score,
    rules_of,
    score_answers,
    score_squad2,
    squad2_score,
    squad_score,
)

Scorer = Callable[[list[str], str], AnswerScore]


def _one(scorer: Scorer, golds: list[str], prediction: str) -> tuple[float, float]:
    """Returns exact match and F1 of one question in percent."""
    score = scorer(golds, prediction)
    return 100 * score.exact, 100 * score.f1


@pytest.mark.parametrize(
    ("golds", "prediction", "exact", "f1"),
    [
        (["光荣和ω-force"], "光荣和ω-force", 100, 100),
        (["光荣和ω-force"], "《光荣》和Ω-Force。", 100, 100),  # punctuation and case are nothing
        # Run 北京 of 4 gold and 2 predicted tokens: P 1, R 1/2.
        (["北京大学"], "北京", 0, 200 / 3),
        # The longest run is 中国 (or 人民), 2 of 4 and of 5 tokens; a subsequence would give 8/9.
        (["中国人民"], "中国的人民", 0, 400 / 9),
        # 1996 is one token: run 年 8 月, 3 of 4 and of 4.
        (["1996年8月"], "1997年8月", 0, 75),
        # Words are compared whole: Force is not Forces.
        (["ω Force"], "ω Forces", 0, 50),
        (["北京"], "上海", 0, 0),
        # The best of each over the answers: exact with none; F1 4/5 with the second (2 of 3, 2).
        (["北京大学校", "北京市"], "北京", 0, 80),
        (["上海", "北京"], "北京", 100, 100),
        (["北京"], "", 0, 0),
        # Parity with the script: nothing is left of both, which match, and share no run.
        (["。"], "，", 100, 0),
    ],
)
def test_cmrc_by_hand(golds: list[str], prediction: str, exact: float, f1: float) -> None:
    assert _one(cmrc_score, golds, prediction) == pytest.approx((exact, f1))


@pytest.mark.parametrize(
    ("rules", "exact", "f1"), [("cmrc", 25.0, 45.0), ("cjrc", 25.0, 45.0), ("squad", 0.0, 0.0)]
)
def test_scores_are_averages_over_the_questions(rules: str, exact: float, f1: float) -> None:
    golds = [["北京"], ["上海"], ["广州市"], ["天津"]]
    # Exact a of four; F1: 1, 0, 2 * 2 / (3 + 2) = 0.8, 0. As words of SQuAD nothing is equal.
    scores = score_answers(rules, golds, ["北京。", "", "广州", ""])  # type: ignore[arg-type]
    names = METRICS[rules]  # type: ignore[index]
    expected = dict(zip(names, (exact, f1, (exact + f1) / 2), strict=False))
    assert scores == pytest.approx(expected)


@pytest.mark.parametrize("scorer", [cmrc_score, squad_score])
def test_a_question_without_gold_answers_cannot_be_scored(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="empty"):
        scorer([], "北京")


@pytest.mark.parametrize("rules", ["cmrc", "cjrc", "squad"])
def test_no_questions_score_zero(rules: str) -> None:
    assert set(score_answers(rules, [], []).values()) == {0.0}  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "rules"), [("em", "cmrc"), ("best_squad2_f1", "squad2")])
def test_a_metric_names_its_rules(metric: str, rules: str) -> None:
    assert rules_of(metric) == rules


@pytest.mark.parametrize("scorer", [cmrc_score, cjrc_score, squad_score, squad2_score])
@given(answer=st.text(min_size=1), other=st.text())
def test_scores_stay_in_range_and_an_answer_matches_itself(
    scorer: Scorer, answer: str, other: str
) -> None:
    assert _one(scorer, [answer], answer)[0] == 100.0
    for value in _one(scorer, [answer, other], other):
        assert 0.0 <= value <= 100.0


@pytest.mark.parametrize(
    ("golds", "prediction", "exact", "f1"),
    [
        (["原告张某"], "原告：张某。", 100, 100),
        # A bag of characters: 张某 and 告 in any order; 3 of 4 and of 3.
        (["原告张某"], "张某告", 0, 600 / 7),
        (["YES"], "yes", 100, 100),
        (["YES"], "NO", 0, 0),
        ([], "", 100, 100),
        ([""], "", 100, 100),
        ([], "张某", 0, 0),
        (["张某"], "", 0, 0),
        (["50%"], "50", 100, 100),
        # Each answer is set aside in turn, and the best of the others counts: exact 0, 1, 1; F1
        # 2 * 1 / (3 + 2), 1, 1.
        (["张某", "李某某", "李某某"], "张某", 200 / 3, 80),
        # Of two answers each counts half: exact (0 + 1) / 2, F1 (2/3 + 1) / 2.
        (["张某", "张"], "张某", 50, 250 / 3),
    ],
)
def test_cjrc_by_hand(golds: list[str], prediction: str, exact: float, f1: float) -> None:
    assert _one(cjrc_score, golds, prediction) == pytest.approx((exact, f1))


@pytest.mark.parametrize(
    ("golds", "prediction", "exact", "f1"),
    [
        (["The Denver Broncos"], "denver  broncos!", 100, 100),
        # 2 common of 3 and of 2 words.
        (["Santa Clara, California"], "Santa Clara", 0, 80),
        # A bag: "to" counts twice only if it occurs twice; 3 common of 4 and of 3.
        (["to be to do"], "do to to", 0, 600 / 7),
        (["seven", "The 7", "7 points"], "7", 100, 100),
        # Exact match from none; F1 from the second: 2 * 1 / (1 + 2).
        (["a b c d", "Clara"], "Santa Clara", 0, 200 / 3),
        (["Theatre"], "atre", 0, 0),  # `the` goes as a word only
        (["$1,000"], "1000", 100, 100),
        # Parity: nothing is left of both.
        (["the"], "a", 100, 0),
    ],
)
def test_squad_by_hand(golds: list[str], prediction: str, exact: float, f1: float) -> None:
    assert _one(squad_score, golds, prediction) == pytest.approx((exact, f1))


@pytest.mark.parametrize(
    ("golds", "prediction", "exact", "f1"),
    [
        ([], "", 100, 100),
        ([], "Denver", 0, 0),
        ([""], "", 100, 100),
        (["Denver"], "", 0, 0),
        (["Denver Broncos", "Denver"], "Broncos", 0, 200 / 3),
        # An answer without words is set aside where another has some.
        (["the", "Denver"], "", 0, 0),
    ],
)
def test_squad2_by_hand(golds: list[str], prediction: str, exact: float, f1: float) -> None:
    assert _one(squad2_score, golds, prediction) == pytest.approx((exact, f1))


GOLDS = [["Denver Broncos"], ["Santa Clara"], ["seven"], [], []]
PREDICTIONS = ["Denver Broncos", "Clara", "nine", "Peyton", ""]
NO_ANSWER = [0.1, 0.4, 0.9, 0.3, 0.8]


def _answered(**options: float) -> dict[str, float]:
    return score_squad2(GOLDS, PREDICTIONS, no_answer_scores=NO_ANSWER, **options)


def test_squad2_splits_by_answerability() -> None:
    score = _answered()
    # Exact a, e; F1 a 1, b 2 * 1 / (2 + 1), e 1.
    assert score["squad2_em"] == 40.0
    assert score["squad2_f1"] == pytest.approx(100 * (8 / 3) / 5)
    assert score["has_answer_f1"] == pytest.approx(100 * (5 / 3) / 3)
    assert score["no_answer_f1"] == 50.0


def test_squad2_best_thresholds_by_hand() -> None:
    score = _answered()
    # All empty: 2 (d and e). By rising score: a +1 = 3; d, a wrong answer, -1 = 2; then for exact
    # b +0, e +0, c +0 (2); for F1 b +2/3 (8/3), e and c +0. The best is 3 after a in both.
    assert (score["best_squad2_em"], score["best_squad2_f1"]) == (60.0, 60.0)
    assert score["best_null_threshold"] == 0.1
    assert score["squad2_em"] == 40.0  # not changed by the search


def test_squad2_best_thresholds_of_exact_match_and_f1_may_differ() -> None:
    golds: list[list[str]] = [["Denver"], ["Santa Clara"], []]
    score = score_squad2(golds, ["Denver", "Clara", "x"], no_answer_scores=[-3.0, -2.0, 5.0])
    # Exact: 1, a 2, b 2, c 1. F1: 1, a 2, b 8/3, c 5/3.
    assert score["best_squad2_em"] == pytest.approx(200 / 3)
    assert score["best_squad2_f1"] == pytest.approx(800 / 9)
    assert score["best_null_threshold"] == -2.0


def test_squad2_applies_a_threshold() -> None:
    # Above 0.35: b, c, e are empty: right are a and e; d answers, wrongly.
    score = _answered(threshold=0.35)
    assert (score["squad2_em"], score["squad2_f1"], score["no_answer_f1"]) == (40.0, 40.0, 50.0)
    assert _answered(threshold=0.1)["squad2_em"] == 60.0


def test_squad2_best_threshold_may_empty_all() -> None:
    golds: list[list[str]] = [["Denver"], []]
    for scores in ([-5.0, -7.0], [0.0, 0.0], [0.2, 0.1]):
        best = score_squad2(golds, ["x", "y"], no_answer_scores=scores)
        assert (best["best_squad2_em"], best["best_squad2_f1"]) == (50.0, 50.0)
        threshold = best["best_null_threshold"]
        again = score_squad2(golds, ["x", "y"], no_answer_scores=scores, threshold=threshold)
        assert (again["squad2_em"], again["squad2_f1"]) == (50.0, 50.0)


def test_squad2_thresholds_that_empty_all_are_below_every_score_and_never_positive() -> None:
    for scores, expected in (([0.3, 0.5], 0.0), ([-0.5, 0.3], math.nextafter(-0.5, -math.inf))):
        score = score_squad2([[], []], ["x", "y"], no_answer_scores=scores, threshold=1.0)
        assert score["best_null_threshold"] == expected
    assert score_squad2([], [], no_answer_scores=[], threshold=1.0)["best_null_threshold"] == 0.0


@given(
    questions=st.lists(
        st.tuples(st.sampled_from(["", "x", "x y"]), st.sampled_from(["", "x", "z"])), min_size=1
    ),
    data=st.data(),
)
def test_squad2_best_threshold_is_the_best_and_reaches_its_score(
    questions: list[tuple[str, str]], data: st.DataObject
) -> None:
    golds = [[gold] if gold else [] for gold, _ in questions]
    predictions = [predicted for _, predicted in questions]
    order = data.draw(st.permutations(range(len(questions))))
    scores = [float(rank - 2) for rank in order]

    def f1(threshold: float) -> float:
        return score_squad2(golds, predictions, no_answer_scores=scores, threshold=threshold)[
            "squad2_f1"
        ]

    found = score_squad2(golds, predictions, no_answer_scores=scores)
    best = found["best_squad2_f1"]
    assert f1(found["best_null_threshold"]) == pytest.approx(best)
    # "No answer" where it should be answered emptily is right anyhow: nothing beats the best.
    assert best == pytest.approx(max(map(f1, [-math.inf, *scores])))


def test_squad2_of_nothing() -> None:
    score = score_squad2([], [], no_answer_scores=[])
    assert not any(score.values())


def test_squad2_scores_have_the_names_of_the_metrics() -> None:
    named = _answered(threshold=0.35)
    assert {*METRICS["squad2"]} <= {*named}
    assert named["squad2_em"] == 40.0
    assert named["best_null_threshold"] == 0.1
