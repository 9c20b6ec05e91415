"""The reference's Adam with decoupled weight decay.

The reference's Adam (model/optimization.py) differs from the textbook's: no bias correction,
epsilon outside the root, and the decay is added to the update before the learning rate multiplies.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from electra_zh.training.optimizers.base import Optimizer, UpdateRule, VariableGroup


class AdamWeightDecay(Optimizer):
    """Adam with decoupled weight decay, by default without bias correction."""

    def update(
        self,
        group: VariableGroup,
        rates: Sequence[tf.Tensor],
        rule: UpdateRule,
        *,
        usable: tf.Tensor,
    ) -> None:
        """Updates variables, whose slots have their new values."""
        _update(group, rates, usable, rule)


# Compiled by XLA into one sweep over memory; TensorFlow alone makes about ten.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _update(
    group: VariableGroup, rates: Sequence[tf.Tensor], usable: tf.Tensor, rule: UpdateRule
) -> None:
    for variable, m, v, corrections, rate in zip(*group, rates, strict=True):
        if corrections is None:
            update = m / (tf.sqrt(v) + rule.epsilon)
        else:
            update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
        if rule.weight_decay:
            update += rule.weight_decay * variable
        variable.assign(tf.where(usable, variable - rate * update, variable), read_value=False)


OPTIMIZER = AdamWeightDecay
