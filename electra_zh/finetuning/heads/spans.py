"""Output layers and losses of span extraction.

The default head is one dense layer to a start and an end score, as in transformers. The others are
the reference's (finetune/qa/qa_tasks.py, `get_prediction_module`): an end score that depends on the
start, and a score for having no answer.

Shapes: G windows of a batch (a row each), L length, D hidden width, C answer types, N answers kept,
W `_WIDTH`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import tensorflow as tf

from electra_zh.finetuning.heads.span_decode import (
    NEGATIVE,
    WindowSpans,
    best_spans,
    best_spans_of_starts,
)
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.tasks import SpanConfig
from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.heads import sigmoid_losses
from electra_zh.models.layers import Dense

# Inner width of the reference's end and answerability heads.
_WIDTH = 512
# Starts that the end head is tried with.
_BEAM = 20


class SpanHead(tf.Module):
    """Start and end scores of every token, and the further heads that the task asks for."""

    def __init__(
        self, model: ModelConfig, path: str, reading: SpanConfig, *, answer_types: int, seed: int
    ) -> None:
        """Makes the variables.

        Args:
          model: the encoder's size.
          path: prefix of the variables' names.
          reading: settings that choose the reference's heads.
          answer_types: C, span included; 0 without that head.
          seed: random seed of the initial values.
        """
        super().__init__()
        self.reading = reading
        width, stddev = model.hidden_size, model.initializer_range
        self._rate = model.hidden_dropout_prob

        def plain(name: str, inputs: int, outputs: int) -> Dense:
            # Parity: the reference makes these layers without an initialiser (Glorot uniform).
            return Dense(f"{path}/{name}", (inputs, outputs), seed=seed, stddev=None)

        if reading.joint_prediction:
            self.start = plain("start", width, 1)
            self.end_hidden = plain("end_hidden", 2 * width, _WIDTH)
            self.end = plain("end", _WIDTH, 1)
        else:
            self.output = Dense(f"{path}/output", (width, 2), seed=seed, stddev=stddev)
        if reading.answerability:
            self.unanswerable_hidden = plain("unanswerable_hidden", 2 * width, _WIDTH)
            self.unanswerable = plain("unanswerable", _WIDTH, 1)
        # Checkpoints call this layer `verdict`.
        self.verdict: Dense | None = None
        if answer_types:
            self.verdict = Dense(f"{path}/verdict", (width, answer_types), seed=seed, stddev=stddev)

    def losses(self, hidden: Hidden, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [G]: the mean of start and end loss, and those of the other heads.

        Args:
          hidden: of the encoder.
          features: `context_mask` int32 [G, L]; `start`, `end` int32 [G], positions, 0 for none;
            `answerable` float32 [G]; with answer types `answer_type` int32 [G].
        """
        allowed = _allowed(features["context_mask"])
        uses = (3 if self.reading.joint_prediction else 1) + 2 * self.reading.answerability
        uses += self.verdict is not None
        copies = iter(layers.fan_out(hidden.sequence, uses))
        if self.reading.joint_prediction:
            start = self._start_scores(next(copies), hidden, allowed)
            places = tf.one_hot(features["start"], hidden.length)
            chosen = _weighted_sums(places, next(copies), hidden)  # [G, D]
            tokens = self._end_tokens(next(copies))
            end = self._end_scores(self._end_start(chosen), tokens, hidden, allowed)
        else:
            start, end = self._plain_scores(next(copies), hidden, allowed)
        losses = (
            _cross_entropy(start, features["start"]) + _cross_entropy(end, features["end"])
        ) / 2.0
        if self.reading.answerability:
            logits = self._unanswerable_logits(start, copies, hidden)
            labels = 1.0 - features["answerable"]
            losses += self.reading.answerable_weight * sigmoid_losses(logits, labels)
        if self.verdict is not None:
            logits = self._answer_type_logits(next(copies), hidden)
            losses += _cross_entropy(logits, features["answer_type"])
        return losses

    def outputs(self, hidden: Hidden, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the fields of `WindowSpans` and the scores of other answers, float32 and int32.

        `null` [G] is the score of [CLS] as start and end. With their heads, `unanswerable` [G] is
        the logit of the question having no answer, and `answer_types` [G, C] the log-probabilities
        of a span and of the other answers.

        Args:
          hidden: of the encoder.
          features: `context_mask` int32 [G, L]; `max_context` int32 [G, 2], the positions, end
            exclusive, where an answer may begin in this window.
        """
        mask = features["context_mask"]
        allowed, in_context = _allowed(mask), mask > 0
        columns = tf.range(hidden.length)[None, :]
        first, last = features["max_context"][:, :1], features["max_context"][:, 1:]
        may_begin = in_context & (columns >= first) & (columns < last)
        sequence = hidden.sequence
        longest, count = self.reading.max_answer_length, self.reading.n_best
        if self.reading.joint_prediction:
            start = self._start_scores(sequence, hidden, allowed)
            spans, null = self._beam(start, hidden, may_begin, mask)
        else:
            start, end = self._plain_scores(sequence, hidden, allowed)
            null = start[:, 0] + end[:, 0]
            starts, ends = tf.where(may_begin, start, NEGATIVE), tf.where(in_context, end, NEGATIVE)
            spans = best_spans(starts, ends, max_length=longest, count=count)
        found = {**spans._asdict(), "null": null}
        if self.reading.answerability:
            again = itertools.repeat(sequence)
            found["unanswerable"] = self._unanswerable_logits(start, again, hidden)
        if self.verdict is not None:
            logits = self._answer_type_logits(sequence, hidden)
            found["answer_types"] = tf.nn.log_softmax(logits)
        return found

    def _plain_scores(
        self, sequence: tf.Tensor, hidden: Hidden, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the start and end scores, float32 [G, L] each."""
        scores = tf.cast(self.output(sequence), tf.float32)
        scores = tf.reshape(scores, [hidden.rows, hidden.length, 2])
        start, end = tf.unstack(scores, axis=-1)
        return tf.where(allowed, start, NEGATIVE), tf.where(allowed, end, NEGATIVE)

    def _start_scores(self, sequence: tf.Tensor, hidden: Hidden, allowed: tf.Tensor) -> tf.Tensor:
        scores = tf.reshape(self.start(sequence), [hidden.rows, hidden.length])
        return tf.where(allowed, tf.cast(scores, tf.float32), NEGATIVE)

    # The inner layer takes start and token concatenated. Its product is computed as the sum of two,
    # so that a token's part is computed once and not once for each start.

    def _end_start(self, chosen: tf.Tensor) -> tf.Tensor:
        """Returns the start's part of the inner layer, [G, W], for representations [G, D]."""
        kernel = self.end_hidden.kernel[: chosen.shape[-1]]
        return layers.dense(chosen, kernel, self.end_hidden.bias)

    def _end_tokens(self, sequence: tf.Tensor) -> tf.Tensor:
        """Returns the tokens' part of the inner layer, [G * L, W]."""
        kernel = tf.cast(self.end_hidden.kernel[sequence.shape[-1] :], sequence.dtype)
        return tf.matmul(sequence, kernel)

    def _end_scores(
        self, start: tf.Tensor, tokens: tf.Tensor, hidden: Hidden, allowed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the end scores given one start per window, float32 [G, L]."""
        shape = [hidden.rows, hidden.length, _WIDTH]
        inner = tf.reshape(tf.reshape(tokens, shape) + start[:, None, :], [-1, _WIDTH])
        scores = tf.reshape(self.end(layers.gelu(inner)), shape[:2])
        return tf.where(allowed, tf.cast(scores, tf.float32), NEGATIVE)

    def _beam(
        self, start: tf.Tensor, hidden: Hidden, may_begin: tf.Tensor, mask: tf.Tensor
    ) -> tuple[WindowSpans, tf.Tensor]:
        """Returns the best spans by log-probability, and that of [CLS] as start and end."""
        allowed, in_context = _allowed(mask), mask > 0
        start = tf.nn.log_softmax(start)
        beam = min(_BEAM, hidden.length)
        scores, places = tf.math.top_k(tf.where(may_begin, start, NEGATIVE), beam)  # [G, beam]
        tokens = self._end_tokens(hidden.sequence)

        def ends_of(position: tf.Tensor) -> tf.Tensor:
            one_hot = tf.one_hot(position, hidden.length)
            chosen = self._end_start(_weighted_sums(one_hot, hidden.sequence, hidden))
            return tf.nn.log_softmax(self._end_scores(chosen, tokens, hidden, allowed))

        null = start[:, 0] + ends_of(tf.zeros_like(places[:, 0]))[:, 0]
        # One start after the other: all at once would take the beam times the memory.
        ends = [tf.where(in_context, ends_of(places[:, i]), NEGATIVE) for i in range(beam)]
        longest, count = self.reading.max_answer_length, self.reading.n_best
        spans = best_spans_of_starts(
            scores, places, tf.stack(ends, 1), max_length=longest, count=count
        )
        return spans, null

    def _unanswerable_logits(
        self, start: tf.Tensor, copies: Iterator[tf.Tensor], hidden: Hidden
    ) -> tf.Tensor:
        """Returns float32 [G], from [CLS] and the mean of all tokens weighted by the start."""
        first = next(copies)[:: hidden.length]
        mean = _weighted_sums(tf.nn.softmax(start), next(copies), hidden)
        inner = layers.gelu(self.unanswerable_hidden(tf.concat([first, mean], -1)))
        return tf.cast(tf.squeeze(self.unanswerable(inner), -1), tf.float32)

    def _answer_type_logits(self, sequence: tf.Tensor, hidden: Hidden) -> tf.Tensor:
        assert self.verdict is not None
        first = sequence[:: hidden.length]
        return tf.cast(self.verdict(hidden.dropout(first, "verdict", self._rate)), tf.float32)


def _allowed(context_mask: tf.Tensor) -> tf.Tensor:
    """Returns bool [G, L]: the tokens of the context, and [CLS] for no answer here.

    The reference's mask has the last [SEP] too.
    """
    return (context_mask > 0) | (tf.range(context_mask.shape[1]) == 0)[None, :]


def _weighted_sums(weights: tf.Tensor, sequence: tf.Tensor, hidden: Hidden) -> tf.Tensor:
    """Returns [G, D], the sums of each window's tokens with weights [G, L]."""
    tokens = tf.reshape(sequence, [hidden.rows, hidden.length, -1])
    weights = tf.cast(weights, sequence.dtype)[:, None, :]
    return tf.squeeze(tf.matmul(weights, tokens), 1)


def _cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
