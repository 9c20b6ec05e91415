"""The best spans: per window on the device, per question from all of its windows.

Shapes: G windows, L length, M tokens of the longest answer, N spans kept, B starts of a beam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# The score of forbidden positions. Sums of a few are still finite.
NEGATIVE = -1e9
# Spans with a forbidden position have scores below.
_LEAST = -1e8


class WindowSpans(NamedTuple):
    """The best spans of each window, best first; filled up with scores below any real one.

    Attributes:
      scores: float32 [G, N], the sum of the start's and the end's score.
      starts: int32 [G, N], positions in the row.
      ends: int32 [G, N], of the last token.
    """

    scores: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor


class AnswerText(NamedTuple):
    """A stretch of a context.

    Attributes:
      text: the characters of the context.
      start: the first one.
      end: the last one, exclusive.
      score: as in `WindowSpans`.
    """

    text: str
    start: int
    end: int
    score: float


def best_spans(start: tf.Tensor, end: tf.Tensor, *, max_length: int, count: int) -> WindowSpans:
    """Returns the best spans where start and end have scores of their own; none is missed.

    A span among the best `count` has a start that is among the best `count` by its own best span,
    so it is enough to look at these.

    Args:
      start: float32 [G, L], NEGATIVE where no answer may begin.
      end: float32 [G, L], NEGATIVE where no answer may end.
      max_length: tokens of an answer at most.
      count: spans to return.
    """
    length = start.shape[1]
    band = min(max_length, length)
    best = tf.nn.max_pool1d(_padded(end, band)[..., None], band, 1, "VALID")[..., 0]  # [G, L]
    _, places = tf.math.top_k(start + best, min(count, length))
    scores = tf.gather(start, places, batch_dims=1)
    return best_spans_of_starts(scores, places, end, max_length=max_length, count=count)


def best_spans_of_starts(
    scores: tf.Tensor, places: tf.Tensor, ends: tf.Tensor, *, max_length: int, count: int
) -> WindowSpans:
    """Returns the best spans that begin at some positions.

    Args:
      scores: float32 [G, B], the scores of the starts.
      places: int32 [G, B], their positions.
      ends: float32 [G, L], or [G, B, L] if they depend on the start; NEGATIVE where no answer may
        end.
      max_length: tokens of an answer at most.
      count: spans to return.
    """
    beam, band = places.shape[1], min(max_length, ends.shape[-1])
    columns = places[:, :, None] + tf.range(band)  # [G, B, band], the last tokens of the spans
    following = tf.gather(_padded(ends, band), columns, batch_dims=len(ends.shape) - 1)
    totals = tf.reshape(scores[:, :, None] + following, [-1, beam * band])
    kept = min(count, beam * band)
    totals, numbers = tf.math.top_k(totals, kept)
    starts = tf.gather(places, numbers // band, batch_dims=1)
    fill = [[0, 0], [0, count - kept]]
    totals = tf.pad(totals, fill, constant_values=2 * NEGATIVE)
    return WindowSpans(totals, tf.pad(starts, fill), tf.pad(starts + numbers % band, fill))


def _padded(ends: tf.Tensor, band: int) -> tf.Tensor:
    """Returns the end scores with room for a span that begins at the last token."""
    room = [[0, 0]] * (len(ends.shape) - 1) + [[0, band - 1]]
    return tf.pad(ends, room, constant_values=NEGATIVE)


def n_best(
    spans: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    question: np.ndarray,
    row_starts: np.ndarray,
    characters: tuple[np.ndarray, np.ndarray],
    contexts: Sequence[str],
    count: int,
) -> list[list[AnswerText]]:
    """Returns the best spans of each question from all of its windows, without duplicate texts.

    Args:
      spans: `WindowSpans` as arrays, [G, N] each.
      question: int64 [G], the question of each window.
      row_starts: int64 [G], where each window begins in the flat tokens.
      characters: int32 [T] each, the first and the last (exclusive) character of each token.
      contexts: the context of each question.
      count: spans of a question at most.
    """
    scores, starts, ends = spans
    real = scores > _LEAST
    of = np.broadcast_to(question[:, None], scores.shape)[real]
    begins = characters[0][(row_starts[:, None] + starts)[real]]
    stops = characters[1][(row_starts[:, None] + ends)[real]]
    order = np.lexsort((-scores[real], of))
    columns = (column[order].tolist() for column in (of, begins, stops, scores[real]))
    found: list[dict[str, AnswerText]] = [{} for _ in contexts]
    for number, begin, stop, score in zip(*columns, strict=True):
        if len(found[number]) < count:
            text = contexts[number][begin:stop]
            found[number].setdefault(text, AnswerText(text, begin, stop, score))
    return [list(each.values()) for each in found]


class Alternative(NamedTuple):
    """One of the best spans."""

    text: str
    probability: float


class SpanPrediction(NamedTuple):
    """The answer to a question.

    Attributes:
      text: a slice of the context; YES, NO, or "" for no answer.
      start: its first character in the context; -1 where it is not a span.
      end: its last character, exclusive; -1 where it is not a span.
      score: of the best span: the sum of its logits, or its log-probability with joint prediction.
      no_answer_score: higher where no answer is more probable: the logit of the answerability
        head, the log-odds of NONE, or the score of [CLS] minus that of the best span.
      nbest: the best spans, independent of `text`; their probabilities sum to 1.
    """

    text: str
    start: int
    end: int
    score: float
    no_answer_score: float
    nbest: tuple[Alternative, ...]


def make_prediction(
    spans: Sequence[AnswerText], no_answer_score: float, other: str | None
) -> SpanPrediction:
    """Returns the prediction of the best span, or of `other` if there is one.

    Args:
      spans: best first; empty where the context has no tokens.
      no_answer_score: see `SpanPrediction`.
      other: YES, NO or "".
    """
    best = spans[0] if spans else AnswerText("", -1, -1, 0.0)
    shown = best if other is None else AnswerText(other, -1, -1, best.score)
    scores = np.array([span.score for span in spans])
    weights = np.exp(scores - best.score)
    probabilities = (weights / weights.sum()).tolist()
    nbest = tuple(Alternative(s.text, p) for s, p in zip(spans, probabilities, strict=True))
    return SpanPrediction(shown.text, shown.start, shown.end, best.score, no_answer_score, nbest)


def other_answers(
    outputs: Mapping[str, np.ndarray],
    question: np.ndarray,
    *,
    best_scores: Sequence[float],
    names: Sequence[str],
    threshold: float,
) -> tuple[list[float], list[str | None]]:
    """Decides from all windows of each question whether its answer is a span.

    Args:
      outputs: `answer_types` [G, 1 + len(names)] if there are names; else `unanswerable` [G] if the
        head has it, else `null` [G].
      question: int64 [G]; every question has a window.
      best_scores: of each question's best span.
      names: some of YES, NO, NONE.
      threshold: without names, answers with a no-answer score above are "".

    Returns:
      The no-answer scores, and the answers: YES, NO or "", None where the answer is a span.
    """
    if not best_scores:
        return [], []
    first = np.searchsorted(question, np.arange(len(best_scores)))
    if names:
        return _most_probable(outputs["answer_types"], first, ("", *names))
    # Parity: the minimum over windows, as in the reference and BERT.
    if "unanswerable" in outputs:
        scores = np.minimum.reduceat(outputs["unanswerable"], first)
    else:
        scores = np.minimum.reduceat(outputs["null"], first) - np.array(best_scores)
    empty = (scores > threshold).tolist()
    return scores.tolist(), ["" if each else None for each in empty]


def _most_probable(
    answer_types: np.ndarray, first: np.ndarray, names: Sequence[str]
) -> tuple[list[float], list[str | None]]:
    """Returns the most probable name for each question; the first name, "", is a span.

    One window with an answer is enough; NONE is the answer only if all windows agree.
    """
    scores = np.maximum.reduceat(answer_types, first)
    no_answer = np.full(len(first), -np.inf)
    if "NONE" in names:
        none = names.index("NONE")
        scores[:, none] = np.minimum.reduceat(answer_types[:, none], first)
        no_answer = scores[:, none] - np.delete(scores, none, 1).max(1)
    texts = [None, *(name.replace("NONE", "") for name in names[1:])]
    return no_answer.tolist(), [texts[i] for i in scores.argmax(1)]
