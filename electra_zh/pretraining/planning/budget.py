"""The steps of a new run that fit the hours of `budget_hours`, by its measured speed.

The steps and the warm-up of all phases are scaled by one factor. They become settings of the run,
so a resumed run has the same schedule and nothing is measured again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import logging

from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import phases as run_phases
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.planning import estimate, speed
from electra_zh.pretraining.planning.speed import Speed
from electra_zh.pretraining.running.data import PreparedPhase
from electra_zh.pretraining.running.driver import PreparedRun

# Fraction of the time that is planned; the rest is for what is not measured.
_PLANNED = 0.95
# Time of an evaluated sequence, relative to one in training.
_EVALUATION = 0.35
# Bytes per second to save checkpoints with, on a slow disk.
_SAVING = 100e6


def plan(prepared: PreparedRun) -> PreparedRun:
    """Returns a new run with the steps that fit its budget; without a budget, as it is.

    Raises:
      UsageError: the run has several processes.
      UserError: the time is too short for any step.
    """
    hours = prepared.run.config.budget_hours
    if not hours:
        return prepared
    if prepared.device.here.size > 1:
        raise UsageError(
            "budget_hours is for one process: several would measure and plan different steps. Give "
            "num_train_steps"
        )
    logging.info("Measuring the step, to plan %g hours.", hours)
    speeds = [speed.measure(prepared, part) for part in prepared.phases]
    factor = _factor(prepared, speeds)
    planned = [(part.phase.name, _scaled(part.phase.config, factor)) for part in prepared.phases]
    phases = run_phases.in_order(planned)
    for part, phase, measured in zip(prepared.phases, phases, speeds, strict=True):
        logging.info(
            "%s: a step takes %.3g s: %s steps (the recipe has %s), %s of them warm-up.",
            f"Phase {phase.name}" if phase.name else "Plan",
            measured.seconds,
            f"{phase.config.num_train_steps:,}",
            f"{part.phase.config.num_train_steps:,}",
            f"{phase.config.num_warmup_steps:,}",
        )
    run = dataclasses.replace(prepared.run, config=phases[0].config, phases=phases)
    pairs = zip(prepared.phases, phases, strict=True)
    return prepared._replace(run=run, phases=tuple(p._replace(phase=phase) for p, phase in pairs))


def _factor(prepared: PreparedRun, speeds: Sequence[Speed]) -> float:
    """Returns the factor of the steps of all phases."""
    hours = prepared.run.config.budget_hours
    preparation = sum(measured.preparation for measured in speeds)
    longest = max(measured.seconds for measured in speeds)
    left = _PLANNED * 3600 * hours - preparation
    needed = sum(
        part.phase.config.num_train_steps * (measured.seconds + _seconds_besides(part, measured))
        for part, measured in zip(prepared.phases, speeds, strict=True)
    )
    if left < longest:
        raise UserError(
            f"budget_hours {hours:g} is too short: starting takes {preparation:.0f} s, and a step "
            f"{longest:.2g} s. Raise it"
        )
    return left / needed


def _seconds_besides(part: PreparedPhase, measured: Speed) -> float:
    """Returns the seconds per step of evaluations and checkpoints."""
    config = part.phase.config
    seconds = estimate.checkpoint_bytes(estimate.count_parameters(config)) / _SAVING
    if part.eval_shards is not None:
        held_out = sum(shard.examples for shard in part.eval_shards)
        most = (config.num_eval_steps or held_out) * config.eval_batch_size
        evaluated = min(held_out, most) / config.train_batch_size
        seconds += _EVALUATION * measured.seconds * evaluated
    return seconds / config.save_checkpoints_steps


def _scaled(config: PretrainConfig, factor: float) -> PretrainConfig:
    """Returns the settings with scaled steps; the warm-up does not become longer."""
    steps = max(1, int(config.num_train_steps * factor))
    warm_up = round(config.num_warmup_steps * min(1.0, factor))
    return dataclasses.replace(config, num_train_steps=steps, num_warmup_steps=warm_up)
