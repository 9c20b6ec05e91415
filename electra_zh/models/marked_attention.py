"""Attention of lowered steps, marked for the kernels of GPUs.

Shapes: B batch, L length, H heads, S width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from electra_zh.models import layers
from electra_zh.models.layers import Dropout
from electra_zh.models.regions import marked


def attend(
    qkv: tf.Tensor, attention_bias: tf.Tensor, *, factor: float, dropped: Dropout | None
) -> tf.Tensor:
    """Returns the context [B, L, H, S] of queries, keys and values [B, L, 3, H, S].

    `attention_bias` is float32 [B, 1, 1, L]. The numbers are those of `Attention`.
    """
    draw = tf.zeros([4], tf.uint32) if dropped is None else dropped.place()
    rate = dropped.rate if dropped else 0.0
    settings = {"factor": factor, "rate": rate}

    @layers.custom_gradient
    def apply(
        qkv: tf.Tensor, attention_bias: tf.Tensor, draw: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor | None, ...]]]:
        kept: list[tf.Tensor] = []

        def forward(qkv: tf.Tensor, bias: tf.Tensor, _: tf.Tensor) -> list[tf.Tensor]:
            query, keys, value = _heads(qkv)
            scores = tf.matmul(query, keys, transpose_b=True)  # [B, H, L, L]
            dropped_probs, probs = layers.softmax_forward(scores, bias, factor, dropped)
            kept[:] = query, keys, value, dropped_probs, probs
            scaled = tf.cast(scores, tf.float32) * factor + bias
            sums = tf.reduce_logsumexp(scaled, -1) / tf.math.log(2.0)  # for the kernel
            return [tf.transpose(tf.matmul(dropped_probs, value), [0, 2, 1, 3]), sums]

        def backward(*inputs: tf.Tensor) -> list[tf.Tensor]:
            query, keys, value, dropped_probs, probs = kept
            dcontext = tf.transpose(inputs[-1], [0, 2, 1, 3])
            dprobs = tf.matmul(dcontext, value, transpose_b=True)
            dscores = layers.softmax_backward(dprobs, dropped_probs, probs, factor, rate)
            parts = [
                tf.matmul(dscores, keys),
                tf.matmul(dscores, query, transpose_a=True),
                tf.matmul(dropped_probs, dcontext, transpose_a=True),
            ]
            return [tf.transpose(tf.stack(parts), [1, 3, 0, 2, 4])]

        inputs = qkv, attention_bias, draw
        context, sums = marked("attention", forward, inputs, **settings)

        def gradient(dcontext: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            inputs = qkv, attention_bias, draw, sums, context, dcontext
            return (*marked("attention_gradient", backward, inputs, **settings), None, None)

        return context, gradient

    out: tf.Tensor = apply(qkv, attention_bias, draw)
    return out


def _heads(qkv: tf.Tensor) -> list[tf.Tensor]:
    """Returns queries, keys and values, each [B, H, L, S]."""
    query, keys, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
    return [query, keys, value]
