"""Exact match and F1 of answers to questions, by the rules of four public evaluation scripts.

The metric of a task names the script, see `METRICS`. Of several gold answers of a question the best
one counts; CJRC's script has its own rule.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from electra_zh.finetuning.scores.answer_tokens import (
    longest_common_run,
    mixed_segmentation,
    without_punctuation,
)
from electra_zh.finetuning.scores.label_scores import percent

Rules = Literal["cmrc", "cjrc", "squad", "squad2"]
METRICS: Mapping[Rules, tuple[str, ...]] = {
    "cmrc": ("em", "f1", "average"),
    "cjrc": ("cjrc_em", "cjrc_f1"),
    "squad": ("squad_em", "squad_f1"),
    "squad2": ("squad2_em", "squad2_f1", "best_squad2_em", "best_squad2_f1"),
}
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScore(NamedTuple):
    """Exact match and F1, of a question from 0 to 1, of several questions in percent."""

    exact: float
    f1: float


def rules_of(metric: str) -> Rules:
    """Returns the rules that a metric belongs to."""
    return next(rules for rules, names in METRICS.items() if metric in names)


def score_answers(
    rules: Rules, golds: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns the scores of all questions in percent, by metric; not for squad2.

    Each question has a list of gold answers, empty if it is unanswerable (cjrc), and a prediction.
    """
    exact, f1 = _average([_SCORERS[rules](*each) for each in zip(golds, predictions, strict=True)])
    return dict(zip(METRICS[rules], (exact, f1, (exact + f1) / 2), strict=False))


def score_squad2(
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str],
    *,
    no_answer_scores: Sequence[float],
    threshold: float = math.inf,
) -> dict[str, float]:
    """Returns the scores in percent of SQuAD 2.0's `evaluate-v2.0.py`, by name.

    The best exact match and the best F1 that a threshold on the no-answer score can reach may have
    different thresholds; `best_null_threshold` is that of F1.

    Args:
      golds: the gold answers of each question; none or "" for an unanswerable question.
      predictions: the best span of each question, not yet emptied by a threshold: the search for
        the best thresholds needs it.
      no_answer_scores: for each question a score that is higher where no answer is likelier, a
        probability or a difference of logits.
      threshold: predictions whose no-answer score is above it count as empty.
    """
    scores = [squad2_score(*each) for each in zip(golds, predictions, strict=True)]
    raw = np.array(scores).reshape(-1, 2)  # exact match, F1
    answerable = np.array([any(gold) for gold in golds], bool)
    no_answer = np.array(no_answer_scores, np.float64)
    final = np.where((no_answer > threshold)[:, None], ~answerable[:, None], raw)
    # The gain of each prediction over the empty answer, by increasing no-answer score.
    losses = np.array([-1.0 if text else 0.0 for text in predictions])
    gains = np.where(answerable[:, None], raw, losses[:, None])
    order = np.argsort(no_answer, kind="stable")
    empty = float((~answerable).sum())
    best_exact, _ = _best_threshold(gains[order, 0], no_answer[order], empty)
    best_f1, best_threshold = _best_threshold(gains[order, 1], no_answer[order], empty)
    overall = _average(final)
    return {
        "squad2_em": overall.exact,
        "squad2_f1": overall.f1,
        "best_squad2_em": best_exact,
        "best_squad2_f1": best_f1,
        "best_null_threshold": best_threshold,
        "has_answer_f1": _average(final[answerable]).f1,
        "no_answer_f1": _average(final[~answerable]).f1,
    }


def _best_threshold(gains: np.ndarray, no_answer: np.ndarray, empty: float) -> tuple[float, float]:
    """Returns the best score in percent, and its threshold (`find_best_thresh`).

    Args:
      gains: of each question by increasing no-answer score, what its prediction adds to the score.
      no_answer: the no-answer scores.
      empty: the score with every prediction empty.
    """
    # Parity: predictions with the same no-answer score are let in one by one.
    totals = np.cumsum([empty, *gains])
    best = int(totals.argmax())
    if best:
        threshold = float(no_answer[best - 1])
    else:
        # The script says 0 here, which empties all only if the scores are positive probabilities.
        threshold = min(0.0, math.nextafter(no_answer[0], -math.inf)) if len(gains) else 0.0
    return percent(float(totals[best]), len(gains)), threshold


def _average(scores: Sequence[AnswerScore] | np.ndarray) -> AnswerScore:
    """Returns the mean scores of questions in percent."""
    exact, f1 = (percent(float(sum(each[i] for each in scores)), len(scores)) for i in range(2))
    return AnswerScore(exact, f1)


def cmrc_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as CMRC 2018's `cmrc2018_evaluate.py` (v5) does; CMRC2018, DRCD.

    Exact match compares the texts without punctuation. F1 is over the longest common contiguous
    run of tokens (`find_lcs`; not the longest common subsequence), as a fraction of each side's.

    Parity: an answer of punctuation alone has no tokens, so two such match exactly with an F1 of 0.
    """
    return _max([_cmrc_pair(answer, predicted) for answer in gold])


def _cmrc_pair(gold: str, predicted: str) -> AnswerScore:
    exact = without_punctuation(gold) == without_punctuation(predicted)
    tokens, others = mixed_segmentation(gold), mixed_segmentation(predicted)
    common = longest_common_run(tokens, others)
    return AnswerScore(float(exact), _f1(common, len(tokens), len(others)))


def cjrc_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as CJRC's evaluation script does.

    Texts are compared by their letters and digits, lower-cased; F1 is over the bag of characters.
    YES and NO are answers like any other; an unanswerable question has no gold answer, or an empty
    one, and only an empty prediction scores (1).

    Parity: with several gold answers, each is left aside in turn and the best of the others counts;
    the score is the mean of these, as for a human annotator who is judged by the others.
    """
    if len(gold) < 2:
        return _cjrc_pair(gold[0] if gold else "", predicted)
    pairs = [_cjrc_pair(answer, predicted) for answer in gold]
    scores = [_max([*pairs[:i], *pairs[i + 1 :]]) for i in range(len(pairs))]
    exact, f1 = (sum(values) / len(scores) for values in zip(*scores, strict=True))
    return AnswerScore(exact, f1)


def _cjrc_pair(gold: str, predicted: str) -> AnswerScore:
    characters, others = (
        [char for char in text.lower() if char.isdigit() or char.isalpha()]
        for text in (gold, predicted)
    )
    return _bag_score(characters, others, f1_of_nothing=1.0)


def squad_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as SQuAD 1.1's `evaluate-v1.1.py` does: F1 over the bag of words.

    Texts are compared lower-cased, without punctuation and without the articles a, an, the.

    Parity: two answers without words match, but have an F1 of 0.
    """
    words = _squad_words(predicted)
    return _max([_bag_score(_squad_words(answer), words, f1_of_nothing=0.0) for answer in gold])


def squad2_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as SQuAD 2.0's script does; gold answers without words count as none."""
    words = _squad_words(predicted)
    golds = list(filter(None, map(_squad_words, gold))) or [[]]
    return _max([_bag_score(answer, words, f1_of_nothing=1.0) for answer in golds])


_SCORERS: Mapping[Rules, Callable[[Sequence[str], str], AnswerScore]] = {
    "cmrc": cmrc_score,
    "cjrc": cjrc_score,
    "squad": squad_score,
}


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _bag_score(gold: list[str], predicted: list[str], *, f1_of_nothing: float) -> AnswerScore:
    """Compares tokens in order for exact match, as bags for F1."""
    if not gold and not predicted:
        return AnswerScore(1.0, f1_of_nothing)
    common = (Counter(gold) & Counter(predicted)).total()
    return AnswerScore(float(gold == predicted), _f1(common, len(gold), len(predicted)))


def _max(scores: Sequence[AnswerScore]) -> AnswerScore:
    """Returns the best exact match and the best F1, perhaps of different gold answers."""
    return AnswerScore(max(each.exact for each in scores), max(each.f1 for each in scores))


def _f1(common: int, gold: int, predicted: int) -> float:
    return 2.0 * common / (gold + predicted) if common else 0.0
