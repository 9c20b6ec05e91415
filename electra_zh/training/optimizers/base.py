"""The base of optimizers: slots, clip by global norm, schedule, and the rule of weight decay."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from electra_zh.training.checkpoints import STARTS

# Variables whose names match are not decayed (`output_bias` among them; embeddings are decayed).
NOT_DECAYED = re.compile("LayerNorm|layer_norm|bias")
# The highest norm of the gradients of all variables together; larger ones are scaled down to it.
_CLIP_NORM = 1.0


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


class VariableGroup(NamedTuple):
    """Variables that are updated together and what their updates depend on, in one order."""

    variables: list[tf.Variable]
    m: list[tf.Variable]  # running means of gradients
    v: list[tf.Variable]  # running means of squared gradients
    # the two numbers that the means are divided by, as pairs; None without bias correction
    corrections: list[Any]


class Optimizer(tf.Module):
    """An optimizer with two slots per variable and a clip by global norm.

    A resumed run needs `progress` and `state_tensors`.
    """

    always_corrects = False  # whatever the setting of bias correction

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        schedule: Callable[[tf.Tensor], tf.Tensor],
        *,
        weight_decay_rate: float = 0.01,
        moments: Moments = REFERENCE,
        rate_factors: Sequence[float] | None = None,
        compute_type: tf.DType = tf.float32,
    ) -> None:
        """Makes the slots, zeros of the shapes of the variables.

        `schedule` gives the learning rate of update k, counted from 1; a variable's rate is that
        times its factor, by default 1. `NOT_DECAYED` names the variables without weight decay.
        `compute_type` is that of an optimizer's products of matrices.
        """
        super().__init__()
        self.compute_type = compute_type
        self._variables = list(variables)
        self._names = [variable.name.partition(":")[0] for variable in self._variables]
        self._schedule = schedule
        self.corrects_bias = self.always_corrects or moments.bias_correction
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
        # The step at which the slots of each variable were zeros, by the order of the names. It is
        # negative for slots of another run.
        zeros = tf.zeros([len(self._variables)], tf.int64)
        self.starts = tf.Variable(zeros, trainable=False, name=STARTS)
        self.m = [_slot(variable, "adam_m") for variable in self._variables]
        self.v = [_slot(variable, "adam_v") for variable in self._variables]

    def state_tensors(self) -> dict[str, tf.Variable]:
        """Returns the slots by name: `m/NAME` and `v/NAME` of the variable NAME."""
        slots = {"m": self.m, "v": self.v}
        return {
            f"{slot}/{name}": value
            for slot, values in slots.items()
            for name, value in zip(self._names, values, strict=True)
        }

    def progress(self) -> dict[str, Any]:
        """Returns plain values for state.json: the updates done, and the starts that are not 0."""
        found = zip(sorted(self._names), self.starts.numpy().tolist(), strict=True)
        starts = {name: start for name, start in found if start}
        return {"optimizer_step": int(self.step), **({STARTS: starts} if starts else {})}

    def set_starts(self, starts: Mapping[str, int]) -> None:
        """Sets the step at which the slots of each variable were zeros; 0 for other names."""
        self.starts.assign([starts.get(name, 0) for name in sorted(self._names)])

    def reset(self) -> None:
        """Sets the step and the slots to zero, as in a new optimizer."""
        for variable in (self.step, self.starts, *self.m, *self.v):
            variable.assign(tf.zeros_like(variable))

    def dense(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> list[tf.Tensor]:
        """Returns gradients as dense tensors: zeros for None, repeated rows summed."""
        return [
            tf.zeros_like(variable)
            if gradient is None
            else tf.ensure_shape(tf.convert_to_tensor(gradient), variable.shape)
            for variable, gradient in zip(self._variables, gradients, strict=True)
        ]

    def total(
        self, parts: Sequence[Sequence[tf.Tensor | tf.IndexedSlices | None]]
    ) -> list[tf.Tensor]:
        """Returns dense sums of gradients over the parts of a batch, in their order."""
        if len(parts) == 1:
            return self.dense(parts[0])
        found = list(zip(*parts, strict=True))
        totals = [_with_rows_of_all(each) for each in found]
        for group in self._groups():
            dense = [index for index in group if isinstance(totals[index], tf.Tensor)]
            if dense:
                added = add_in_order(*([each[index] for index in dense] for each in parts))
                for index, value in zip(dense, added, strict=True):
                    totals[index] = value
        return self.dense(totals)

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
        factor = _CLIP_NORM / tf.maximum(norm, _CLIP_NORM)
        usable = tf.math.is_finite(norm)
        step = self.step.assign_add(1, read_value=True)
        rate = self._schedule(step)
        corrections = self._corrections(step)
        for members in self._groups():
            variables, m, v, corrected, gradients = (
                [each[index] for index in members]
                for each in (self._variables, self.m, self.v, corrections, dense)
            )
            rule = self.rules[members[0]]
            _update_means(m, v, gradients, factor, usable, rule)
            rates = [rate * self._rate_factors[index] for index in members]
            self.update(VariableGroup(variables, m, v, corrected), rates, rule, usable=usable)
        return norm

    def update(
        self,
        group: VariableGroup,
        rates: Sequence[tf.Tensor],
        rule: UpdateRule,
        *,
        usable: tf.Tensor,
    ) -> None:
        """Updates variables, whose slots have their new values, by their learning rates.

        If `usable`, a bool scalar, is False, they stay as they are. A compiled kernel chooses
        between old and new values: one more sweep over memory would cost time.
        """
        raise NotImplementedError

    def _corrections(self, step: tf.Tensor) -> list[Any]:
        """Returns 1 - beta^n of both means of each variable, which have had n updates by `step`."""
        if not self.corrects_bias:
            return [None] * len(self._variables)
        numbers = tf.cast(step - self.starts, tf.float32)
        # Without the digits that the subtraction would lose at the first steps.
        both = (
            tf.unstack(-tf.math.expm1(numbers * math.log(beta)) if beta else tf.ones_like(numbers))
            for beta in (self.rules[0].beta_1, self.rules[0].beta_2)
        )
        found = dict(zip(sorted(self._names), zip(*both, strict=True), strict=True))
        return [found[name] for name in self._names]

    def _groups(self) -> list[list[int]]:
        """Returns the numbers of the variables that are updated together.

        The many small ones, biases and layer norms, are one: their kernels start together.
        """
        numbers = range(len(self.rules))
        if not self.joins_small:
            return [[number] for number in numbers]
        small = [number for number in numbers if not self.rules[number].is_decayed]
        return [*([small] if small else []), *([n] for n in numbers if self.rules[n].is_decayed)]


def _slot(variable: tf.Variable, name: str) -> tf.Variable:
    path = variable.name.partition(":")[0]
    return tf.Variable(tf.zeros(variable.shape), trainable=False, name=f"{path}/{name}")


def _with_rows_of_all(found: Sequence[Any]) -> Any:
    """Returns the first of a variable's gradients; the rows of all if they are sparse."""
    if not isinstance(found[0], tf.IndexedSlices):
        return found[0]
    values = tf.concat([each.values for each in found], 0)
    indices = tf.concat([each.indices for each in found], 0)
    return tf.IndexedSlices(values, indices, found[0].dense_shape)


# Compiled: Grappler would join these additions with those of the derivatives to sums of many terms,
# which have no fixed order.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def add_in_order(first: Sequence[tf.Tensor], *others: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the sums of tensors over parts, from the first to the last."""
    return [functools.reduce(tf.add, each) for each in zip(first, *others, strict=True)]


# In place, and apart from the kernels that update the variables: XLA would compute the means again
# in those, and copy the slots first.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _update_means(
    means: Sequence[tf.Variable],
    squares: Sequence[tf.Variable],
    gradients: Sequence[tf.Tensor],
    factor: tf.Tensor,
    usable: tf.Tensor,
    rule: UpdateRule,
) -> None:
    """Updates the running means of gradients times `factor`, and of their squares."""
    for m, v, gradient in zip(means, squares, gradients, strict=True):
        value = gradient * factor
        new_m = rule.beta_1 * m + (1.0 - rule.beta_1) * value
        new_v = rule.beta_2 * v + (1.0 - rule.beta_2) * tf.square(value)
        m.assign(tf.where(usable, new_m, m), read_value=False)
        v.assign(tf.where(usable, new_v, v), read_value=False)
