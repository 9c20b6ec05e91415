"""The reference's Adam with decoupled weight decay.

The reference's Adam (model/optimization.py) differs from the textbook's: no bias correction,
epsilon outside the root, and the decay is added to the update before the learning rate multiplies.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from electra_zh.training.optimizers.base import Gradient, Optimizer, UpdateRule, moments


class AdamWeightDecay(Optimizer):
    """Adam without bias correction, with decoupled weight decay."""

    def update(self, index: int, gradient: Gradient) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the new values of a variable and its slots."""
        rule = self.rules[index]
        slots = self.m[index], self.v[index]
        values: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = _update(
            self._variables[index], *slots, gradient.value, gradient.factor, gradient.rate, rule
        )
        return values


# Compiled by XLA into one sweep over memory; TensorFlow alone makes about ten.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _update(
    variable: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    gradient: tf.Tensor,
    factor: tf.Tensor,
    rate: tf.Tensor,
    rule: UpdateRule,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    m, v = moments(m, v, gradient * factor, rule)
    update = m / (tf.sqrt(v) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * variable
    return variable - rate * update, m, v


OPTIMIZER = AdamWeightDecay
