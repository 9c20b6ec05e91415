"""One pretraining run, from its folders to its last step."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from electra_zh import files, machine, progress
from electra_zh.convert.source_settings import HEADS
from electra_zh.data import order, pipeline
from electra_zh.data.bad_lines import counted
from electra_zh.data.manifest import WeightedFolder
from electra_zh.data.mixed_folders import DamageLog, Mix, choose_by_length, open_sources
from electra_zh.interrupts import RESUME, EvaluationStoppedError, InterruptError, StopRequest
from electra_zh.pretraining import folder, warm_start
from electra_zh.pretraining.evaluate import (
    make_evaluation,
    make_sample,
    open_held_out,
    open_shards,
)
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health import numerics
from electra_zh.pretraining.health.diagnosis import HealthCheck
from electra_zh.pretraining.health.measures import make_measure
from electra_zh.pretraining.health.skipped import SkippedSteps
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.phases import Phase, compiled_folder
from electra_zh.pretraining.reporter import (
    Reporter,
    evaluation_lines,
    with_first_call_shown,
)
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.sources import generator
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import check_split
from electra_zh.training import checkpoints, loop
from electra_zh.training.background import BackgroundStore
from electra_zh.training.logs import MetricsLog, has_line
from electra_zh.training.trackers import start as start_trackers


class PreparedPhase(NamedTuple):
    """A phase with its data."""

    phase: Phase
    mix: Mix  # the training data
    eval_shards: tuple[pipeline.Shard, ...] | None  # of the held-out data; None for none

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return sum(shard.examples for shard in self.mix.shards)

    @property
    def sequences(self) -> int:
        """Sequences that the complete phase reads."""
        return self.phase.config.num_train_steps * self.phase.config.train_batch_size

    @property
    def epochs(self) -> float:
        """Epochs of the complete phase: each is one pass through the data."""
        return self.sequences / self.examples

    def plan(self) -> str:
        """Returns the plan of the training as a line."""
        name, config = self.phase.name, self.phase.config
        settings = ""
        if name:
            settings = (
                f" of length {config.max_seq_length}, objective={config.objective}, "
                f"masking={config.masking}, learning_rate={config.learning_rate:g}"
            )
        return (
            f"{f'phase {name}' if name else 'training'}: {config.num_train_steps:,} steps of "
            f"{config.train_batch_size:,} sequences{settings}, {self.epochs:.2f} epochs{self.cut}"
        )

    @property
    def cut(self) -> str:
        """The cutting of longer examples, as the end of a sentence; empty without."""
        cutting = self.mix.shards[0].cutting
        return f", cut from length {cutting.stored_length}" if cutting else ""


class PreparedRun(NamedTuple):
    """A run that is checked and ready to be trained."""

    run: Run  # the run
    phases: tuple[PreparedPhase, ...]  # its phases in order
    # weights of a new run; None for random weights, and to resume
    first_weights: FirstWeights | None
    device: Device = Device("cpu")  # the devices that train
    # counts the damaged records that are skipped; None if damage is an error
    damage: DamageLog | None = None
    debug_numerics: bool = False  # explains each skipped step
    track: tuple[str, ...] = ()  # names of trackers
    compiled: str | None = None  # folder of compiled steps

    def plan(self) -> list[str]:
        """Returns the plan of the training as lines."""
        run, config, model = self.run, self.run.config, self.run.config.model
        start = "a new run"
        if not checkpoints.is_empty(run.checkpoints):
            start = f"resumes from {checkpoints.find(run.checkpoints)}"
        first = self.phases[0]
        lines = [
            f"run: {run.folder}, {start}",
            f"data: {first.examples:,} examples of length {config.max_seq_length} "
            f"({counted(len(first.mix.shards), 'shard')}), "
            f"{run.vocabulary.size:,} tokens in the vocabulary",
            *first.mix.lines(first.sequences),
            f"model: {model.num_hidden_layers} layers of width {model.hidden_size}, "
            f"masking={config.masking}, precision={config.precision}",
            f"device: {self.device}",
            *(phase.plan() for phase in self.phases),
        ]
        if run.init is not None:
            lines.append(f"first weights: {run.init}")
            lines += [f"note: {note}" for note in run.init.notes]
        if run.generator is not None:
            lines.append(f"generator: {run.generator.source}, {run.generator.kind}, not trained")
        if first.eval_shards is not None:
            held_out = sum(shard.examples for shard in first.eval_shards)
            lines.append(f"evaluation: {held_out:,} held-out examples")
        return lines


def prepare(
    request: PretrainRequest, overrides: Mapping[str, Any], *, device: Device | None = None
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
        source=warm_start.size_of(weights) if weights else None,
        accelerator=device is not None and device.platform != "cpu",
    )
    if is_new and given is not None:
        foreign = generator.read(given, run.vocabulary)
        run = run.with_generator(foreign.start, dataclasses.asdict(foreign.size))
    run = _with_batches(run, device or Device("cpu"))
    first_weights = None
    if checkpoints.is_empty(run.checkpoints):
        first_weights = warm_start.beginning(run, weights, foreign)
    run, held_out = _with_data(run, request)
    prepared = PreparedRun(
        *(run, (), first_weights, device or Device("cpu"), damage),
        debug_numerics=request.debug_numerics,
        track=request.track,
        compiled=request.compiled,
    )
    return prepared._replace(phases=tuple(_open_data(prepared, data, held_out)))


def _with_batches(run: Run, device: Device) -> Run:
    """Returns a run whose batches are numbers, for `train_batch_size=auto`, that can be split."""
    if not all(phase.config.train_batch_size for phase in run.phases):
        from electra_zh.pretraining.programs.fitting import fit_run

        phases = fit_run(run.phases, run.vocabulary, device)
        run = dataclasses.replace(run, config=phases[0].config, phases=phases)
    for phase in run.phases:
        parts = phase.config.gradient_accumulation_steps
        check_split(phase.config.train_batch_size, max(1, len(device.found)), parts)
    return run


def _open_data(
    prepared: PreparedRun, data: Sequence[WeightedFolder], held_out: tuple[str, ...]
) -> Iterator[PreparedPhase]:
    """Yields the phases of a run with their data, by the lengths of their sequences."""
    run, damage = prepared.run, prepared.damage
    lengths = [phase.config.max_seq_length for phase in run.phases]
    chosen = choose_by_length(data, lengths)
    chosen_held_out = choose_by_length([WeightedFolder(path) for path in held_out], lengths)
    for phase, folders, others in zip(run.phases, chosen, chosen_held_out, strict=True):
        in_phase = run.in_phase(phase)
        opening = functools.partial(open_shards, in_phase, on_damage=damage)
        mix = Mix(folders, opening, seed=phase.config.seed)
        paths, eval_shards = [each.folder for each in others], None
        if paths:
            eval_shards = open_held_out(in_phase, paths, on_damage=damage)
        yield PreparedPhase(phase, mix, eval_shards)


def _with_data(run: Run, request: PretrainRequest) -> tuple[Run, tuple[str, ...]]:
    """Returns the run with the folders of its data, and those of held-out data to evaluate."""
    given = tuple(request.eval_folders())
    data = [str(each._replace(folder=_absolute(each.folder))) for each in request.folders()]
    held_out = _find_held_out(run, given)
    kept = tuple(map(_absolute, given)) or run.eval_data
    return dataclasses.replace(run, train_data=tuple(data), eval_data=kept), held_out


def _absolute(path: str) -> str:
    return path if files.is_remote(path) else os.path.abspath(path)


def _find_held_out(run: Run, given: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the held-out data of the command line, or else those that the run had before."""
    missing = [path for path in run.eval_data if not files.exists(path)]
    if missing and not given:
        logging.warning(
            "The run's held-out data in %s is missing: the run is resumed without evaluation. Give "
            "--eval-data DIR to evaluate.",
            missing[0],
        )
        return ()
    return given or run.eval_data


def pretrain(prepared: PreparedRun) -> None:
    """Trains a run to its last step, resuming from its newest checkpoint.

    Raises:
      InterruptError: a signal came before; a checkpoint is saved.
    """
    run, total, here = prepared.run, prepared.run.last_step, prepared.device.here
    here.wait("prepared")
    with here.locked(run.folder):
        training = _Training(prepared)
        first_step = training.restore()
        here.wait("restored")
        if first_step >= total and not training.is_evaluation_due:
            what = "The run in %s is finished: it has done its %d steps."
            logging.info(what, run.folder, first_step)
            return
        with StopRequest(here.any) as stop:
            if here.writes:
                run.save()
            if prepared.first_weights is not None:
                # With a checkpoint of them the run does not need their source any more.
                prepared.first_weights.assign(training.state)
                training.save(0)
            try:
                last_step = training.run(first_step, stop)
            finally:
                training.wait()
    if prepared.damage is not None:
        logging.info("%s", prepared.damage)
    if last_step < total or training.is_evaluation_due:
        raise InterruptError(f"Saved at step {last_step} of {total}; {RESUME}")
    logging.info("Done: %d steps, checkpoints in %s", last_step, run.checkpoints)
    for note in run.init.notes if run.init is not None else ():
        logging.info("note on the first weights: %s", note)


def steps_of_phase(prepared: PreparedRun, part: PreparedPhase) -> Callable[[int], StepSums]:
    """Returns the function that runs steps of a phase from new weights, to measure them."""
    training = _Training(prepared._replace(phases=(part,)))
    return training._inner_loop(part.phase.first_step)


class _Training:
    """A run in training: the networks, optimizer and data of its phase, and its checkpoints."""

    state: TrainState
    # brings the state of the devices to the variables of `state`
    _sync: Callable[[], None]
    # whether the steps of the phase were compiled before the run
    _is_compiled = False

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared
        self._run = prepared.run
        self._here = prepared.device.here
        keep = self._run.config.keep_checkpoint_max
        kind = BackgroundStore if prepared.device.found else checkpoints.CheckpointStore
        self._store = kind(self._run.checkpoints, keep=keep, writes=self._here.writes)
        # Sums of metrics that are not logged yet: of the checkpoint, and now.
        self._sums: Mapping[str, Any] | None = None
        self._pending: Callable[[], Mapping[str, Any]] = dict
        # A signal ended the evaluation of the last step.
        self.is_evaluation_due = False
        self._enter(prepared.phases[0])

    def _enter(self, part: PreparedPhase) -> None:
        """Makes the networks and the optimizer of a phase, with their initial values."""
        self._part, self._config = part, part.phase.config
        self._sync = lambda: None
        first_step = part.phase.first_step
        self.state = TrainState(self._config, self._run.vocabulary, first_step=first_step)

    def wait(self) -> None:
        """Waits until the checkpoints are complete."""
        self._store.wait()

    def _carry_over(self, step: int) -> None:
        """Takes what the phase continues from the checkpoint of the last step before it."""
        self.wait()
        warm_start.carried_weights(self._run, self._part.phase, step).assign(self.state)
        self.state.optimizer.step.assign(step)

    def save(self, step: int) -> None:
        """Saves the checkpoint of a step, with the settings and the position in the data."""
        self._sync()
        phase = self._part.phase
        read = (step - phase.first_step) * self._config.train_batch_size
        data = {
            "fingerprint": self._run.data_fingerprint,
            "order": order.VERSION,
            **self._part.mix.position(read),
        }
        name = {"phase": phase.name} if phase.name else {}
        settings = self._config.to_dict()
        state = {**name, "settings": settings, "data": data, "metrics": self._pending()}
        self.state.save(self._store, step, state=state)

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step; 0 if there is none."""
        found = self._store.latest()
        if found is None:
            return 0
        step, self._sums = found.step, found.state.get("metrics")
        for part in self._prepared.phases[1:]:
            # The evaluation at the end of a phase comes before the next phase.
            if step >= part.phase.first_step and not self._lacks_evaluation(step):
                self._enter(part)
        self.is_evaluation_due = self._lacks_evaluation(step)
        if step > 0 and step == self._part.phase.first_step:
            self._carry_over(step)
            return step
        self.state.assign(found, where=f"{self._store.folder}/ckpt-{step}")
        if step and found.state.get("data", {}).get("order", 1) != order.VERSION:
            logging.warning(
                "The run was started by a version with another order of the examples: until the "
                "end of this epoch, some examples come twice and others not at all."
            )
        return step

    def _lacks_evaluation(self, step: int) -> bool:
        """Returns whether the phase evaluates `step`, and the log does not have it."""
        phase, every = self._part.phase, self._config.save_checkpoints_steps
        is_evaluated = step % every == 0 or step == phase.last_step
        if self._part.eval_shards is None or not phase.first_step < step <= phase.last_step:
            return False
        return is_evaluated and not has_line(self._run.folder, step, "eval")

    def run(self, first_step: int, stop: StopRequest) -> int:
        """Trains from `first_step` to the last step, or to a signal, and saves there."""
        run, step, total, here = self._run, first_step, self._run.last_step, self._here
        track = self._prepared.track if here.writes else ()
        log = MetricsLog(
            run.folder,
            resume_step=step,
            context=self._context,
            trackers=start_trackers(track, run.folder, run.config.to_dict()),
            writes=here.writes,
        )
        show = progress.show if here.writes else progress.silent
        with (
            contextlib.closing(log),
            show("pretrain", total=total, unit="step", initial=step) as bar,
        ):
            for part in self._prepared.phases:
                is_due = self.is_evaluation_due and part is self._part
                if (part.phase.last_step <= step and not is_due) or stop.is_set:
                    continue
                if part is not self._part:
                    self._enter(part)
                    self._carry_over(step)
                    if self._here.writes:
                        self._run.in_phase(part.phase).save()
                step = self._run_phase(step, log, bar, stop)
        return step

    def _run_phase(
        self, first_step: int, log: MetricsLog, bar: progress.Bar, stop: StopRequest
    ) -> int:
        """Trains from `first_step` to the last step of the phase, or to a signal."""
        self._announce(first_step)
        phase, config = self._part.phase, self._config
        inner = self._inner_loop(first_step)
        inner = with_first_call_shown(inner, is_compiled=self._is_compiled)
        health = self._health_check()
        debug = self._prepared.debug_numerics
        skipped = SkippedSteps(self._config.max_skipped_steps, self._explain if debug else None)
        reporter = Reporter(self._config, log, bar, health, skipped, pending=self._sums)
        self._sums, self._pending = None, reporter.pending
        actions = self._actions(log, reporter, health, stop)
        if self.is_evaluation_due:
            actions[1].run(first_step)
        last_step = loop.run(
            inner,
            first_step=first_step,
            last_step=phase.last_step,
            actions=actions,
            on_call=reporter.add,
            stop=stop,
            steps_per_call=1 if debug else self._here.steps_per_call(config.iterations_per_loop),
        )
        if last_step < phase.last_step:
            self.save(last_step)
        return last_step

    def _inner_loop(self, first_step: int) -> Callable[[int], StepSums]:
        """Returns the function that runs steps, on TensorFlow's device or on those of JAX."""
        batches, device = self._batches(first_step), self._prepared.device
        if not device.found:
            self._sync = lambda: None
            step = PretrainStep(self.state)
            return loop.make_inner_loop(step, batches, jit_compile=loop.use_xla())
        from electra_zh.pretraining.programs.lower import lower_step
        from electra_zh.runtime.device_steps import DeviceSteps

        steps = DeviceSteps(
            lower_step(self.state),
            self.state.variables,
            batches,
            device=device,
            state_sharding=self._config.state_sharding,
            compiled=compiled_folder(self._prepared.compiled, self._part.phase.name),
        )
        self._sync, self._is_compiled = steps.sync, steps.is_kept
        return lambda count: StepSums.of_values(steps(count))

    def _explain(self, step: int) -> str:
        """Returns sentences about a skipped step, the last one that was done."""
        self._sync()
        objective = self.state.objective
        draws = self.state.local_step(self.state.optimizer.step - 1)
        return numerics.explain(objective, next(self._batches(step - 1, slice(None))), draws)

    def _batches(self, first_step: int, share: slice | None = None) -> Iterator[pipeline.Batch]:
        config, size = self._config, self._config.train_batch_size
        return pipeline.batches(
            self._part.mix.parts,
            pipeline.Reading(config.max_seq_length, config.needs_words, self._prepared.damage),
            batch_size=size,
            seed=config.seed,
            start_example=(first_step - self._part.phase.first_step) * size,
            share=share or self._here.share(size),
        )

    def _announce(self, first_step: int) -> None:
        variables = self.state.objective.trainable_variables
        name = self._part.phase.name
        what = f"Resuming from step {first_step}" if first_step else "New run"
        if first_step == self._part.phase.first_step > 0:
            what = f"From step {first_step}"
        logging.info(
            "%s: %.1f M weights, %s; %s examples%s (%s); %s steps of %d are %.2f epochs.",
            f"{what}, phase {name}" if name else what,
            sum(variable.shape.num_elements() for variable in variables) / 1e6,
            self._config.precision,
            f"{self._part.examples:,}",
            self._part.cut,
            counted(len(self._part.mix.shards), "shard"),
            f"{self._config.num_train_steps:,}",
            self._config.train_batch_size,
            self._part.epochs,
        )
        logging.info("Device: %s.", self._prepared.device)
        warning = machine.precision_warning(self._config.precision)
        if warning and self._prepared.device.platform == "cpu":
            logging.warning(warning)
        for line in self._part.mix.lines(self._part.sequences):
            logging.info("%s", line)

    def _context(self, step: int) -> dict[str, str | float]:
        """Returns the values that every line of metrics has for its step."""
        phase, tokens = self._part.phase, 0
        for part in self._prepared.phases:
            config, done = part.phase.config, step - part.phase.first_step
            steps = min(max(done, 0), config.num_train_steps)
            tokens += steps * config.train_batch_size * config.max_seq_length
        name = {"phase": phase.name} if phase.name else {}
        return {**name, "tokens": tokens, "learning_rate": self.state.learning_rate(step)}

    def _health_check(self) -> HealthCheck:
        shards = self._part.eval_shards or self._part.mix.shards
        measure_state = make_measure(
            self.state.objective, self._config, shards, on_damage=self._prepared.damage
        )

        def measure() -> dict[str, float]:
            self._sync()
            return measure_state()

        rate, first_step = self.state.learning_rate, self._part.phase.first_step
        return HealthCheck(self._config, measure, rate, first_step=first_step)

    def _actions(
        self, log: MetricsLog, reporter: Reporter, health: HealthCheck, stop: StopRequest
    ) -> list[loop.Action]:
        """Returns the logging, the evaluation and the saving, in this order.

        A signal ends an evaluation after the batch in progress; the next call evaluates the step.
        """
        config, shards = self._config, self._part.eval_shards
        actions = [loop.Action(config.log_steps, reporter.log)]
        if shards is not None:
            evaluate = make_evaluation(
                self.state.objective,
                config,
                shards,
                max_batches=config.num_eval_steps,
                on_damage=self._prepared.damage,
                before_batch=stop.check,
            )
            sample = make_sample(
                *(self.state.objective, self._run.in_phase(self._part.phase), shards),
                on_damage=self._prepared.damage,
            )

            def run_and_log(step: int) -> None:
                self.is_evaluation_due = True
                with progress.activity("evaluating"), contextlib.suppress(EvaluationStoppedError):
                    self._sync()
                    results = evaluate() | health.measure(step)
                    self.is_evaluation_due = False
                if self.is_evaluation_due:
                    return
                log.write(step, "eval", results)
                log.write_text(step, "eval/sample", sample())
                for line in evaluation_lines(results):
                    logging.info("Evaluation at step %d, %s", step, line)

            actions.append(loop.Action(config.save_checkpoints_steps, run_and_log))
        return [*actions, loop.Action(config.save_checkpoints_steps, self.save)]
