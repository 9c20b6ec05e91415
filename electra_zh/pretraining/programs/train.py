"""Training of an exported step by JAX alone. TensorFlow is not imported."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from electra_zh import files, progress
from electra_zh.data import order, pipeline
from electra_zh.data.mixed_folders import DamageLog, Mix, open_sources
from electra_zh.errors import UsageError
from electra_zh.interrupts import RESUME, InterruptError, StopRequest
from electra_zh.pretraining import folder
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.reporter import Reporter, with_first_call_shown
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import StepProgram
from electra_zh.training import checkpoints, loop
from electra_zh.training.background import BackgroundStore
from electra_zh.training.logs import MetricsLog
from electra_zh.training.trackers import start as start_trackers

if TYPE_CHECKING:
    from electra_zh.runtime.pjrt import PjrtSteps

PROGRAM = "program"  # folder of the step in that of an exported run
STEP = "step"  # name of the number of updates among the variables


def train(request: PretrainRequest, overrides: Mapping[str, Any], device: Device) -> None:
    """Trains an exported run in --output, from its newest checkpoint to its last step.

    Raises:
      UsageError: settings that need TensorFlow.
      UserError: data or settings that are not the program's.
      InterruptError: a signal came before the last step; a checkpoint is saved.
    """
    assert request.program is not None
    for name in ("config", "init", "eval_data", "vocab", "debug_numerics"):
        if getattr(request, name):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} and --program exclude each other: the program has its run")
    for name in ("gradient_accumulation_steps", "recompute"):
        if name in overrides:
            raise UsageError(f"{name} is part of the program: give it to electra-zh export-step")
    program = load_program(request.program)
    # One that ended before its first checkpoint starts anew.
    output = request.output if folder.is_started(request.output) else request.program
    source = folder.resume(
        output, recipe=None, overrides=overrides, data=open_sources(request.folders())
    )
    run, here = source.moved_to(request.output), device.here
    here.wait("prepared")
    with here.locked(run.folder):
        training = _ProgramRun(run, program, device, request)
        newest = training.newest(source)
        if newest.step >= run.last_step:
            logging.info("The run in %s is finished: step %d.", run.folder, newest.step)
            return
        with StopRequest(here.any) as stop:
            if here.writes:
                run.save()
            last_step = training.run(newest, stop)
    if last_step < run.last_step:
        raise InterruptError(f"Saved at step {last_step} of {run.last_step}; {RESUME}")
    logging.info("Done: %d steps, checkpoints in %s", last_step, run.checkpoints)


def load_program(folder: str) -> StepProgram:
    """Returns the step of an exported run."""
    return StepProgram.load(files.join(folder, PROGRAM))


class _ProgramRun:
    """A run of an exported step in training."""

    def __init__(
        self, run: Run, program: StepProgram, device: Device, request: PretrainRequest
    ) -> None:
        self._run, self._config, self._program = run, run.config, program
        self._device, self._track, self._compiled = device, request.track, request.compiled
        self._damage = DamageLog() if request.skip_corrupt else None
        opening = functools.partial(
            pipeline.open_shards,
            max_seq_length=run.config.max_seq_length,
            words=run.config.needs_words,
            on_damage=self._damage,
        )
        self._mix = Mix(request.folders(), opening, seed=run.config.seed)
        self._store = BackgroundStore(
            run.checkpoints, keep=run.config.keep_checkpoint_max, writes=device.here.writes
        )

    def newest(self, source: Run) -> checkpoints.Checkpoint:
        """Returns the checkpoint to resume from: the run's, or the first of the exported run."""
        found = self._store.latest()
        return found or checkpoints.read(checkpoints.find(source.checkpoints))

    def run(self, newest: checkpoints.Checkpoint, stop: StopRequest) -> int:
        """Trains from a checkpoint to the last step, or to a signal, and saves there."""
        config, total, here = self._config, self._run.last_step, self._device.here
        steps, weights = self._steps(newest), set(newest.model)

        def save(step: int) -> None:
            self._save(step, steps.state(), weights, reporter.pending())

        logging.info("Device: %s. Step %d of %d.", self._device, newest.step, total)
        log = self._open_log(newest.step)
        show = progress.show if here.writes else progress.silent
        with (
            contextlib.closing(log),
            show("pretrain", total=total, unit="step", initial=newest.step) as bar,
        ):
            reporter = Reporter(config, log, bar, None, pending=newest.state.get("metrics"))
            last_step = loop.run(
                with_first_call_shown(
                    lambda count: StepSums.of_values(steps(count)),
                    is_compiled=steps.kept is not None,
                ),
                first_step=newest.step,
                last_step=total,
                actions=[
                    loop.Action(config.log_steps, reporter.log),
                    loop.Action(config.save_checkpoints_steps, save),
                ],
                on_call=reporter.add,
                stop=stop,
                steps_per_call=here.steps_per_call(config.iterations_per_loop),
            )
        logging.info("Waited %.1f s for data.", steps.waited)
        if last_step < total:
            save(last_step)
        self._store.wait()
        return last_step

    def _open_log(self, step: int) -> MetricsLog:
        here, run = self._device.here, self._run
        track = self._track if here.writes else ()
        return MetricsLog(
            run.folder,
            resume_step=step,
            context=self._context,
            trackers=start_trackers(track, run.folder, run.config.to_dict()),
            writes=here.writes,
        )

    def _save(
        self,
        step: int,
        found: dict[str, np.ndarray],
        weights: set[str],
        pending: Mapping[str, Any],
    ) -> None:
        """Saves the state, arrays by name; `weights` are the names of those of the networks.

        `pending` are sums of metrics that are not logged yet.
        """
        updates = int(found.pop(STEP))
        self._store.save(
            step,
            model={name: found[name] for name in found if name in weights},
            optimizer={name: found[name] for name in found if name not in weights},
            state={"optimizer_step": updates, "metrics": pending, **self._position(step)},
        )

    def _steps(self, newest: checkpoints.Checkpoint) -> PjrtSteps:
        """Returns the steps from a checkpoint on."""
        from electra_zh.runtime.pjrt import PjrtSteps

        config, state = self._config, newest.model | newest.optimizer
        state[STEP] = np.array(newest.state["optimizer_step"])
        for info in self._program.all_variables if newest.step == 0 else ():
            # The slots of an exported run.
            state.setdefault(info.name, np.zeros(info.shape, info.dtype))
        batches = pipeline.batches(
            self._mix.parts,
            pipeline.Reading(config.max_seq_length, config.needs_words, self._damage),
            batch_size=config.train_batch_size,
            seed=config.seed,
            start_example=newest.step * config.train_batch_size,
            share=self._device.here.share(config.train_batch_size),
        )
        return PjrtSteps(
            self._program,
            state,
            batches,
            devices=self._device.found,
            state_sharding=config.state_sharding,
            compiled=self._compiled,
        )

    def _context(self, step: int) -> dict[str, float]:
        return {"tokens": step * self._config.train_batch_size * self._config.max_seq_length}

    def _position(self, step: int) -> dict[str, Any]:
        read = step * self._config.train_batch_size
        data = {
            "fingerprint": self._run.data_fingerprint,
            "order": order.VERSION,
            **self._mix.position(read),
        }
        return {"settings": self._config.to_dict(), "data": data}
