"""Training of exported steps by JAX alone. TensorFlow is not imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from electra_zh.data import pipeline
from electra_zh.data.mixed_folders import DamageLog, open_sources
from electra_zh.errors import UsageError, UserError, few
from electra_zh.pretraining import folder, warm_start
from electra_zh.pretraining.health.measures import batch_rows, make_measure
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.phases import compiled_folder
from electra_zh.pretraining.programs.evaluation import DeviceEvaluation
from electra_zh.pretraining.programs.exported import STEP, ExportedPhase
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.running import driver
from electra_zh.pretraining.running.data import (
    PreparedPhase,
    evaluation_batches,
    open_phases,
    with_data,
)
from electra_zh.pretraining.running.driver import PreparedRun, check_batches
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import StepProgram
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import STARTS, Checkpoint, CheckpointStore

if TYPE_CHECKING:
    from electra_zh.runtime.pjrt import PjrtSteps

# Settings that the program has.
_LOWERED = ("gradient_accumulation_steps", "recompute", "eval_batch_size")


def prepare(request: PretrainRequest, overrides: Mapping[str, Any], device: Device) -> PreparedRun:
    """Checks that data, settings and --output match an exported run; writes nothing.

    Raises:
      UsageError: settings that the program has.
      UserError: data or settings that are not the program's.
    """
    assert request.program is not None
    for name in ("config", "init", "generator", "vocab", "debug_numerics"):
        if getattr(request, name):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} and --program exclude each other: the program has its run")
    for name in _LOWERED:
        if name in {key.rpartition(".")[2] for key in overrides}:
            raise UsageError(f"{name} is part of the program: give it to electra-zh export-step")
    # One that ended before its first checkpoint starts anew.
    source = request.output if folder.is_started(request.output) else request.program
    data = open_sources(request.folders())
    run, exported = (
        folder.resume(each, recipe=None, overrides=overrides, data=data)
        for each in (source, request.program)
    )
    changed = folder.changes(run, exported.phases)
    if changed:
        raise UserError(
            f"The run in {source} was started with {few(changed.values())}: give the --program "
            "that it was started with"
        )
    run = run.moved_to(request.output)
    check_batches(run, device)
    run, held_out = with_data(run, request)
    damage = DamageLog() if request.skip_corrupt else None
    prepared = PreparedRun(
        *(run, (), None, device, damage),
        track=request.track,
        compiled=request.compiled,
        program=request.program,
    )
    phases = tuple(open_phases(run, request.folders(), held_out, damage))
    return prepared._replace(phases=phases)


def train(prepared: PreparedRun) -> None:
    """Trains an exported run in its folder, from its newest checkpoint to its last step.

    Raises:
      InterruptError: a signal came before the last step; a checkpoint is saved.
    """
    driver.train(prepared, _ProgramTrainer)


class _ProgramTrainer:
    """The exported programs of a phase: a `PhaseTrainer`."""

    is_compiled = False

    def __init__(self, prepared: PreparedRun, part: PreparedPhase) -> None:
        assert prepared.program is not None
        self._prepared, self._part, self._config = prepared, part, part.phase.config
        self._exported = ExportedPhase.load(prepared.program, part.phase.name)
        self._measure = self._make_measure()
        self._names = self._exported.networks.shapes(self._config)
        self._steps: PjrtSteps | None = None
        self._starts: dict[str, int] = {}
        # All variables on the host; None while the devices are ahead.
        self._values: dict[str, np.ndarray] | None = {
            info.name: np.zeros(info.shape, info.dtype) for info in self._step.all_variables
        }
        if part.phase.first_step == 0:
            run = folder.load(prepared.program)
            path = checkpoints.find(run.checkpoints, step=0)
            self.assign(checkpoints.read(path), where=path)
        self._put(self._exported.fresh)
        if part.eval_shards is not None and self._exported.evaluation is None:
            raise UsageError(
                f"{prepared.program} was exported without an evaluation: give --eval-data to "
                "electra-zh export-step"
            )

    @property
    def _step(self) -> StepProgram:
        return self._exported.step

    @property
    def trained(self) -> int:
        shapes = self._names.items()
        return sum(math.prod(shape) for name, shape in shapes if self._config.trains(name))

    @property
    def waited(self) -> float:
        return self._steps.waited if self._steps is not None else 0.0

    def _host(self) -> dict[str, np.ndarray]:
        """Returns all variables, fetched from the devices once after their steps."""
        if self._values is None:
            assert self._steps is not None
            self._values = self._steps.state()
        return self._values

    def _put(self, tensors: Mapping[str, np.ndarray]) -> None:
        assert self._values is not None
        known = self._values
        self._values = known | {name: each for name, each in tensors.items() if name in known}

    def assign(self, found: Checkpoint, *, where: str) -> None:
        updates = np.array(found.state["optimizer_step"], np.int64)
        self._put({**found.model, **found.optimizer, STEP: updates})
        self._set_starts(found.state.get(STARTS, {}))

    def assign_first(self, first: FirstWeights) -> None:
        first.log()
        self._put({**first.tensors, **first.slots})
        self._set_starts(first.starts)

    def _set_starts(self, starts: Mapping[str, int]) -> None:
        self._starts = {name: start for name, start in starts.items() if start}
        names = sorted(self._exported.networks.trained_shapes(self._config))
        # Programs of earlier versions, or without bias correction, are without them.
        self._put({STARTS: np.array([starts.get(name, 0) for name in names], np.int64)})

    def carry_over(self, step: int) -> None:
        run, exported = self._prepared.run, self._exported
        self.assign_first(
            warm_start.carried_weights(
                run, self._part.phase, step, networks=exported.networks, exported=exported.fresh
            )
        )
        self._put({STEP: np.array(step, np.int64)})

    def steps(self, batches: Iterator[pipeline.Batch]) -> Callable[[int], StepSums]:
        from electra_zh.runtime.pjrt import PjrtSteps

        steps = PjrtSteps(
            self._step,
            self._host(),
            batches,
            devices=self._prepared.device.found,
            state_sharding=self._config.state_sharding,
            compiled=compiled_folder(self._prepared.compiled, self._part.phase.name),
        )
        self._steps, self.is_compiled = steps, steps.kept is not None

        def run(count: int) -> StepSums:
            self._values = None
            return StepSums.of_values(steps(count))

        return run

    def save(self, store: CheckpointStore, step: int, *, state: Mapping[str, Any]) -> None:
        found = self._host()
        names = found.keys() - {STEP, STARTS}
        starts = {STARTS: self._starts} if self._starts else {}
        store.save(
            step,
            model={name: found[name] for name in names if name in self._names},
            optimizer={name: found[name] for name in names if name not in self._names},
            state={"optimizer_step": int(found[STEP]), **starts, **state},
        )

    def evaluation(
        self, before_batch: Callable[[], None]
    ) -> tuple[Callable[[], dict[str, float]], Callable[[], str]]:
        """Returns the function that evaluates, and one without a sample: there is none."""
        shards, program = self._part.eval_shards, self._exported.evaluation
        assert shards is not None
        assert program is not None
        batches = evaluation_batches(
            self._config,
            shards,
            max_batches=self._config.num_eval_steps,
            on_damage=self._prepared.damage,
        )
        device = self._prepared.device
        evaluate = DeviceEvaluation(program, batches, device, before_batch=before_batch)
        return lambda: evaluate(self._host()), str

    def measure(self) -> dict[str, float]:
        return self._measure() if self._measure is not None else {}

    def _make_measure(self) -> Callable[[], dict[str, float]] | None:
        """Returns the function that measures the networks; None, and a line, if it cannot."""
        program, part, prepared = self._exported.measures, self._part, self._prepared
        shards = part.eval_shards or part.mix.shards
        rows = program.batch[0].shape[0] if program is not None else 0
        if program is None or rows != batch_rows(self._config, shards):
            logging.info(
                "The networks' health is not measured: the step was exported %s. Export it again.",
                "by an earlier version" if program is None else f"for {rows} other examples",
            )
            return None
        here = prepared.device.here.number
        device = next(each for each in prepared.device.found if each.process_index == here)

        def compute(batch: pipeline.Batch) -> dict[str, np.ndarray]:
            from electra_zh.runtime.pjrt import call_once

            return call_once(program, self._host(), batch, device=device)

        run, damage = prepared.run, prepared.damage
        return make_measure(compute, self._config, run.vocabulary, shards, on_damage=damage)

    def explain(self, batch: pipeline.Batch) -> str:
        """Raises: --debug-numerics, which needs TensorFlow, is refused before."""
        raise NotImplementedError
