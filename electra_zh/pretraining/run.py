"""One pretraining run by TensorFlow's networks, from its folders to its last step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from absl import logging

from electra_zh.convert.source_settings import HEADS
from electra_zh.data import pipeline
from electra_zh.data.mixed_folders import DamageLog, open_sources
from electra_zh.pretraining import folder, warm_start
from electra_zh.pretraining.evaluate import make_evaluation, make_sample
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health import numerics, tensors
from electra_zh.pretraining.health.measures import make_measure
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.phases import compiled_folder
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.running.data import PreparedPhase, open_phases, with_data
from electra_zh.pretraining.running.driver import PreparedRun, batches_of, check_batches, train
from electra_zh.pretraining.sources import generator
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.runtime.device import CPU, Device
from electra_zh.training import checkpoints, loop
from electra_zh.training.checkpoints import Checkpoint, CheckpointStore


def prepare(
    request: PretrainRequest, overrides: Mapping[str, Any], *, device: Device = CPU
) -> PreparedRun:
    """Checks that settings, data and run match, for a new or resumed run; writes nothing."""
    data, start = request.folders(), request.first_weights()
    source = open_sources(data, vocab=request.vocab)
    damage = DamageLog() if request.skip_corrupt else None
    # The order of precedence of a run's weights:
    # 1. The newest checkpoint in --output. It has the optimizer and the step, too.
    # 2. The model of --init; with --keep-optimizer its optimizer's slots. The step is 0.
    # 3. Random weights, by the seed.
    weights = foreign = None
    is_new, given = not folder.is_run(request.output), request.foreign_generator()
    if is_new and start is not None:
        weights = warm_start.read(start, num_heads=overrides.get(HEADS))
        start = warm_start.describe(start, weights)
    run = folder.begin(
        request,
        overrides,
        data=source,
        init=start,
        source=warm_start.size_of(weights, foreign=given is not None) if weights else None,
        accelerator=device.platform != "cpu",
    )
    if is_new and given is not None:
        foreign = generator.read(given, run.vocabulary)
        run = run.with_generator(foreign.start, dataclasses.asdict(foreign.size))
    run = _with_batches(run, device)
    first_weights = None
    if checkpoints.is_empty(run.checkpoints):
        first_weights = warm_start.beginning(run, weights, foreign)
    run, held_out = with_data(run, request)
    prepared = PreparedRun(
        *(run, (), first_weights, device, damage),
        debug_numerics=request.debug_numerics,
        track=request.track,
        compiled=request.compiled,
    )
    return prepared._replace(phases=tuple(open_phases(run, data, held_out, damage)))


def _with_batches(run: Run, device: Device) -> Run:
    """Returns a run whose batches are numbers, for `train_batch_size=auto`, that can be split."""
    if not all(phase.config.train_batch_size for phase in run.phases):
        from electra_zh.pretraining.programs.fitting import fit_run

        phases = fit_run(run.phases, run.vocabulary, device)
        run = dataclasses.replace(run, config=phases[0].config, phases=phases)
    check_batches(run, device)
    return run


def pretrain(prepared: PreparedRun) -> None:
    """Trains a run to its last step, resuming from its newest checkpoint.

    Raises:
      InterruptError: a signal came before; a checkpoint is saved.
    """
    train(prepared, _TensorFlowTrainer)


def steps_of_phase(prepared: PreparedRun, part: PreparedPhase) -> Callable[[int], StepSums]:
    """Returns the function that runs steps of a phase from new weights, to measure them."""
    return _TensorFlowTrainer(prepared, part).steps(
        batches_of(prepared, part, part.phase.first_step)
    )


class _TensorFlowTrainer:
    """The networks of TensorFlow in a phase: a `PhaseTrainer`.

    Their steps run on TensorFlow's device or on those of JAX.
    """

    # whether the steps were compiled before the run
    is_compiled = False

    def __init__(self, prepared: PreparedRun, part: PreparedPhase) -> None:
        self._prepared, self._part, self._config = prepared, part, part.phase.config
        # Brings the state of the devices to the variables.
        self._sync: Callable[[], None] = lambda: None
        self._waited: Callable[[], float] = lambda: 0.0
        first_step = part.phase.first_step
        self._state = TrainState(self._config, prepared.run.vocabulary, first_step=first_step)
        shards = part.eval_shards or part.mix.shards
        self._measure = make_measure(
            tensors.compute(self._state.objective),
            self._config,
            prepared.run.vocabulary,
            shards,
            on_damage=prepared.damage,
        )

    @property
    def trained(self) -> int:
        variables = self._state.objective.trainable_variables
        return sum(variable.shape.num_elements() for variable in variables)

    @property
    def waited(self) -> float:
        return self._waited()

    def assign(self, found: Checkpoint, *, where: str) -> None:
        self._state.assign(found, where=where)

    def assign_first(self, first: FirstWeights) -> None:
        first.assign(self._state)

    def carry_over(self, step: int) -> None:
        warm_start.carried_weights(self._prepared.run, self._part.phase, step).assign(self._state)
        self._state.optimizer.step.assign(step)

    def steps(self, batches: Iterator[pipeline.Batch]) -> Callable[[int], StepSums]:
        device = self._prepared.device
        if not device.found:
            if compiled := self._prepared.compiled:
                logging.warning("The compiled step in %s is not used: TensorFlow trains.", compiled)
            return loop.make_inner_loop(PretrainStep(self._state).compiled(), batches)
        from electra_zh.pretraining.programs.lower import lower_step
        from electra_zh.runtime.device_steps import DeviceSteps

        steps = DeviceSteps(
            lower_step(self._state),
            self._state.variables,
            batches,
            device=device,
            state_sharding=self._config.state_sharding,
            compiled=compiled_folder(self._prepared.compiled, self._part.phase.name),
        )
        self._sync, self._waited = steps.sync, lambda: steps.waited
        self.is_compiled = steps.kept is not None
        return lambda count: StepSums.of_values(steps(count))

    def save(self, store: CheckpointStore, step: int, *, state: Mapping[str, Any]) -> None:
        self._sync()
        self._state.save(store, step, state=state)

    def evaluation(
        self, before_batch: Callable[[], None]
    ) -> tuple[Callable[[], dict[str, float]], Callable[[], str]]:
        objective, shards = self._state.objective, self._part.eval_shards
        damage = self._prepared.damage
        assert shards is not None
        evaluate = make_evaluation(
            objective,
            self._config,
            shards,
            max_batches=self._config.num_eval_steps,
            on_damage=damage,
            before_batch=before_batch,
            device=self._prepared.device,
        )
        in_phase = self._prepared.run.in_phase(self._part.phase)
        sample = make_sample(objective, in_phase, shards, on_damage=damage)

        def synced() -> dict[str, float]:
            self._sync()
            return evaluate()

        return synced, sample

    def measure(self) -> dict[str, float]:
        self._sync()
        return self._measure()

    def explain(self, batch: pipeline.Batch) -> str:
        self._sync()
        draws = self._state.local_step(self._state.optimizer.step - 1)
        return numerics.explain(self._state.objective, batch, draws)
