"""Exact match and F1 of answers to questions, by the rules of four public evaluation scripts.

The metric of a task names the script, see `METRICS`. Of several gold answers of a question the best
one counts; CJRC's script has its own rule.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

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


class BestThreshold(NamedTuple):
    """The best score in percent that a threshold on the no-answer score can reach."""

    score: float
    threshold: float


class Squad2Scores(NamedTuple):
    """Scores where questions may be unanswerable, in percent.

    Attributes:
      overall: over all questions.
      has_answer: over the answerable ones.
      no_answer: over the unanswerable ones.
      best_exact: the best exact match that a threshold reaches.
      best_f1: the best F1; its threshold may be another.
    """

    overall: AnswerScore
    has_answer: AnswerScore
    no_answer: AnswerScore
    best_exact: BestThreshold
    best_f1: BestThreshold

    def by_name(self) -> dict[str, float]:
        """Returns name to score, as results files have them."""
        return {
            "squad2_em": self.overall.exact,
            "squad2_f1": self.overall.f1,
            "best_squad2_em": self.best_exact.score,
            "best_squad2_f1": self.best_f1.score,
            "best_null_threshold": self.best_f1.threshold,
            "has_answer_f1": self.has_answer.f1,
            "no_answer_f1": self.no_answer.f1,
        }


def rules_of(metric: str) -> Rules:
    """Returns the rules that a metric belongs to."""
    return next(rules for rules, names in METRICS.items() if metric in names)


def score_answers(
    rules: Rules, golds: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """Returns exact match and F1 in percent, named as the metrics of the rules; not for squad2.

    Args:
      rules: the rules of a script.
      golds: the gold answers of each question; none for an unanswerable question (cjrc).
      predictions: the predicted answer of each question.
    """
    score = _SCORERS[rules]
    pairs = zip(golds, predictions, strict=True)
    exact, f1 = _average([score(gold, predicted) for gold, predicted in pairs])
    return dict(zip(METRICS[rules], (exact, f1, (exact + f1) / 2), strict=False))


def score_squad2(
    golds: Sequence[Sequence[str]],
    predictions: Sequence[str],
    *,
    no_answer_scores: Sequence[float],
    threshold: float = math.inf,
) -> Squad2Scores:
    """Scores answers as SQuAD 2.0's `evaluate-v2.0.py` does.

    Args:
      golds: the gold answers of each question; none or "" for an unanswerable question.
      predictions: the best span of each question, not yet emptied by a threshold: the search for
        the best thresholds needs it.
      no_answer_scores: for each question a score that is higher where no answer is likelier, a
        probability or a difference of logits.
      threshold: predictions whose no-answer score is above it count as empty.
    """
    raw = [squad2_score(gold, text) for gold, text in zip(golds, predictions, strict=True)]
    answerable = [any(gold) for gold in golds]
    scores = [
        AnswerScore(float(not has), float(not has)) if no_answer > threshold else score
        for score, has, no_answer in zip(raw, answerable, no_answer_scores, strict=True)
    ]
    # For each question by rising no-answer score: the gain of letting its prediction in.
    order = sorted(range(len(raw)), key=no_answer_scores.__getitem__)
    losses = [-1.0 if text else 0.0 for text in predictions]
    gains = [
        score if has else AnswerScore(loss, loss)
        for score, has, loss in zip(raw, answerable, losses, strict=True)
    ]
    rising = [no_answer_scores[i] for i in order]
    empty = float(answerable.count(False))
    return Squad2Scores(
        overall=_average(scores),
        has_answer=_average([s for s, has in zip(scores, answerable, strict=True) if has]),
        no_answer=_average([s for s, has in zip(scores, answerable, strict=True) if not has]),
        best_exact=_best_threshold([gains[i].exact for i in order], rising, empty),
        best_f1=_best_threshold([gains[i].f1 for i in order], rising, empty),
    )


def _best_threshold(
    gains: Sequence[float], no_answer_scores: Sequence[float], empty: float
) -> BestThreshold:
    """Returns the threshold with the best score, and that score (`find_best_thresh`).

    Args:
      gains: of each question by rising no-answer score, what its prediction adds to the score.
      no_answer_scores: rising.
      empty: the score with every prediction empty.
    """
    score = best = empty
    # The script says 0 here, which empties all only where the scores are positive probabilities.
    lowest = no_answer_scores[0] if no_answer_scores else 1.0
    threshold = min(0.0, math.nextafter(lowest, -math.inf))
    # Parity: questions with the same score are let in one by one.
    for gain, no_answer in zip(gains, no_answer_scores, strict=True):
        score += gain
        if score > best:
            best, threshold = score, no_answer
    return BestThreshold(percent(best, len(gains)), threshold)


def _average(scores: Sequence[AnswerScore]) -> AnswerScore:
    return AnswerScore(
        exact=percent(sum(score.exact for score in scores), len(scores)),
        f1=percent(sum(score.f1 for score in scores), len(scores)),
    )


def cmrc_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as CMRC 2018's `cmrc2018_evaluate.py` (v5) does; CMRC2018, DRCD.

    Exact match compares the texts without punctuation. F1 is over the longest common contiguous
    run of tokens (`find_lcs`; not the longest common subsequence), as a fraction of each side's.

    Parity: an answer of punctuation alone has no tokens, so two such match exactly with an F1 of 0.
    """
    return _best(lambda answer: _cmrc_pair(answer, predicted), gold)


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
        return _best(lambda answer: _cjrc_pair(answer, predicted), gold or [""])
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
    return _best(lambda answer: _bag_score(_squad_words(answer), words, f1_of_nothing=0.0), gold)


def squad2_score(gold: Sequence[str], predicted: str) -> AnswerScore:
    """Scores an answer as SQuAD 2.0's script does; gold answers without words count as none."""
    words = _squad_words(predicted)
    with_words = [answer for answer in gold if _squad_words(answer)] or [""]
    return _best(
        lambda answer: _bag_score(_squad_words(answer), words, f1_of_nothing=1.0), with_words
    )


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


def _best(score: Callable[[str], AnswerScore], gold: Iterable[str]) -> AnswerScore:
    return _max([score(answer) for answer in gold])


def _max(scores: Sequence[AnswerScore]) -> AnswerScore:
    """Returns the best exact match and the best F1, perhaps of different gold answers."""
    return AnswerScore(max(each.exact for each in scores), max(each.f1 for each in scores))


def _f1(common: int, gold: int, predicted: int) -> float:
    return 2.0 * common / (gold + predicted) if common else 0.0
