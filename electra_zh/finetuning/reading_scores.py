"""Exact match and F1 of answers to questions, by the rules of four public evaluation scripts.

Each function takes gold answers and predicted answers by question id and goes over the gold ones:
a question without a prediction scores 0, a prediction without a question is not looked at. Scores
are in percent, 0.0 where there are no questions. Of several gold answers the best
one counts (CJRC's script does it in its own way).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from electra_zh.errors import UserError
from electra_zh.finetuning.mixed_segmentation import (
    longest_common_run,
    mixed_segmentation,
    without_punctuation,
)
from electra_zh.finetuning.scorers import percent

_SQUAD_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SQUAD_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ReadingScore(NamedTuple):
    """Score of answers.

    Attributes:
      exact: percentage of exact matches.
      f1: mean F1 in percent.
      total: number of questions.
      missing: of them, those without a prediction; they score 0.
    """

    exact: float
    f1: float
    total: int
    missing: int


class BestThreshold(NamedTuple):
    """The best score that a threshold on the no-answer score can reach, in percent."""

    score: float
    threshold: float


class AnswerableScore(NamedTuple):
    """Score of answers where questions may be unanswerable.

    Attributes:
      overall: over all questions.
      has_answer: over the answerable ones.
      no_answer: over the unanswerable ones.
      best_exact: the best exact match that a threshold reaches; None without no-answer scores.
      best_f1: the same of the F1; its threshold may be another.
    """

    overall: ReadingScore
    has_answer: ReadingScore
    no_answer: ReadingScore
    best_exact: BestThreshold | None
    best_f1: BestThreshold | None


class _Pair(NamedTuple):
    """Exact match and F1 of one question, 0 to 1."""

    exact: float
    f1: float


def cmrc_scores(golds: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> ReadingScore:
    """Scores answers as CMRC 2018's `cmrc2018_evaluate.py` (v5) does; CMRC2018, DRCD.

    Exact match compares the texts without punctuation. F1 is over the longest common contiguous
    run of tokens (`find_lcs`; not the longest common subsequence), as a share of each side's.

    Parity: an answer of punctuation alone has no tokens, so two such match exactly with an F1 of 0.

    Args:
      golds: question id to gold answers, one or more.
      predictions: question id to predicted answer.

    Raises:
      UserError: a question has no gold answer.
    """
    _require_answers(golds)
    pairs = _score_each(golds, predictions, lambda gold, text: _best(_cmrc_pair, gold, text))
    return _average(golds, pairs)


def cjrc_scores(golds: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> ReadingScore:
    """Scores answers as CJRC's evaluation script does.

    Texts are compared by their letters and digits, lower-cased; F1 is over the bag of characters.
    YES and NO are answers like any other; an unanswerable question has no gold answer, or an empty
    one, and only an empty prediction scores (1).

    Parity: with several gold answers, each is left out in turn and the best of the others counts;
    the score is the mean of these, as for a human annotator who is judged by the others.

    Args:
      golds: question id to gold answers; none or "" where it is unanswerable.
      predictions: question id to predicted answer: a span, YES, NO or "".
    """
    return _average(golds, _score_each(golds, predictions, _cjrc_question))


def squad_scores(
    golds: Mapping[str, Sequence[str]], predictions: Mapping[str, str]
) -> ReadingScore:
    """Scores answers as SQuAD 1.1's `evaluate-v1.1.py` does: F1 over the bag of words.

    Texts are compared lower-cased, without punctuation and without the articles a, an, the.

    Args:
      golds: question id to gold answers, one or more.
      predictions: question id to predicted answer.

    Raises:
      UserError: a question has no gold answer.
    """
    _require_answers(golds)
    pairs = _score_each(golds, predictions, lambda gold, text: _best(_squad_pair, gold, text))
    return _average(golds, pairs)


def squad2_scores(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    *,
    no_answer_scores: Mapping[str, float] | None = None,
    threshold: float | None = None,
) -> AnswerableScore:
    """Scores answers as SQuAD 2.0's `evaluate-v2.0.py` does.

    The script leaves questions without a prediction out of its means; here they score 0.

    Args:
      golds: question id to gold answers; none or "" where it is unanswerable.
      predictions: question id to predicted answer, "" for none. For the search of the thresholds to
        mean something, these are the best spans, not yet emptied by a threshold.
      no_answer_scores: question id to a score that is higher where no answer is likelier: a
        probability, or a difference of logits.
      threshold: predictions whose no-answer score is above are taken as empty; None: none is.

    Raises:
      UserError: a prediction has no no-answer score.
    """
    raw = _score_each(golds, predictions, _squad2_question)
    pairs, best_exact, best_f1 = raw, None, None
    if no_answer_scores is not None:
        _require_scores(raw, no_answer_scores)
        pairs = _emptied(golds, raw, no_answer_scores, math.inf if threshold is None else threshold)
        best_exact = _best_threshold(golds, predictions, "exact", raw, no_answer_scores)
        best_f1 = _best_threshold(golds, predictions, "f1", raw, no_answer_scores)
    else:
        assert threshold is None, "a threshold needs no-answer scores"
    return AnswerableScore(
        overall=_average(golds, pairs),
        has_answer=_average([name for name in golds if _answerable(golds[name])], pairs),
        no_answer=_average([name for name in golds if not _answerable(golds[name])], pairs),
        best_exact=best_exact,
        best_f1=best_f1,
    )


def _cmrc_pair(gold: str, predicted: str) -> _Pair:
    exact = without_punctuation(gold) == without_punctuation(predicted)
    tokens, others = mixed_segmentation(gold), mixed_segmentation(predicted)
    return _Pair(float(exact), _f1(longest_common_run(tokens, others), len(tokens), len(others)))


def _cjrc_question(gold: Sequence[str], predicted: str) -> _Pair:
    if len(gold) < 2:
        return _best(_cjrc_pair, gold or [""], predicted)
    left_out = [_best(_cjrc_pair, [*gold[:i], *gold[i + 1 :]], predicted) for i in range(len(gold))]
    exact, f1 = (sum(values) / len(left_out) for values in zip(*left_out, strict=True))
    return _Pair(exact, f1)


def _cjrc_pair(gold: str, predicted: str) -> _Pair:
    characters, others = (
        [char for char in text.lower() if char.isdigit() or char.isalpha()]
        for text in (gold, predicted)
    )
    return _bag_pair(characters, others, of_nothing=1.0)


def _squad_pair(gold: str, predicted: str) -> _Pair:
    # Parity: the script of 1.1 gives two answers without words an F1 of 0, though they match.
    return _bag_pair(_squad_words(gold), _squad_words(predicted), of_nothing=0.0)


def _squad2_question(gold: Sequence[str], predicted: str) -> _Pair:
    with_words = [answer for answer in gold if _squad_words(answer)] or [""]
    return _best(
        lambda answer, text: _bag_pair(_squad_words(answer), _squad_words(text), of_nothing=1.0),
        with_words,
        predicted,
    )


def _squad_words(text: str) -> list[str]:
    return _SQUAD_ARTICLES.sub(" ", text.lower().translate(_SQUAD_PUNCTUATION)).split()


def _bag_pair(gold: list[str], predicted: list[str], *, of_nothing: float) -> _Pair:
    """Compares tokens as they stand, and as bags; `of_nothing` is the F1 of two empty lists."""
    if not gold and not predicted:
        return _Pair(1.0, of_nothing)
    common = (Counter(gold) & Counter(predicted)).total()
    return _Pair(float(gold == predicted), _f1(common, len(gold), len(predicted)))


def _best(pair: Callable[[str, str], _Pair], golds: Iterable[str], predicted: str) -> _Pair:
    """Returns the best exact match and the best F1, perhaps of different gold answers."""
    pairs = [pair(gold, predicted) for gold in golds]
    return _Pair(max(each.exact for each in pairs), max(each.f1 for each in pairs))


def _f1(common: int, gold: int, predicted: int) -> float:
    return 2.0 * common / (gold + predicted) if common else 0.0


def _answerable(gold: Sequence[str]) -> bool:
    return any(gold)


def _require_answers(golds: Mapping[str, Sequence[str]]) -> None:
    for question, gold in golds.items():
        if not gold:
            raise UserError(f'question "{question}" has no gold answer to score against')


def _score_each(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    score: Callable[[Sequence[str], str], _Pair],
) -> dict[str, _Pair]:
    """Scores the questions that have a prediction."""
    return {
        question: score(gold, predictions[question])
        for question, gold in golds.items()
        if question in predictions
    }


def _average(questions: Collection[str], pairs: Mapping[str, _Pair]) -> ReadingScore:
    scored = [pairs[question] for question in questions if question in pairs]
    return ReadingScore(
        exact=percent(sum(pair.exact for pair in scored), len(questions)),
        f1=percent(sum(pair.f1 for pair in scored), len(questions)),
        total=len(questions),
        missing=len(questions) - len(scored),
    )


def _require_scores(questions: Iterable[str], no_answer_scores: Mapping[str, float]) -> None:
    for question in questions:
        if question not in no_answer_scores:
            raise UserError(f'question "{question}" has a prediction but no no-answer score')


def _emptied(
    golds: Mapping[str, Sequence[str]],
    raw: Mapping[str, _Pair],
    no_answer_scores: Mapping[str, float],
    threshold: float,
) -> dict[str, _Pair]:
    """Returns the scores after predictions above the threshold are taken as empty."""
    pairs = dict(raw)
    for question in raw:
        if no_answer_scores[question] > threshold:
            empty = float(not _answerable(golds[question]))
            pairs[question] = _Pair(empty, empty)
    return pairs


def _best_threshold(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    name: Literal["exact", "f1"],
    raw: Mapping[str, _Pair],
    no_answer_scores: Mapping[str, float],
) -> BestThreshold:
    """Returns the threshold with the best score, and that score (`find_best_thresh`).

    Starts with every prediction emptied and lets them in by rising no-answer score.
    """
    questions = sorted(raw, key=lambda question: no_answer_scores[question])
    # All empty: right for every unanswerable question.
    score = best = float(sum(not _answerable(golds[question]) for question in questions))
    # The script says 0 here, which empties all only where the scores are positive probabilities.
    lowest = no_answer_scores[questions[0]] if questions else 1.0
    threshold = min(0.0, math.nextafter(lowest, -math.inf))
    # Parity: questions of one and the same score are let in one by one.
    for question in questions:
        if _answerable(golds[question]):
            score += getattr(raw[question], name)
        elif predictions[question]:
            score -= 1.0
        if score > best:
            best, threshold = score, no_answer_scores[question]
    return BestThreshold(percent(best, len(golds)), threshold)
