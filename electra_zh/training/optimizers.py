"""The reference's Adam with decoupled weight decay, and LAMB for large batches.

The reference's Adam (model/optimization.py) differs from the textbook's: no bias correction,
epsilon outside the root, and the decay is added to the update before the learning rate multiplies.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

# Variables whose names match are not decayed (`output_bias` among them; embeddings are decayed).
NOT_DECAYED = re.compile("LayerNorm|layer_norm|bias")


class UpdateRule(NamedTuple):
    """Numbers of the update of one variable, constants of its compiled kernel.

    Attributes:
      beta_1: decay of the mean of gradients.
      beta_2: decay of the mean of squared gradients.
      epsilon: added to the root of the latter.
      weight_decay: rate of the decoupled weight decay; 0 for none.
    """

    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float


class AdamWeightDecay(tf.Module):
    """Adam without bias correction, with decoupled weight decay and a clip by global norm.

    What a resumed run needs is `step` (updates done) and `state_tensors`.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        schedule: Callable[[tf.Tensor], tf.Tensor],
        *,
        weight_decay_rate: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        clip_norm: float = 1.0,
        rate_factors: Sequence[float] | None = None,
    ) -> None:
        """Makes the slots.

        Args:
          variables: what to train; each gets two slots of its shape, zero at the start.
          schedule: the learning rate of update k, counted from 1.
          weight_decay_rate: for variables whose names do not match `NOT_DECAYED`.
          beta_1: decay of the mean of gradients.
          beta_2: decay of the mean of squared gradients.
          epsilon: added to the root of the latter.
          clip_norm: the gradients of all variables together are scaled to at most this norm.
          rate_factors: for each variable, what its rate is multiplied by; all 1 unless given.
        """
        super().__init__()
        self._variables = list(variables)
        self._schedule = schedule
        self._clip_norm = clip_norm
        self._rate_factors = list(rate_factors or [1.0] * len(self._variables))
        assert len(self._rate_factors) == len(self._variables)
        self._rules = [
            UpdateRule(
                beta_1,
                beta_2,
                epsilon,
                0.0 if NOT_DECAYED.search(variable.name) else weight_decay_rate,
            )
            for variable in self._variables
        ]
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.m = [_slot(variable, "adam_m") for variable in self._variables]
        self.v = [_slot(variable, "adam_v") for variable in self._variables]

    def state_tensors(self) -> dict[str, tf.Variable]:
        """Returns the slots by name: `m/NAME` and `v/NAME` of the variable NAME."""
        slots = {"m": self.m, "v": self.v}
        return {
            f"{slot}/{variable.name.partition(':')[0]}": value
            for slot, values in slots.items()
            for variable, value in zip(self._variables, values, strict=True)
        }

    def reset(self) -> None:
        """Sets the step and the slots to zero, as in a new optimizer."""
        for variable in (self.step, *self.m, *self.v):
            variable.assign(tf.zeros_like(variable))

    def apply(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> tf.Tensor:
        """Does one update and returns the global norm of the gradients before the clip.

        Args:
          gradients: one for each variable, in their order; None counts as zero. Sparse ones are
            summed over repeated rows first.
        """
        dense = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for variable, gradient in zip(self._variables, gradients, strict=True)
        ]
        # Not tf.linalg.global_norm: its AddN of many terms does not fix their order.
        squares = tf.stack([tf.nn.l2_loss(gradient) for gradient in dense])
        norm = tf.sqrt(2.0 * tf.reduce_sum(squares))
        # As tf.clip_by_global_norm; one factor for all, so that no gradient is written again.
        factor = self._clip_norm / tf.maximum(norm, self._clip_norm)
        step = self.step.assign_add(1, read_value=True)
        rate = self._schedule(step)
        for index, (gradient, rate_factor) in enumerate(
            zip(dense, self._rate_factors, strict=True)
        ):
            values = self._new_values(index, gradient, factor, step, rate * rate_factor)
            variables = self._variables[index], self.m[index], self.v[index]
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value, read_value=False)
        return norm

    def _new_values(
        self,
        index: int,
        gradient: tf.Tensor,
        factor: tf.Tensor,
        step: tf.Tensor,
        rate: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns what a variable and its slots become.

        Args:
          index: of the variable.
          gradient: as it was given, dense.
          factor: the clip's, for the gradient.
          step: the number of the update.
          rate: the variable's own.
        """
        rule = self._rules[index]
        slots = self.m[index], self.v[index]
        values: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = _update(
            self._variables[index], *slots, gradient, factor, rate, rule
        )
        return values


class Lamb(AdamWeightDecay):
    """LAMB (You et al. 2020, algorithm 2, with the identity as its scaling function).

    Against `AdamWeightDecay`: the moments are corrected for their bias towards zero, and the update
    of a variable, decay included, is scaled to the norm of the variable, so that every layer moves
    by the same share of itself. What is never decayed (layer norms, biases) is not scaled either;
    nor is a variable of zeros, or an update of zeros. Clip, schedule and slots are the same.
    """

    def _new_values(
        self,
        index: int,
        gradient: tf.Tensor,
        factor: tf.Tensor,
        step: tf.Tensor,
        rate: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        variable = self._variables[index]
        number = tf.cast(step, tf.float32)
        rule = self._rules[index]
        # 1 - beta^step, without the digits that the subtraction would lose at the first steps.
        corrections = [-tf.math.expm1(number * math.log(b)) for b in (rule.beta_1, rule.beta_2)]
        slots = self.m[index], self.v[index]
        update, m, v = _lamb_update(variable, *slots, gradient, factor, corrections, rule)
        if not NOT_DECAYED.search(variable.name):
            old, moved = tf.nn.l2_loss(variable), tf.nn.l2_loss(update)
            has_ratio = tf.logical_and(old > 0, moved > 0)
            rate *= tf.sqrt(tf.where(has_ratio, old / tf.where(has_ratio, moved, 1.0), 1.0))
        return variable - rate * update, m, v


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    path = variable.name.partition(":")[0]
    return tf.Variable(tf.zeros(variable.shape), trainable=False, name=f"{path}/{name}")


def _moments(
    m: tf.Tensor, v: tf.Tensor, gradient: tf.Tensor, rule: UpdateRule
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the running means of the gradient and of its square."""
    m = rule.beta_1 * m + (1.0 - rule.beta_1) * gradient
    v = rule.beta_2 * v + (1.0 - rule.beta_2) * tf.square(gradient)
    return m, v


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
    m, v = _moments(m, v, gradient * factor, rule)
    update = m / (tf.sqrt(v) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * variable
    return variable - rate * update, m, v


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _lamb_update(
    variable: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    gradient: tf.Tensor,
    factor: tf.Tensor,
    corrections: Sequence[tf.Tensor],
    rule: UpdateRule,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the update before the rate and the trust ratio, and the new slots."""
    m, v = _moments(m, v, gradient * factor, rule)
    update = (m / corrections[0]) / (tf.sqrt(v / corrections[1]) + rule.epsilon)
    if rule.weight_decay:
        update += rule.weight_decay * variable
    return update, m, v


def layerwise_factors(
    names: Sequence[str], *, num_hidden_layers: int, decay: float, top_layer_decay: int = 2
) -> list[float]:
    """Returns what each variable's learning rate is multiplied by (reference: optimization.py).

    The depth of the embeddings and their projection is 0, that of layer i is i + 1; the factor is
    decay to the power of n - depth + `top_layer_decay`, and 1 for everything outside the encoder.

    Parity: the reference's top layer gets decay squared (`top_layer_decay` 2); published scores
    were made so. 1 is what the paper describes.

    Args:
      names: of the variables; the encoder's begin with `encoder/`.
      num_hidden_layers: n.
      decay: the rate of a layer is so many times that of the layer above.
      top_layer_decay: the exponent of the top layer.
    """
    factors = []
    for name in names:
        match = re.match(r"encoder/(?:layers/(\d+)/)?", name)
        if match is None:
            factors.append(1.0)
            continue
        depth = 0 if match[1] is None else int(match[1]) + 1
        factors.append(decay ** (num_hidden_layers - depth + top_layer_decay))
    return factors
