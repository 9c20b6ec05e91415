"""Which evaluation script scores the answers of a task, and the names of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning import reading_scores
from electra_zh.finetuning.examples import QuestionExample
from electra_zh.finetuning.heads.span_decode import SpanPrediction

Rules = Literal["cmrc", "cjrc", "squad", "squad2"]
# A task's metric says whose evaluation script scores its answers.
METRICS: Mapping[Rules, tuple[str, ...]] = {
    "cmrc": ("em", "f1", "average"),
    "cjrc": ("cjrc_em", "cjrc_f1"),
    "squad": ("squad_em", "squad_f1"),
    "squad2": ("squad2_em", "squad2_f1", "best_squad2_em", "best_squad2_f1"),
}


def rules_of(metric: str, task: str) -> Rules:
    """Returns the rules that a metric belongs to.

    Raises:
      UserError: it is not a metric of span extraction; the message names the task.
    """
    for rules, names in METRICS.items():
        if metric in names:
            return rules
    known = [name for names in METRICS.values() for name in names]
    raise UserError(
        f'task {task}: metric "{metric}" is not one of span extraction: {", ".join(known)}.'
        f"{did_you_mean(metric, known)}"
    )


def gold_answers(example: QuestionExample) -> list[str]:
    """Returns the texts that score as right; none for an unanswerable question."""
    if example.answers:
        return [answer.text for answer in example.answers]
    return [example.verdict] if example.verdict in ("YES", "NO") else []


def score_answers(
    rules: Rules,
    examples: Sequence[QuestionExample],
    predictions: Sequence[SpanPrediction],
    *,
    null_threshold: float,
) -> dict[str, float]:
    """Returns exact match and F1 in percent, and for SQuAD 2.0 what the best threshold gives.

    Args:
      rules: whose script.
      examples: with their gold answers.
      predictions: one for each.
      null_threshold: of SQuAD 2.0, see `SpanConfig`.
    """
    golds = {str(i): gold_answers(example) for i, example in enumerate(examples)}
    if rules == "squad2":
        return _squad2_scores(golds, predictions, null_threshold)
    texts = {str(i): prediction.text for i, prediction in enumerate(predictions)}
    score_with = {
        "cmrc": reading_scores.cmrc_scores,
        "cjrc": reading_scores.cjrc_scores,
        "squad": reading_scores.squad_scores,
    }[rules]
    score = score_with(golds, texts)
    values = (score.exact, score.f1, (score.exact + score.f1) / 2)
    return dict(zip(METRICS[rules], values, strict=False))


def _squad2_scores(
    golds: Mapping[str, list[str]], predictions: Sequence[SpanPrediction], threshold: float
) -> dict[str, float]:
    # The search of the threshold needs the best spans, not the empty answers in their place.
    texts = [each.nbest[0].text if each.nbest else "" for each in predictions]
    found = reading_scores.squad2_scores(
        golds,
        {str(i): text for i, text in enumerate(texts)},
        no_answer_scores={str(i): each.no_answer_score for i, each in enumerate(predictions)},
        threshold=threshold,
    )
    assert found.best_exact is not None
    assert found.best_f1 is not None
    return {
        "squad2_em": found.overall.exact,
        "squad2_f1": found.overall.f1,
        "best_squad2_em": found.best_exact.score,
        "best_squad2_f1": found.best_f1.score,
        "best_null_threshold": found.best_f1.threshold,
        "has_answer_f1": found.has_answer.f1,
        "no_answer_f1": found.no_answer.f1,
    }
