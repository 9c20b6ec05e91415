"""The networks' arrays that their health is measured by, as tensors of TensorFlow.

Shapes: B batch, L length, N masked positions of a sequence, D hidden width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.models import layers
from electra_zh.models.encoder import Encoder
from electra_zh.pretraining import metrics
from electra_zh.pretraining.objectives.base import EVALUATION_STEP, MaskedLmOutput, Objective

_FIRST_LAYERS = 2

Batch = Mapping[str, tf.Tensor]


def compute(objective: Objective) -> Callable[[pipeline.Batch], dict[str, np.ndarray]]:
    """Returns the function of `measures.make_measure` for networks of TensorFlow."""

    def arrays(batch: pipeline.Batch) -> dict[str, np.ndarray]:
        with layers.plain_operations():
            tensors = {name: tf.constant(values) for name, values in batch.items()}
            return {name: value.numpy() for name, value in measured(objective, tensors).items()}

    return arrays


def measured(objective: Objective, batch: Batch) -> dict[str, tf.Tensor]:
    """Returns float32 tensors by name, those of the networks that an objective has.

    - `shown_ids`, `masked_ids`, `likeliest_ids`, `masked_weights`, `masked_losses`, [B, N]: of the
      masked LM
    - `disc_positives`, `disc_negatives`, [201]: histograms of the discriminator, of tokens other
      than [CLS] and [SEP]
    - `states` [B * L, D], `neighbours` [layers, H]: of the encoder; a generator has `generator_...`
    """
    output = objective(batch, step=EVALUATION_STEP, training=False)
    found: dict[str, tf.Tensor] = {}
    if objective.masked_lm_head is not None:
        found |= _masked_lm(output.mlm)
    if output.disc is not None:
        text = tf.cast(_text(objective, batch), tf.float32) * output.disc.counted
        names = ("disc_positives", "disc_negatives")
        found |= zip(names, metrics.histograms(output.disc, text), strict=True)
    for prefix, encoder in (("", objective.encoder), ("generator_", objective.generator)):
        if encoder is not None:
            ids, mask, segments = (
                batch[name] for name in ("input_ids", "input_mask", "segment_ids")
            )
            attention = _attention(encoder, ids, mask, segments)
            found[f"{prefix}states"] = encoder(ids, mask, segments)
            found[f"{prefix}neighbours"] = tf.stack([_neighbours(each, mask) for each in attention])
    return {name: tf.cast(value, tf.float32) for name, value in found.items()}


def _text(objective: Objective, batch: Batch) -> tf.Tensor:
    """Returns bool [B, L]: tokens that are not [CLS] or [SEP]."""
    ids, special = batch["input_ids"], objective.special
    return (batch["input_mask"] > 0) & (ids != special.cls) & (ids != special.sep)


def _masked_lm(mlm: MaskedLmOutput) -> dict[str, tf.Tensor]:
    masked = mlm.masked
    return {
        "shown_ids": tf.gather(masked.input_ids, masked.positions, batch_dims=1),
        "masked_ids": masked.ids,
        "masked_weights": masked.weights,
        "masked_losses": mlm.losses,
        "likeliest_ids": tf.reshape(tf.argmax(mlm.logits, -1), masked.ids.shape),
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


def _neighbours(probs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns [H]: the mean probability at the two neighbours on either side."""
    distance = np.abs(np.subtract.outer(*[np.arange(mask.shape[1])] * 2))
    near = tf.constant((distance > 0) & (distance <= 2), tf.float32)
    real = tf.cast(mask, tf.float32)[:, None, :]  # [B, 1, L], the queries
    mass = tf.reduce_sum(probs * near, -1) * real
    return tf.reduce_sum(mass, [0, 2]) / tf.reduce_sum(real)
