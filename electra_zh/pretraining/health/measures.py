"""Measures that show a plateau or a collapse, on one batch of held-out or training data.

- `effective_rank` of the last layer at real positions: the exponential of the entropy of the
  normalised eigenvalues of the states' covariance. From 1 (all on one line) to the width.
- `neighbour_attention`: the probability at the offsets -2, -1, 1 and 2 in the head of the first two
  layers where it is highest. Evenly spread attention has 4 / L.
- `masked_lm_gain`: nats by which the masked LM is better than token frequencies, at masked
  positions that do not show their true token; 0 on the plateau. `unigram_entropy` is that of the
  data, in nats.
- `copy_accuracy` of the masked LM at masked positions that do show their true token.
- `disc_auc_tokens`: the discriminator's AUC without [CLS], [SEP], padding and [MASK].

Shapes: B batch, L length, T = B * L tokens, N masked positions of a sequence, D hidden width,
H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.models import layers
from electra_zh.models.encoder import Encoder
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.objectives.base import EVALUATION_STEP, MaskedLmOutput, Objective

# Positions of the batch, and of the text that token frequencies are counted in.
_POSITIONS, _COUNTED = 4096, 262_144
_FIRST_LAYERS = 2

Batch = Mapping[str, tf.Tensor]


def make_measure(
    objective: Objective,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    *,
    on_damage: pipeline.OnDamage | None = None,
) -> Callable[[], dict[str, float]]:
    """Returns a function that measures the networks as they then are, on the first examples."""
    loaded: list[tuple[Batch, np.ndarray]] = []

    def measure() -> dict[str, float]:
        if not loaded:
            reading = pipeline.Reading(config.max_seq_length, config.needs_words, on_damage)
            loaded.append(_load(objective, config, shards, reading))
        with layers.plain_operations():
            return _measure(objective, *loaded[0])

    return measure


def _load(
    objective: Objective,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    reading: pipeline.Reading,
) -> tuple[Batch, np.ndarray]:
    """Returns the batch, and the counts of the tokens [V] in the first examples."""
    length, examples = config.max_seq_length, sum(shard.examples for shard in shards)
    rows = min(max(_POSITIONS // length, 1), examples)
    most = max(_COUNTED // (rows * length), 1)
    counts = np.zeros(config.model.vocab_size, np.int64)
    batch: Batch | None = None
    for arrays in pipeline.OnePass(shards, reading, rows, max_batches=most):
        each = {name: tf.constant(values) for name, values in arrays.items()}
        batch = batch or each
        tokens = tf.boolean_mask(each["input_ids"], _text(objective, each)).numpy()
        counts += np.bincount(tokens, minlength=len(counts))
    assert batch is not None
    return batch, counts


def _measure(objective: Objective, batch: Batch, counts: np.ndarray) -> dict[str, float]:
    output = objective(batch, step=EVALUATION_STEP, training=False)
    by_frequency = -np.log(frequencies(counts))
    found = {"unigram_entropy": float(by_frequency @ counts / max(counts.sum(), 1))}
    if objective.masked_lm_head is not None:
        found |= _masked_lm(output.mlm, by_frequency)
    if output.disc is not None:
        text = tf.cast(_text(objective, batch), tf.float32) * output.disc.counted
        found["disc_auc_tokens"] = metrics.auc(
            *map(np.array, metrics.histograms(output.disc, text))
        )
    for prefix, encoder in (("", objective.encoder), ("generator_", objective.generator)):
        if encoder is not None:
            found |= {f"{prefix}{name}": value for name, value in _encoder(encoder, batch).items()}
    return found


def _text(objective: Objective, batch: Batch) -> tf.Tensor:
    """Returns bool [B, L]: tokens that are not [CLS] or [SEP]."""
    ids, special = batch["input_ids"], objective.special
    return (batch["input_mask"] > 0) & (ids != special.cls) & (ids != special.sep)


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Returns the probabilities of tokens [V] in text of which they are a sample.

    Each is estimated without the token itself (jackknife), so that a small sample does not fit
    its own text. A token that occurs once has the probability of those that occur once, shared
    with the unseen ones, whose number is Chao's estimate.
    """
    below_2, once, twice = (
        max(int(np.count_nonzero(each)), 1) for each in (counts < 2, counts == 1, counts == 2)
    )
    total = max(int(counts.sum()), 2)
    rare = min(once + once**2 / (2 * twice), below_2)
    found: np.ndarray = np.where(
        counts < 2, once / total / rare, np.maximum(counts - 1, 1) / (total - 1)
    )
    return found


def _masked_lm(mlm: MaskedLmOutput, by_frequency: np.ndarray) -> dict[str, float]:
    """Returns the measures of the masked LM; `by_frequency` [V] are the losses of frequencies."""
    masked = mlm.masked
    shown_ids = tf.gather(masked.input_ids, masked.positions, batch_dims=1).numpy()
    ids, used = masked.ids.numpy(), masked.weights.numpy() > 0
    shown, hidden = used & (shown_ids == ids), used & (shown_ids != ids)
    likeliest = tf.reshape(tf.argmax(mlm.logits, -1), ids.shape).numpy()
    found = {}
    if shown.any():
        found["copy_accuracy"] = float(np.mean(likeliest[shown] == ids[shown]))
    if hidden.any():
        gains = by_frequency[ids] - mlm.losses.numpy()
        found["masked_lm_gain"] = float(np.mean(gains[hidden]))
    return found


def _encoder(encoder: Encoder, batch: Batch) -> dict[str, float]:
    ids, mask, segments = (batch[name] for name in ("input_ids", "input_mask", "segment_ids"))
    states = tf.boolean_mask(encoder(ids, mask, segments), tf.reshape(mask, [-1]) > 0)
    heads = [_neighbours(probs, mask) for probs in _attention(encoder, ids, mask, segments)]
    return {
        "effective_rank": effective_rank(states.numpy()),
        "neighbour_attention": float(np.max(heads)),
    }


def _attention(
    encoder: Encoder, ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor
) -> Iterator[tf.Tensor]:
    """Yields the attention probabilities [B, H, L, L] of the first layers."""
    x = encoder.embeddings(ids, segments, dtype=tf.float32, key=None, stream="")
    if encoder.projection is not None:
        x = encoder.projection(x)
    bias = (1.0 - tf.cast(mask, tf.float32)[:, None, None, :]) * -10000.0
    shape = [*ids.shape, encoder.config.num_attention_heads, -1]
    for layer in encoder.layers[:_FIRST_LAYERS]:
        query, keys = (
            tf.transpose(tf.reshape(part(x), shape), [0, 2, 1, 3])
            for part in (layer.attention.query, layer.attention.key)
        )
        scores = tf.matmul(query, keys, transpose_b=True) * query.shape[-1] ** -0.5
        yield tf.nn.softmax(scores + bias)
        x = layer(x, bias, key=None, stream="")


def _neighbours(probs: tf.Tensor, mask: tf.Tensor) -> np.ndarray:
    """Returns [H]: the mean probability at the two neighbours on either side."""
    distance = np.abs(np.subtract.outer(*[np.arange(mask.shape[1])] * 2))
    near = tf.constant((distance > 0) & (distance <= 2), tf.float32)
    real = tf.cast(mask, tf.float32)[:, None, :]  # [B, 1, L], the queries
    mass = tf.reduce_sum(probs * near, -1) * real
    found: np.ndarray = (tf.reduce_sum(mass, [0, 2]) / tf.reduce_sum(real)).numpy()
    return found


def effective_rank(states: np.ndarray) -> float:
    """Returns the effective rank of states [T, D]; 1 for states that are all the same."""
    centred = states.astype(np.float64) - states.mean(0, dtype=np.float64)
    values = np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0.0)
    return float(np.exp(entropy(values)))


def entropy(amounts: np.ndarray) -> float:
    """Returns the entropy in nats of amounts, normalised to the sum 1; 0 for nothing."""
    positive = amounts[amounts > 0]
    fractions = positive / positive.sum() if len(positive) else np.ones(1)
    return float(-np.sum(fractions * np.log(fractions)))
