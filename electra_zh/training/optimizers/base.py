"""The base of optimizers: slots, clip by global norm, schedule, and the rule of weight decay."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Variables whose names match are not decayed (`output_bias` among them; embeddings are decayed).
NOT_DECAYED = re.compile("LayerNorm|layer_norm|bias")


class Moments(NamedTuple):
    """Settings of the running means of gradients; by default the reference's."""

    beta_1: float = 0.9  # decay of the mean of gradients
    beta_2: float = 0.999  # decay of the mean of squared gradients
    epsilon: float = 1e-6  # added to the root of the latter
    # divide the means by what is missing for their start at 0; LAMB always does
    bias_correction: bool = False


REFERENCE = Moments()


class UpdateRule(NamedTuple):
    """Numbers of the update of one variable, constants of its compiled kernel."""

    beta_1: float  # decay of the mean of gradients
    beta_2: float  # decay of the mean of squared gradients
    epsilon: float  # added to the root of the latter
    weight_decay: float  # rate of the decoupled weight decay; 0 for none
    is_decayed: bool  # False for biases and layer norms


class Values(NamedTuple):
    """A variable and its slots, of one shape; or those of several variables, one after the other.

    Several variables are flat, and none of them is decayed.
    """

    variable: tf.Tensor
    m: tf.Tensor  # running mean of gradients
    v: tf.Tensor  # running mean of squared gradients


class Gradient(NamedTuple):
    """The gradient of `Values`, dense and not yet clipped, and its update's numbers."""

    value: tf.Tensor
    factor: tf.Tensor  # factor of the value, by the clip
    step: tf.Tensor  # number of the update
    rate: tf.Tensor  # learning rate, a scalar or of the shape of the value
    usable: tf.Tensor  # bool scalar; False keeps the variable and its slots


class Optimizer(tf.Module):
    """An optimizer with two slots per variable and a clip by global norm.

    A resumed run needs `step` (updates done) and `state_tensors`.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        schedule: Callable[[tf.Tensor], tf.Tensor],
        *,
        weight_decay_rate: float = 0.01,
        moments: Moments = REFERENCE,
        clip_norm: float = 1.0,
        rate_factors: Sequence[float] | None = None,
    ) -> None:
        """Makes the slots, zeros of the shapes of the variables.

        `schedule` gives the learning rate of update k, counted from 1; a variable's rate is that
        times its factor, by default 1. The gradients of all variables together are scaled to a norm
        of at most `clip_norm`. `NOT_DECAYED` names the variables without weight decay.
        """
        super().__init__()
        self._variables = list(variables)
        self._schedule = schedule
        self._clip_norm = clip_norm
        self.corrects_bias = moments.bias_correction
        self._rate_factors = list(rate_factors or [1.0] * len(self._variables))
        assert len(self._rate_factors) == len(self._variables)
        self.rules = [
            UpdateRule(
                moments.beta_1,
                moments.beta_2,
                moments.epsilon,
                weight_decay_rate if is_decayed else 0.0,
                is_decayed,
            )
            for is_decayed in (not NOT_DECAYED.search(each.name) for each in self._variables)
        ]
        # Updates the small variables together. Off where devices split each of them.
        self.joins_small = True
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

    def dense(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> list[tf.Tensor]:
        """Returns gradients as dense tensors: zeros for None, repeated rows summed."""
        return [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for variable, gradient in zip(self._variables, gradients, strict=True)
        ]

    def apply(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> tf.Tensor:
        """Does one update and returns the global norm of the gradients before the clip.

        There is one gradient for each variable, in their order. None counts as zero. Sparse ones
        are summed over repeated rows first. Where the norm is NaN or infinite, variables and slots
        stay as they are, and only the step is counted.
        """
        dense = self.dense(gradients)
        # Not tf.linalg.global_norm: its AddN of many terms does not fix their order.
        squares = tf.stack([tf.nn.l2_loss(gradient) for gradient in dense])
        norm = tf.sqrt(2.0 * tf.reduce_sum(squares))
        # As tf.clip_by_global_norm; one factor for all, so that no gradient is written again.
        factor = self._clip_norm / tf.maximum(norm, self._clip_norm)
        usable = tf.math.is_finite(norm)
        step = self.step.assign_add(1, read_value=True)
        rate = self._schedule(step)
        for group in self._groups():
            value = _joined([dense[index] for index in group])
            numbers = Gradient(value, factor, step, rate * self._factors(group), usable)
            slots = self._variables, self.m, self.v
            old = Values(*(_joined([slot[index] for index in group]) for slot in slots))
            new = self.update(old, numbers, self.rules[group[0]])
            for slot, joined in zip(slots, new, strict=True):
                self._assign([slot[index] for index in group], joined)
        return norm

    def update(self, old: Values, gradient: Gradient, rule: UpdateRule) -> Values:
        """Returns the new values.

        A compiled kernel chooses between old and new values (`usable`): one more sweep over memory
        would cost time.
        """
        raise NotImplementedError

    def _groups(self) -> list[list[int]]:
        """Returns the numbers of the variables that are updated together.

        The many small ones, biases and layer norms, are one: each kernel takes 0.1 ms to start.
        """
        numbers = range(len(self.rules))
        if not self.joins_small:
            return [[number] for number in numbers]
        small = [number for number in numbers if not self.rules[number].is_decayed]
        return [*([small] if small else []), *([n] for n in numbers if self.rules[n].is_decayed)]

    def _factors(self, group: Sequence[int]) -> float | np.ndarray:
        """Returns the factor of the learning rate of a group, or those of its numbers."""
        factors = [self._rate_factors[index] for index in group]
        if len(set(factors)) == 1:
            return factors[0]
        sizes = [self._variables[index].shape.num_elements() for index in group]
        return np.repeat(np.array(factors, np.float32), sizes)

    @staticmethod
    def _assign(variables: Sequence[tf.Variable], joined: tf.Tensor) -> None:
        """Assigns their parts of `joined` to variables."""
        if len(variables) == 1:
            variables[0].assign(joined, read_value=False)
            return
        sizes = [variable.shape.num_elements() for variable in variables]
        for variable, part in zip(variables, tf.split(joined, sizes), strict=True):
            variable.assign(tf.reshape(part, variable.shape), read_value=False)


def _joined(values: Sequence[tf.Tensor | tf.Variable]) -> tf.Tensor:
    """Returns one value, or the numbers of several one after the other."""
    if len(values) == 1:
        return tf.convert_to_tensor(values[0])
    return tf.concat([tf.reshape(value, [-1]) for value in values], 0)


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    path = variable.name.partition(":")[0]
    return tf.Variable(tf.zeros(variable.shape), trainable=False, name=f"{path}/{name}")


def running_means(
    m: tf.Tensor, v: tf.Tensor, gradient: tf.Tensor, rule: UpdateRule
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the running means of the gradient and of its square."""
    m = rule.beta_1 * m + (1.0 - rule.beta_1) * gradient
    v = rule.beta_2 * v + (1.0 - rule.beta_2) * tf.square(gradient)
    return m, v


def bias_corrections(step: tf.Tensor, rule: UpdateRule) -> list[tf.Tensor]:
    """Returns 1 - beta^step of both means, which start at 0."""
    number = tf.cast(step, tf.float32)
    # Without the digits that the subtraction would lose at the first steps.
    return [
        -tf.math.expm1(number * math.log(beta)) if beta else tf.ones([])
        for beta in (rule.beta_1, rule.beta_2)
    ]
