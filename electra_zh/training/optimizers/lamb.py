"""LAMB, for large batches (You et al. 2020, algorithm 2)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from electra_zh.training.optimizers.base import Optimizer, UpdateRule, VariableGroup


class Lamb(Optimizer):
    """LAMB with the identity as its scaling function.

    Unlike `AdamWeightDecay`, the moments are corrected for their bias towards zero, and the update
    of a variable, decay included, is scaled to the norm of the variable: every layer moves by the
    same fraction of itself. Variables without decay (layer norms, biases), variables of zeros and
    updates of zeros are not scaled.
    """

    always_corrects = True

    def update(
        self,
        group: VariableGroup,
        rates: Sequence[tf.Tensor],
        rule: UpdateRule,
        *,
        usable: tf.Tensor,
    ) -> None:
        """Updates variables, whose slots have their new values."""
        updates = _updates(group, usable, rule)
        for variable, update, rate in zip(group.variables, updates, rates, strict=True):
            if rule.is_decayed:
                norm, moved = tf.nn.l2_loss(variable), tf.nn.l2_loss(update)
                has_ratio = tf.logical_and(norm > 0, moved > 0)
                ratio = tf.where(has_ratio, norm / tf.where(has_ratio, moved, 1.0), 1.0)
                rate *= tf.sqrt(ratio)
            variable.assign(variable - rate * update, read_value=False)


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _updates(group: VariableGroup, usable: tf.Tensor, rule: UpdateRule) -> list[tf.Tensor]:
    """Returns the updates before the rates and the trust ratios; zeros if not `usable`."""
    updates = []
    for variable, m, v, corrections in zip(*group, strict=True):
        update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
        if rule.weight_decay:
            update += rule.weight_decay * variable
        updates.append(tf.where(usable, update, 0.0))
    return updates


OPTIMIZER = Lamb
