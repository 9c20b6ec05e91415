"""A new run with its lowered steps, for a machine that has JAX but not TensorFlow."""

from __future__ import annotations

import tempfile

import numpy as np
from absl import logging

from electra_zh import locks
from electra_zh.data import order
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining import warm_start
from electra_zh.pretraining.health.measures import batch_rows
from electra_zh.pretraining.networks import of_objective
from electra_zh.pretraining.programs.exported import STEP, ExportedPhase
from electra_zh.pretraining.programs.lower import lower_evaluation, lower_measures, lower_step
from electra_zh.pretraining.running.data import PreparedPhase, evaluation_batches
from electra_zh.pretraining.running.driver import PreparedRun
from electra_zh.pretraining.state import TrainState, variables_by_name
from electra_zh.training.checkpoints import STARTS, CheckpointStore


def export_step(prepared: PreparedRun) -> None:
    """Writes the run's folder with its first checkpoint, and the programs of its phases."""
    run, size = prepared.run, 0
    with locks.locked(run.folder):  # it also removes what a killed process did not finish
        run.save()
    before: TrainState | None = None
    for part in prepared.phases:
        first_step = part.phase.first_step
        state = TrainState(part.phase.config, run.vocabulary, first_step=first_step)
        if before is None:
            _save_first(prepared, state)
        phase = _lower(state, part, {} if before is None else _fresh(prepared, part, before, state))
        phase.save(run.folder, part.phase.name)
        size += sum(each.size for each in phase.programs)
        before = state
    logging.info(
        "Exported the step to %s: %.1f MB%s. Train it with `electra-zh pretrain --program %s "
        "--data DIR --output RUN`, where TensorFlow is not needed.",
        run.folder,
        size / 1e6,
        "" if prepared.phases[0].eval_shards is None else ", with its evaluation",
        run.folder,
    )


def _lower(state: TrainState, part: PreparedPhase, fresh: dict[str, np.ndarray]) -> ExportedPhase:
    config, names = part.phase.config, {}
    for name, variable in state.tensors().items():
        names[variable_name(variable.name)] = name
    names[variable_name(state.optimizer.step.name)] = STEP
    names[variable_name(state.optimizer.starts.name)] = STARTS
    step, evaluation = lower_step(state).renamed(names), None
    rows = batch_rows(config, part.eval_shards or part.mix.shards)
    if part.eval_shards is not None:
        batches = evaluation_batches(config, part.eval_shards, max_batches=config.num_eval_steps)
        evaluation = lower_evaluation(state.objective, batches.batch_size)
    measures = lower_measures(state.objective, rows)
    return ExportedPhase(step, evaluation, measures, of_objective(config), fresh)


def _save_first(prepared: PreparedRun, state: TrainState) -> None:
    """Saves the checkpoint of step 0."""
    run = prepared.run
    if prepared.first_weights is not None:
        prepared.first_weights.assign(state)
    data = {"fingerprint": run.data_fingerprint, "order": order.VERSION, "examples_read": 0}
    store = CheckpointStore(run.checkpoints, keep=run.config.keep_checkpoint_max)
    # Without slots of the optimizer that are zeros: a third of the size to move.
    has_slots = run.init is not None and run.init.keep_optimizer
    store.save(
        0,
        model=variables_by_name(state.objective),
        optimizer=state.optimizer.state_tensors() if has_slots else {},
        state={**state.optimizer.progress(), "settings": run.config.to_dict(), "data": data},
    )


def _fresh(
    prepared: PreparedRun, part: PreparedPhase, before: TrainState, state: TrainState
) -> dict[str, np.ndarray]:
    """Returns the initial values of the weights that a phase does not take from the one before.

    They include a generator of another model, whose files the run need not see.
    """
    step, config = part.phase.first_step, part.phase.config
    with tempfile.TemporaryDirectory() as folder:
        run = prepared.run.moved_to(folder)
        run.save()
        before.save(CheckpointStore(run.checkpoints, keep=1), step, state={})
        taken = warm_start.carried_weights(run, part.phase, step).tensors
    weights = variables_by_name(state.objective)
    fresh = {name: value.numpy() for name, value in weights.items() if name not in taken}
    if config.foreign_generator is not None and before.objective.config.foreign_generator is None:
        fresh |= {name: value for name, value in taken.items() if not config.trains(name)}
    return fresh
