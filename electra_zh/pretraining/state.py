"""The training state of a run, its checkpoints, and a run's networks restored for use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining import phases
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.mask_tensors import SpecialIds
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import Objective
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import Checkpoint, CheckpointStore
from electra_zh.training.optimizers import optimizer_class
from electra_zh.training.optimizers.base import Moments


class TrainState(tf.Module):
    """The networks and the optimizer: everything that a checkpoint holds of a run.

    `first_step` is the number of the run's steps before its phase, which the schedule begins with.
    """

    def __init__(
        self, config: PretrainConfig, vocabulary: Vocabulary, *, first_step: int = 0
    ) -> None:
        super().__init__()
        self.first_step = first_step
        self.objective = build_objective(config, SpecialIds.of(vocabulary))
        variables = self.objective.trainable_variables
        self.optimizer = optimizer_class(config.optimizer)(
            variables,
            lambda step: phases.learning_rate(config, self.local_step(step)),
            weight_decay_rate=config.weight_decay_rate,
            moments=Moments(
                config.adam_beta_1,
                config.adam_beta_2,
                config.adam_epsilon,
                config.adam_bias_correction,
            ),
            rate_factors=_rate_factors(self.objective),
            compute_type=self.objective.compute_dtype,
        )

    def local_step(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the number of a step of the run within its phase."""
        return step - self.first_step if self.first_step else step

    def tensors(self) -> dict[str, tf.Variable]:
        """Returns the weights, and the slots of the optimizer, by their names in checkpoints."""
        return variables_by_name(self.objective) | self.optimizer.state_tensors()

    def save(self, store: CheckpointStore, step: int, *, state: Mapping[str, Any]) -> None:
        """Saves the checkpoint of `step`; `state` is added to state.json."""
        store.save(
            step,
            model=variables_by_name(self.objective),
            optimizer=self.optimizer.state_tensors(),
            state={**self.optimizer.progress(), **state},
        )

    def assign(self, found: Checkpoint, *, where: str) -> None:
        """Assigns the weights, the slots, the step and the starts of the checkpoint `where`."""
        variables = variables_by_name(self.objective)
        if found.optimizer or found.step:
            variables |= self.optimizer.state_tensors()
        checkpoints.assign(variables, found.model | found.optimizer, where=where)
        self.optimizer.step.assign(found.state["optimizer_step"])
        self.optimizer.set_starts(found.state.get(checkpoints.STARTS, {}))


def _rate_factors(objective: Objective) -> list[float] | None:
    """Returns the factors of the learning rates of trained weights; None for one rate."""
    config = objective.config
    if not config.generator_learning_rate:
        return None
    factor = config.generator_learning_rate / config.learning_rate
    variables = objective.trainable_variables
    return [factor if objective.is_generators(value) else 1.0 for value in variables]


def variables_by_name(objective: Objective) -> dict[str, tf.Variable]:
    """Returns the weights of a run's networks by the names that checkpoints have for them.

    Weights that are not trained are among them.
    """
    return {variable_name(value.name): value for value in objective.variables}


def restore_objective(run: Run, *, checkpoint: int | None = None) -> Objective:
    """Returns a run's networks with the weights of its newest checkpoint, or of a step.

    The run has the settings of the phase of that checkpoint (`folder.load`).
    """
    path = checkpoints.find(run.checkpoints, step=checkpoint)
    objective = build_objective(run.config, SpecialIds.of(run.vocabulary))
    weights = checkpoints.read(path, optimizer=False).model
    checkpoints.assign(variables_by_name(objective), weights, where=path)
    return objective
