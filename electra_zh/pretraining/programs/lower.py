"""The step of a run as a program for devices, kept for the next time."""

from __future__ import annotations

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
)


def lower_step(state: TrainState) -> StepProgram:
    """Returns the lowered step of a run's state, from the cache where it is there."""
    config = state.objective.config
    values = {key: value for key, value in config.to_dict().items() if key not in _OUTSIDE}
    key = [values, list(state.objective.special), state.first_step]
    return lowering.cached(key, lambda: _lower(state, config))


def _lower(state: TrainState, config: PretrainConfig) -> StepProgram:
    shape = (config.train_batch_size, config.max_seq_length)
    program = lowering.lower(
        PretrainStep(state).train_step,
        dict.fromkeys(records.feature_names(words=config.needs_words), shape),
        state.variables,
        full_precision=config.precision == "float32",
    )
    return program._replace(micro_batches=config.gradient_accumulation_steps)
