"""Output heads of pretraining: masked LM and replaced token detection.

Shapes: T tokens (B * L), M = B * N masked positions, E embedding width, D hidden width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from electra_zh.models import layers, split
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense, LayerNorm, custom_gradient, fused

# Tokens whose probabilities are summed together in the first level of sampling.
BLOCK = 128

# A number, or a scalar tensor where it changes from step to step.
Temperature: TypeAlias = float | tf.Tensor


class _TokenHead(tf.Module):
    """Dense, GELU and layer norm, for a product with embeddings, and a bias of each token."""

    def __init__(self, config: ModelConfig, path: str, *, seed: int, width: int = 0) -> None:
        """Makes the head for inputs of `width`, by default that of the network `config`."""
        super().__init__()
        sizes = (width or config.hidden_size, config.embedding_size)
        self.dense = Dense(f"{path}/dense", sizes, seed=seed, stddev=config.initializer_range)
        self.layer_norm = LayerNorm(f"{path}/layer_norm", sizes[1], eps=config.layer_norm_eps)
        self.output_bias = tf.Variable(tf.zeros(config.vocab_size), name=f"{path}/output_bias")

    def _transformed(self, x: tf.Tensor) -> tf.Tensor:
        """Returns [M, E] for x [M, D]."""
        return self.layer_norm(layers.gelu(self.dense(x)))


class MaskedLmHead(_TokenHead):
    """Dense, GELU, layer norm, product with the word embeddings, bias."""

    def __call__(self, x: tf.Tensor, word_embeddings: tf.Tensor) -> tf.Tensor:
        """Returns logits [M, V] in the type of x [M, D]; `word_embeddings` is [V, E]."""
        return layers.scores_of_rows(self._transformed(x), word_embeddings, self.output_bias)


class RtdHead(tf.Module):
    """Dense, GELU, dense to one logit a token: was the token replaced?"""

    def __init__(self, config: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        width = config.hidden_size
        stddev = config.initializer_range
        self.dense = Dense(f"{path}/dense", (width, width), seed=seed, stddev=stddev)
        self.output = Dense(f"{path}/output", (width, 1), seed=seed, stddev=None)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [T] for x [T, D]."""
        logits = self.output(layers.gelu(self.dense(x)))
        return tf.cast(tf.squeeze(logits, -1), tf.float32)


class DotHead(_TokenHead):
    """Product with the token's own embedding: minus a masked LM's logit of the token itself.

    It is added to the logits of `RtdHead`. A replaced token is one that does not fit its context,
    a product of token and context. Without this head the feed-forward layers must first learn to
    multiply.
    """

    def __call__(self, x: tf.Tensor, embeddings: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Returns float32 [T] for x [T, D], the tokens int32 [T] and their `embeddings` [T, E]."""
        hidden = tf.cast(self._transformed(x), tf.float32)
        return -(
            tf.reduce_sum(hidden * embeddings, -1) + split.rows_of_table(self.output_bias, ids)
        )


@custom_gradient
def sigmoid_losses(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Returns the binary cross-entropy of float32 logits with labels 0 or 1, element by element.

    As tf.nn.sigmoid_cross_entropy_with_logits, whose derivative is a sum of four terms in no fixed
    order, so that its last bits change from run to run.
    """
    losses, derivative = _sigmoid_losses(logits, labels)
    return losses, lambda dlosses: (dlosses * derivative, None)


@fused
def _sigmoid_losses(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    losses = tf.nn.relu(logits) - logits * labels + tf.math.log1p(tf.exp(-tf.abs(logits)))
    return losses, tf.sigmoid(logits) - labels


class MaskedLmLosses(NamedTuple):
    """Cross-entropy at masked positions, and the sums for sampling from the same softmax."""

    losses: tf.Tensor  # float32 [M]
    # float32 [M, ceil(V / BLOCK)], unnormalised probability of each block of tokens (at the
    # sampling temperature, without disallowed tokens); carries no derivative
    block_mass: tf.Tensor
    # float32 [M], the largest logit that may be drawn, which the mass is relative to
    maximum: tf.Tensor


def masked_lm_losses(
    logits: tf.Tensor,
    ids: tf.Tensor,
    *,
    temperature: Temperature = 1.0,
    disallow_correct: bool = False,
) -> MaskedLmLosses:
    """Returns the cross-entropy of logits [M, V] with the true ids int32 [M], in float32.

    The exponentials of the softmax are summed by blocks, so that [M, V] is read once for the loss
    and for drawing a token. There is no one-hot tensor.
    """

    @custom_gradient
    def apply(
        logits: tf.Tensor, ids: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], Callable[..., Any]]:
        log_sum, maximum, mass = _softmax_sums(logits, ids, temperature, disallow_correct)
        true = split.columns_at(logits, ids)
        losses = log_sum - tf.cast(true, tf.float32)

        def gradient(dlosses: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, None]:
            return _cross_entropy_gradient(logits, ids, log_sum, dlosses), None

        return (losses, mass, maximum), gradient

    losses, mass, maximum = apply(logits, ids)
    return MaskedLmLosses(losses, tf.stop_gradient(mass), tf.stop_gradient(maximum))


@fused
def _softmax_sums(
    logits: tf.Tensor, ids: tf.Tensor, temperature: Temperature, disallow_correct: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the log of the sum of exponentials [M], the maximum [M], the block mass [M, C]."""
    logits = tf.cast(logits, tf.float32)
    size = logits.shape[1]
    maximum = layers.row_maxima(logits)
    sums = _block_sums(logits, maximum, 1.0)
    log_sum = tf.math.log(tf.reduce_sum(sums, -1)) + maximum[:, 0]
    is_plain = isinstance(temperature, float) and temperature == 1.0
    if is_plain and not disallow_correct:
        return log_sum, maximum[:, 0], sums
    if disallow_correct:
        # Relative to the largest of the other logits: relative to a true token that is nearly
        # certain, the mass of all the others would underflow to 0.
        logits = tf.where(tf.range(size)[None, :] == ids[:, None], logits.dtype.min, logits)
        maximum = layers.row_maxima(logits)
    return log_sum, maximum[:, 0], _block_sums(logits, maximum, temperature)


def _block_sums(logits: tf.Tensor, maximum: tf.Tensor, temperature: Temperature) -> tf.Tensor:
    """Returns [M, C], the sums of exp((logits - maximum) / temperature) by blocks.

    The last block may be shorter. Padding it would write [M, V] to memory once more, a third of
    the time.
    """
    rows, size = logits.shape
    whole = size // BLOCK * BLOCK

    def mass(part: tf.Tensor) -> tf.Tensor:
        return tf.exp((part - maximum) / temperature)

    blocks = tf.reshape(mass(logits[:, :whole]), [rows, whole // BLOCK, BLOCK])
    sums = layers.row_sums(blocks)[:, :, 0]
    if whole == size:
        return sums
    return tf.concat([sums, layers.row_sums(mass(logits[:, whole:]))], 1)


@fused
def _cross_entropy_gradient(
    logits: tf.Tensor, ids: tf.Tensor, log_sum: tf.Tensor, dlosses: tf.Tensor
) -> tf.Tensor:
    probs = tf.exp(tf.cast(logits, tf.float32) - log_sum[:, None])
    is_true = tf.range(logits.shape[1])[None, :] == ids[:, None]
    return layers.rounded((probs - tf.where(is_true, 1.0, 0.0)) * dlosses[:, None], logits.dtype)


def sample_tokens(
    logits: tf.Tensor,
    sums: MaskedLmLosses,
    uniform: tf.Tensor,
    *,
    ids: tf.Tensor,
    temperature: Temperature = 1.0,
    disallow_correct: bool = False,
) -> tf.Tensor:
    """Draws a token from each softmax by inverting its distribution function at two levels.

    A uniform number picks a block of tokens by the blocks' mass, and what is left of it picks the
    token inside. The distribution is that of the reference's Gumbel argmax, without a random number
    for every token of the vocabulary.

    Args:
      logits: [M, V].
      sums: from `masked_lm_losses` with the same settings.
      uniform: float32 [M] in [0, 1).
      ids: the true tokens, int32 [M].
      temperature: divides the logits.
      disallow_correct: the true token is never drawn.

    Returns:
      int32 [M].
    """
    size = logits.shape[1]
    cumulated = tf.cumsum(sums.block_mass, 1)
    target = uniform * cumulated[:, -1]
    block = _count_not_above(cumulated, target)
    below = split.columns_at(tf.pad(cumulated, [[0, 0], [1, 0]]), block)
    columns = block[:, None] * BLOCK + tf.range(BLOCK)  # [M, BLOCK]
    chosen = tf.cast(split.block_at(logits, block, BLOCK), tf.float32) - sums.maximum[:, None]
    mass = tf.where(columns < size, tf.exp(chosen / temperature), 0.0)
    if disallow_correct:
        mass = tf.where(columns == ids[:, None], 0.0, mass)
    inside = _count_not_above(tf.cumsum(mass, 1), target - below)
    # Rounding may lead past the end of the block: stay at its last token that has any mass.
    last = tf.reduce_max(tf.where(mass > 0.0, tf.range(BLOCK), 0), -1)
    return block * BLOCK + tf.minimum(inside, last)


def _count_not_above(cumulated: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    counts = tf.reduce_sum(tf.cast(cumulated <= target[:, None], tf.int32), -1)
    return tf.minimum(counts, cumulated.shape[1] - 1)
