"""LAMB, for large batches (You et al. 2020, algorithm 2)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from electra_zh.training.optimizers.base import (
    NOT_DECAYED,
    Gradient,
    Optimizer,
    UpdateRule,
    bias_corrections,
    running_means,
)


class Lamb(Optimizer):
    """LAMB with the identity as its scaling function.

    Unlike `AdamWeightDecay`, the moments are corrected for their bias towards zero, and the update
    of a variable, decay included, is scaled to the norm of the variable: every layer moves by the
    same fraction of itself. Variables without decay (layer norms, biases), variables of zeros and
    updates of zeros are not scaled.
    """

    corrects_bias = True

    def update(self, index: int, gradient: Gradient) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the new values of a variable and its slots."""
        variable, rate = self._variables[index], gradient.rate
        rule = self.rules[index]
        corrections = bias_corrections(gradient.step, rule)
        slots = self.m[index], self.v[index]
        update, m, v = _lamb_update(variable, *slots, gradient, corrections, rule)
        if not NOT_DECAYED.search(variable.name):
            old, moved = tf.nn.l2_loss(variable), tf.nn.l2_loss(update)
            has_ratio = tf.logical_and(old > 0, moved > 0)
            rate *= tf.sqrt(tf.where(has_ratio, old / tf.where(has_ratio, moved, 1.0), 1.0))
        return variable - rate * update, m, v


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _lamb_update(
    variable: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    gradient: Gradient,
    corrections: Sequence[tf.Tensor],
    rule: UpdateRule,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the update before the rate and the trust ratio, and the new slots."""
    old = tf.zeros_like(variable), m, v
    m, v = running_means(m, v, gradient.value * gradient.factor, rule)
    update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * variable
    return tuple(tf.where(gradient.usable, *pair) for pair in zip((update, m, v), old, strict=True))


OPTIMIZER = Lamb
