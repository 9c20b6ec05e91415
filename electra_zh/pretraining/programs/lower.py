"""The step of a run as a program for devices, kept for the next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from electra_zh.data import records
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.runtime import lowering
from electra_zh.runtime.program import StepProgram

# Settings that the step does not depend on.
_OUTSIDE = (
    *("eval_batch_size", "num_eval_steps", "save_checkpoints_steps", "keep_checkpoint_max"),
    *("log_steps", "iterations_per_loop", "attention_start", "state_sharding"),
    "device_memory_gb",
)


def lower_step(state: TrainState) -> StepProgram:
    """Returns the lowered step of a run's state, from the cache where it is there."""
    config = state.objective.config
    values = {key: value for key, value in config.to_dict().items() if key not in _OUTSIDE}
    key = [values, list(state.objective.special), state.first_step]
    return lowering.cached(key, lambda: _lower(state, config))


def _lower(state: TrainState, config: PretrainConfig) -> StepProgram:
    shape = (config.train_batch_size, config.max_seq_length)
    step, full_precision = PretrainStep(state), config.precision == "float32"
    nest: list[Any] = []
    state.optimizer.joins_small = False

    def differentiate(batch: Mapping[str, tf.Tensor]) -> Any:
        sums, gradients = step.differentiate(batch)
        nest[:] = sums, state.optimizer.dense(gradients)
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
