"""The step of a run and its evaluation as programs for devices, kept for the next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from electra_zh.data import records
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining import metrics
from electra_zh.pretraining.folder import FREE
from electra_zh.pretraining.health import tensors
from electra_zh.pretraining.objectives.base import EVALUATION_STEP, Objective
from electra_zh.pretraining.programs.evaluation import BATCHES
from electra_zh.pretraining.state import TrainState, variables_by_name
from electra_zh.pretraining.step import PretrainStep
from electra_zh.runtime import lowering
from electra_zh.runtime.program import StepProgram

# Settings that the step does not depend on.
_OUTSIDE = {*FREE, "attention_start"} - {"gradient_accumulation_steps", "recompute"}


def lower_step(state: TrainState) -> StepProgram:
    """Returns the lowered step of a run's state, from the cache where it is there."""
    key = [*_key(state.objective), state.first_step]
    return lowering.cached(key, lambda: lower_uncached(state))


def _key(objective: Objective) -> list[Any]:
    values = objective.config.to_dict().items()
    return [{key: value for key, value in values if key not in _OUTSIDE}, list(objective.special)]


def lower_uncached(state: TrainState) -> StepProgram:
    """Returns the lowered step of a state, also of one with variables or a schedule of its own."""
    config = state.objective.config
    shape = (config.train_batch_size, config.max_seq_length)
    step, full_precision = PretrainStep(state), config.precision == "float32"
    nest: list[Any] = []
    state.optimizer.joins_small = False

    def differentiate(batch: Mapping[str, tf.Tensor]) -> Any:
        nest[:] = step.differentiate(step.draw(batch))
        return nest

    def update(flat: Mapping[str, tf.Tensor]) -> Any:
        return step.update(*tf.nest.pack_sequence_as(nest, list(flat.values())))

    first = lowering.lower(
        differentiate,
        dict.fromkeys(records.feature_names(words=config.needs_words), shape),
        state.variables,
        full_precision=full_precision,
    )
    between = {f"result_{number}": info for number, info in enumerate(first.sums)}
    then = lowering.lower(
        update,
        {name: info.shape for name, info in between.items()},
        state.variables,
        full_precision=full_precision,
        types={name: info.dtype for name, info in between.items()},
    )
    return first._replace(micro_batches=config.gradient_accumulation_steps, then=then)


def lower_evaluation(objective: Objective, batch_size: int) -> StepProgram:
    """Returns the lowered evaluation of a batch, from the cache where it is there.

    Its variables are the weights by their names in checkpoints, and the number of batches before.
    """
    key = ["evaluation", *_key(objective), batch_size]
    return lowering.cached(key, lambda: _lower_evaluation(objective, batch_size))


def lower_measures(objective: Objective, rows: int) -> StepProgram:
    """Returns the lowered `tensors.measured` of a batch, from the cache where it is there.

    Its variables are the weights by their names in checkpoints, its sums have the tensors' names.
    """
    key = ["measures", *_key(objective), rows]
    return lowering.cached(key, lambda: _lower_measures(objective, rows))


def _lower_measures(objective: Objective, rows: int) -> StepProgram:
    config, names = objective.config, list[str]()

    def compute(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = tensors.measured(objective, batch)
        names[:] = sorted(found)  # as tf.nest orders them
        return found

    features = records.feature_names(words=config.needs_words)
    program = lowering.lower(
        compute,
        dict.fromkeys(features, (rows, config.max_seq_length)),
        objective.variables,
        full_precision=config.precision == "float32",
    )
    sums = (info._replace(name=name) for info, name in zip(program.sums, names, strict=True))
    return _with_weight_names(program._replace(sums=tuple(sums)), objective)


def _lower_evaluation(objective: Objective, batch_size: int) -> StepProgram:
    config = objective.config
    before = tf.Variable(0, trainable=False, dtype=tf.int64, name=BATCHES)

    def evaluate(batch: Mapping[str, tf.Tensor]) -> metrics.EvaluationSums:
        step = EVALUATION_STEP + before.read_value()
        output = objective(batch, step=step, training=False)
        before.assign_add(1)
        return metrics.evaluation_sums(output, batch["input_mask"])

    features = records.feature_names(words=config.needs_words)
    program = lowering.lower(
        evaluate,
        dict.fromkeys(features, (batch_size, config.max_seq_length)),
        [*objective.variables, before],
        full_precision=config.precision == "float32",
    )
    return _with_weight_names(program, objective)


def _with_weight_names(program: StepProgram, objective: Objective) -> StepProgram:
    names = {variable_name(v.name): name for name, v in variables_by_name(objective).items()}
    return program.renamed({**names, BATCHES: BATCHES})
