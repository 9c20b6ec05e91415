"""One step of pretraining: on the whole batch at once, or on parts of it.

Parts are computed one after the other to save memory (`gradient_accumulation_steps`), and side by
side on the cores of a CPU. Both give the numbers of the whole batch, but for rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from electra_zh.models.random import BatchPart, RandomKey
from electra_zh.models.recompute import recompute
from electra_zh.pretraining import metrics
from electra_zh.pretraining.metrics import StepSums, TrainingSums
from electra_zh.pretraining.objectives.base import Drawn
from electra_zh.pretraining.state import TrainState
from electra_zh.training import loop, side_by_side
from electra_zh.training.optimizers.base import add_in_order


class PretrainStep:
    """One step of pretraining, for the training loop."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._config = state.objective.config

    def __call__(self, batch: Mapping[str, tf.Tensor]) -> StepSums:
        """Masks, runs both networks, and updates the weights if the gradients are finite."""
        return self.update(*self.differentiate(self.draw(batch)))

    def compiled(self) -> Callable[[Mapping[str, tf.Tensor]], StepSums]:
        """Returns the step for TensorFlow's device, traced; on a CPU in parts side by side."""
        rows = self._config.train_batch_size // self._config.gradient_accumulation_steps
        parts = side_by_side.parts_of(rows)
        # Traced once for all parts.
        differentiate = tf.function(
            functools.partial(self.differentiate, parts=parts), autograph=False
        )

        def step_in_parts(batch: Mapping[str, tf.Tensor]) -> StepSums:
            drawn = self.draw(batch)
            found = [differentiate(drawn, tf.constant(number)) for number in range(parts)]
            sums, gradients = zip(*found, strict=True)
            total = TrainingSums._make(add_in_order(*sums))
            return self.update(
                total._replace(steps=tf.ones([])), self._state.optimizer.total(gradients)
            )

        step: Callable[[Mapping[str, tf.Tensor]], StepSums] = tf.function(
            self if parts == 1 else step_in_parts, jit_compile=loop.use_xla(), autograph=False
        )
        return step

    def draw(self, batch: Mapping[str, tf.Tensor]) -> Drawn:
        """Returns a batch with its masks and what else needs all of it."""
        return self._state.objective.draw(batch, key=self._key())

    def differentiate(
        self, drawn: Drawn, number: int | tf.Tensor = 0, *, parts: int = 1
    ) -> tuple[TrainingSums, list[tf.Tensor]]:
        """Runs the networks on part `number` of a batch; returns its sums and dense gradients."""
        accumulated = self._config.gradient_accumulation_steps
        part = BatchPart(number, parts, self._config.train_batch_size // parts)
        if accumulated > 1:
            return self._accumulate(drawn, part)
        sums, gradients = self._differentiate(drawn, part if parts > 1 else None)
        return sums, self._state.optimizer.dense(gradients)

    def update(self, sums: TrainingSums, gradients: Sequence[tf.Tensor]) -> StepSums:
        """Updates the weights if the gradients are finite, and returns the sums of the step."""
        return metrics.step_sums(sums, self._state.optimizer.apply(gradients))

    def _key(self) -> RandomKey:
        # Read once, not once for every stream of random numbers.
        step = tf.convert_to_tensor(self._state.optimizer.step)
        return RandomKey(self._config.seed, self._state.local_step(step))

    def _differentiate(
        self, drawn: Drawn, part: BatchPart | None
    ) -> tuple[TrainingSums, list[Any]]:
        """Returns the sums and the gradients of a batch, or of a part of it."""
        objective, key = self._state.objective, self._key()
        if part is not None:
            drawn, key = drawn.part(part), key._replace(part=part)
        with recompute(self._config.recompute), tf.GradientTape() as tape:
            output = objective.of_draws(drawn, key=key, training=True)
        gradients = tape.gradient(output.loss, objective.trainable_variables)
        return metrics.training_sums(output), gradients

    def _accumulate(self, drawn: Drawn, whole: BatchPart) -> tuple[TrainingSums, list[tf.Tensor]]:
        """Returns the sums and the gradients of a part, computed in parts one after the other.

        The losses of a part are divided by the counts of the whole batch, and its random numbers
        follow from its rows' places there. So the numbers are those of the whole batch.
        """
        optimizer, count = self._state.optimizer, self._config.gradient_accumulation_steps

        def add(
            index: tf.Tensor, sums: TrainingSums, gradients: list[tf.Tensor]
        ) -> tuple[Any, ...]:
            number = whole.number + whole.parts * index
            part = BatchPart(number, whole.parts * count, whole.rows // count)
            new_sums, new = self._differentiate(drawn, part)
            sums = tf.nest.map_structure(tf.add, sums, new_sums)
            return index + 1, sums, [*map(tf.add, gradients, optimizer.dense(new))]

        zeros = optimizer.dense([None] * len(self._state.objective.trainable_variables))
        _, sums, gradients = tf.while_loop(
            lambda index, *_: index < count,
            add,
            (tf.constant(0), metrics.zeros(TrainingSums), zeros),
            parallel_iterations=1,
        )
        return sums._replace(steps=tf.ones([])), gradients
