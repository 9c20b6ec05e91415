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
    bias_corrections,
    running_means,
)


class AdamWeightDecay(Optimizer):
    """Adam with decoupled weight decay, by default without bias correction."""

    def update(self, index: int, gradient: Gradient) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the new values of a variable and its slots."""
        rule = self.rules[index]
        values: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = _update(
            *(self._variables[index], self.m[index], self.v[index]),
            gradient,
            bias_corrections(gradient.step, rule) if self.corrects_bias else None,
            rule,
        )
        return values


# Compiled by XLA into one sweep over memory; TensorFlow alone makes about ten.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _update(
    variable: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    gradient: Gradient,
    corrections: Sequence[tf.Tensor] | None,
    rule: UpdateRule,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    old = variable, m, v
    m, v = running_means(m, v, gradient.value * gradient.factor, rule)
    if corrections is None:
        update = m / (tf.sqrt(v) + rule.epsilon)
    else:
        update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * variable
    new = variable - gradient.rate * update, m, v
    return tuple(tf.where(gradient.usable, *pair) for pair in zip(new, old, strict=True))


OPTIMIZER = AdamWeightDecay
