"""LAMB, for large batches (You et al. 2020, algorithm 2)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from electra_zh.training.optimizers.base import (
    Gradient,
    Optimizer,
    UpdateRule,
    Values,
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

    def update(self, old: Values, gradient: Gradient, rule: UpdateRule) -> Values:
        """Returns the new values."""
        rate = gradient.rate
        corrections = bias_corrections(gradient.step, rule)
        update, m, v = _lamb_update(old, gradient, corrections, rule)
        if rule.is_decayed:
            norm, moved = tf.nn.l2_loss(old.variable), tf.nn.l2_loss(update)
            has_ratio = tf.logical_and(norm > 0, moved > 0)
            rate *= tf.sqrt(tf.where(has_ratio, norm / tf.where(has_ratio, moved, 1.0), 1.0))
        return Values(old.variable - rate * update, m, v)


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _lamb_update(
    old: Values,
    gradient: Gradient,
    corrections: Sequence[tf.Tensor],
    rule: UpdateRule,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the update before the rate and the trust ratio, and the new slots."""
    kept = tf.zeros_like(old.variable), old.m, old.v
    m, v = running_means(old.m, old.v, gradient.value * gradient.factor, rule)
    update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * old.variable
    return tuple(
        tf.where(gradient.usable, *pair) for pair in zip((update, m, v), kept, strict=True)
    )


OPTIMIZER = Lamb
