"""The reference's Adam with decoupled weight decay.

The reference's Adam (model/optimization.py) differs from the textbook's: no bias correction,
epsilon outside the root, and the decay is added to the update before the learning rate multiplies.
"""

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


class AdamWeightDecay(Optimizer):
    """Adam with decoupled weight decay, by default without bias correction."""

    def update(self, old: Values, gradient: Gradient, rule: UpdateRule) -> Values:
        """Returns the new values."""
        corrections = bias_corrections(gradient.step, rule) if self.corrects_bias else None
        new: Values = _update(old, gradient, corrections, rule)
        return new


# Compiled by XLA into one sweep over memory; TensorFlow alone makes about ten.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _update(
    old: Values,
    gradient: Gradient,
    corrections: Sequence[tf.Tensor] | None,
    rule: UpdateRule,
) -> Values:
    m, v = running_means(old.m, old.v, gradient.value * gradient.factor, rule)
    if corrections is None:
        update = m / (tf.sqrt(v) + rule.epsilon)
    else:
        update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * old.variable
    new = old.variable - gradient.rate * update, m, v
    return Values(*(tf.where(gradient.usable, *pair) for pair in zip(new, old, strict=True)))


OPTIMIZER = AdamWeightDecay
