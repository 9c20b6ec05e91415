"""One step of pretraining: on the whole batch at once, or on parts of it one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from electra_zh.models.random import BatchPart, RandomKey
from electra_zh.models.recompute import recompute
from electra_zh.pretraining import metrics
from electra_zh.pretraining.metrics import StepSums, TrainingSums
from electra_zh.pretraining.objectives.base import Drawn
from electra_zh.pretraining.state import TrainState


class PretrainStep:
    """One step of pretraining, for the training loop."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._config = state.objective.config

    def zero_sums(self) -> StepSums:
        """Returns the sums before the first step."""
        count = len(metrics.NUMBERS)
        return StepSums(metrics.zero_training_sums(), tf.zeros([]), tf.zeros([count]))

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> StepSums:
        """Masks, runs both networks, and updates the weights if the gradients are finite."""
        return self.update(*self.differentiate(batch))

    def differentiate(self, batch: Mapping[str, tf.Tensor]) -> tuple[TrainingSums, list[Any]]:
        """Masks, runs both networks, and returns their sums and the gradients of the weights."""
        key = RandomKey(self._config.seed, self._state.local_step(self._state.optimizer.step))
        drawn = self._state.objective.draw(batch, key=key)
        if self._config.gradient_accumulation_steps == 1:
            return self._differentiate(drawn, key)
        return self._accumulate(drawn, key)

    def update(self, sums: TrainingSums, gradients: Sequence[Any]) -> StepSums:
        """Updates the weights if the gradients are finite, and returns the sums of the step."""
        return metrics.step_sums(sums, self._state.optimizer.apply(gradients))

    def _differentiate(self, drawn: Drawn, key: RandomKey) -> tuple[TrainingSums, list[Any]]:
        """Returns the sums and the gradients of a batch, or of a part of one."""
        objective = self._state.objective
        with recompute(self._config.recompute), tf.GradientTape() as tape:
            output = objective.of_draws(drawn, key=key, training=True)
        gradients = tape.gradient(output.loss, objective.trainable_variables)
        return metrics.training_sums(output), gradients

    def _accumulate(self, drawn: Drawn, key: RandomKey) -> tuple[TrainingSums, list[Any]]:
        """Returns the sums and the gradients of a batch, computed part by part.

        The losses of a part are divided by the counts of the whole batch, and its random numbers
        follow from its rows' places there. So the numbers are those of the whole batch.
        """
        optimizer, parts = self._state.optimizer, self._config.gradient_accumulation_steps
        rows = self._config.train_batch_size // parts

        def add(
            index: tf.Tensor, sums: TrainingSums, gradients: list[tf.Tensor]
        ) -> tuple[Any, ...]:
            part = BatchPart(index, parts, rows)
            new_sums, new = self._differentiate(drawn.part(part), key._replace(part=part))
            sums = tf.nest.map_structure(tf.add, sums, new_sums)
            return index + 1, sums, [*map(tf.add, gradients, optimizer.dense(new))]

        zeros = optimizer.dense([None] * len(self._state.objective.trainable_variables))
        _, sums, gradients = tf.while_loop(
            lambda index, *_: index < parts,
            add,
            (tf.constant(0), metrics.zero_training_sums(), zeros),
            parallel_iterations=1,
        )
        return sums._replace(steps=tf.ones([])), gradients
