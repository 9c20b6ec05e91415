"""The course of a run: its phases, steps, evaluations, logs and checkpoints, in their order.

What trains a phase is a `PhaseTrainer`: TensorFlow's networks (`run.py`), or exported programs
(`programs/train.py`). This module does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from absl import logging

from electra_zh import files, machine, progress
from electra_zh.data import order, pipeline
from electra_zh.data.mixed_folders import DamageLog
from electra_zh.errors import counted
from electra_zh.interrupts import RESUME, EvaluationStoppedError, InterruptError, StopRequest
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health.diagnosis import HealthCheck
from electra_zh.pretraining.health.skipped import SkippedSteps
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.running.data import PreparedPhase, with_data
from electra_zh.pretraining.running.reporter import (
    Reporter,
    evaluation_lines,
    with_first_call_shown,
)
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import check_split
from electra_zh.training import checkpoints, loop
from electra_zh.training.background import BackgroundStore
from electra_zh.training.checkpoints import Checkpoint, CheckpointStore, DamagedError
from electra_zh.training.logs import MetricsLog, has_line
from electra_zh.training.trackers import start as start_trackers

_FINISHED = "The run in %s is finished: it has done its %d steps."


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
    program: str | None = None  # folder of an exported run, whose steps are trained

    def plan(self) -> list[str]:
        """Returns the plan of the training as lines."""
        run, config, model = self.run, self.run.config, self.run.config.model
        start = "a new run"
        if not checkpoints.is_empty(run.checkpoints):
            start = f"resumes from {checkpoints.find(run.checkpoints)}"
        part = next(each for each in self.phases if each.phase.config == config)
        lines = [
            f"run: {run.folder}, {start}",
            f"data: {part.examples:,} examples of length {config.max_seq_length} "
            f"({counted(len(part.mix.shards), 'shard')}), "
            f"{run.vocabulary.size:,} tokens in the vocabulary",
            *part.mix.lines(part.sequences),
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
        if part.eval_shards is not None:
            held_out = sum(shard.examples for shard in part.eval_shards)
            lines.append(f"evaluation: {held_out:,} held-out examples")
        return lines


def check_batches(run: Run, device: Device) -> None:
    """Checks that the batches of all phases can be split over the devices.

    Raises:
      UserError: one cannot.
    """
    for phase in run.phases:
        parts = phase.config.gradient_accumulation_steps
        check_split(phase.config.train_batch_size, max(1, len(device.found)), parts)


class PhaseTrainer(Protocol):
    """The networks and the optimizer of a phase, with their initial values until others come."""

    is_compiled: bool  # whether the steps were compiled before the run

    @property
    def trained(self) -> int:
        """Number of weights that are trained."""

    @property
    def waited(self) -> float:
        """Seconds that devices of JAX have waited for data."""

    def assign(self, found: Checkpoint, *, where: str) -> None:
        """Takes the weights, slots and number of updates of the checkpoint `where`."""

    def assign_first(self, first: FirstWeights) -> None:
        """Takes the first weights of the run."""

    def carry_over(self, step: int) -> None:
        """Takes what the phase continues from the checkpoint of the last step before it."""

    def steps(self, batches: Iterator[pipeline.Batch]) -> Callable[[int], StepSums]:
        """Returns the function that runs steps on the batches."""

    def save(self, store: CheckpointStore, step: int, *, state: Mapping[str, Any]) -> None:
        """Saves the checkpoint of `step`; `state` is added to state.json."""

    def evaluation(
        self, before_batch: Callable[[], None]
    ) -> tuple[Callable[[], dict[str, float]], Callable[[], str]]:
        """Returns functions that evaluate, and that fill the masks of an example as Markdown.

        What `before_batch` raises ends an evaluation.
        """

    def measure(self) -> dict[str, float]:
        """Returns the measures of the networks' health; empty if it cannot be measured."""

    def explain(self, batch: pipeline.Batch) -> str:
        """Returns sentences about a skipped step, the last one that was done, on `batch`."""


Make = Callable[[PreparedRun, PreparedPhase], PhaseTrainer]


def batches_of(
    prepared: PreparedRun, part: PreparedPhase, first_step: int, share: slice | None = None
) -> Iterator[pipeline.Batch]:
    """Returns the training batches of a phase after a step of the run.

    They have the rows of this process, or those of `share`.
    """
    config, size = part.phase.config, part.phase.config.train_batch_size
    return pipeline.batches(
        part.mix.parts,
        pipeline.Reading(config.max_seq_length, config.needs_words, prepared.damage),
        batch_size=size,
        seed=config.seed,
        start_example=(first_step - part.phase.first_step) * size,
        share=share or prepared.device.here.share(size),
    )


def is_finished(run: Run, request: PretrainRequest) -> bool:
    """Returns whether a run has nothing left to do, which is logged; loads no TensorFlow.

    That is so with a complete checkpoint of its last step, evaluated if it has held-out data.
    """
    if checkpoints.is_empty(run.checkpoints):
        return False
    path = checkpoints.find(run.checkpoints)
    step = checkpoints.step_of(path)
    # TensorFlow reads the files of earlier versions.
    if step < run.last_step or not files.is_dir(path):
        return False
    is_evaluated = step > run.last_step or has_line(run.folder, step, "eval")
    if not is_evaluated and with_data(run, request)[1]:
        return False
    with contextlib.suppress(DamagedError):
        checkpoints.read(path)
        logging.info(_FINISHED, run.folder, step)
        return True
    return False


def train(prepared: PreparedRun, make: Make) -> None:
    """Trains a run to its last step, resuming from its newest checkpoint.

    `make` returns the trainer of a phase.

    Raises:
      InterruptError: a signal came before; a checkpoint is saved.
    """
    run, total, here = prepared.run, prepared.run.last_step, prepared.device.here
    here.wait("prepared")
    with here.locked(run.folder):
        training = _Training(prepared, make)
        first_step = training.restore()
        here.wait("restored")
        if first_step >= total and not training.is_evaluation_due:
            logging.info(_FINISHED, run.folder, first_step)
            return
        with StopRequest(here.any) as stop:
            training.save_settings()
            if prepared.first_weights is not None:
                # With a checkpoint of them the run does not need their source any more.
                training.start_from(prepared.first_weights)
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


class _Training:
    """A run in training: the trainer and the data of its phase, and its checkpoints."""

    def __init__(self, prepared: PreparedRun, make: Make) -> None:
        self._prepared, self._make = prepared, make
        self._run = prepared.run
        self._here = prepared.device.here
        kind = BackgroundStore if prepared.device.found else checkpoints.CheckpointStore
        keep = self._run.config.keep_checkpoint_max  # until a phase is entered
        self._store = kind(self._run.checkpoints, keep=keep, writes=self._here.writes)
        # Sums of metrics that are not logged yet: of the checkpoint, and now.
        self._sums: Mapping[str, Any] | None = None
        self._pending: Callable[[], Mapping[str, Any]] = dict
        self._saved = -1  # the step of the newest checkpoint
        # A signal ended the evaluation of the last step.
        self.is_evaluation_due = False

    def _enter(self, part: PreparedPhase) -> None:
        """Makes the networks and the optimizer of a phase, with their initial values."""
        self._part, self._config = part, part.phase.config
        self._store.keep = self._config.keep_checkpoint_max
        self._trainer = self._make(self._prepared, part)

    def wait(self) -> None:
        """Waits until the checkpoints are complete."""
        self._store.wait()

    def save_settings(self) -> None:
        """Saves the run with the settings of its phase."""
        if self._here.writes:
            self._run.in_phase(self._part.phase).save()

    def start_from(self, first: FirstWeights) -> None:
        """Takes the first weights and saves them: the run does not need their source any more."""
        self._trainer.assign_first(first)
        self._save(0)

    def _carry_over(self, step: int) -> None:
        """Takes what the phase continues from the checkpoint of the last step before it."""
        self.wait()
        self._here.wait("saved")  # Only the first process has waited for the files.
        self._trainer.carry_over(step)

    def _save(self, step: int) -> None:
        """Saves the checkpoint of a step, with the settings and the position in the data."""
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
        self._trainer.save(self._store, step, state=state)
        self._saved = step

    def restore(self) -> int:
        """Enters the phase of the newest checkpoint and restores it; returns its step, or 0."""
        found, parts = self._store.latest(), self._prepared.phases
        step = found.step if found is not None else 0
        # The evaluation at the end of a phase comes before the next phase.
        due = [part for part in parts if self._lacks_evaluation(part, step)]
        left = [part for part in parts if step < part.phase.last_step]
        self.is_evaluation_due = bool(due)
        self._enter([*due, *left, parts[-1]][0])
        if found is None:
            return 0
        self._saved, self._sums = step, found.state.get("metrics")
        if step > 0 and step == self._part.phase.first_step:
            self._carry_over(step)
            return step
        self._trainer.assign(found, where=f"{self._store.folder}/ckpt-{step}")
        if step and found.state.get("data", {}).get("order", 1) != order.VERSION:
            logging.warning(
                "The run was started by a version with another order of the examples: until the "
                "end of this epoch, some examples come twice and others not at all."
            )
        return step

    def _lacks_evaluation(self, part: PreparedPhase, step: int) -> bool:
        """Returns whether a phase evaluates `step`, and the log does not have it."""
        phase, every = part.phase, part.phase.config.save_checkpoints_steps
        is_evaluated = step % every == 0 or step == phase.last_step
        if part.eval_shards is None or not phase.first_step < step <= phase.last_step:
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
                    self.save_settings()
                step = self._run_phase(step, log, bar, stop)
        return step

    def _run_phase(
        self, first_step: int, log: MetricsLog, bar: progress.Bar, stop: StopRequest
    ) -> int:
        """Trains from `first_step` to the last step of the phase, or to a signal."""
        self._announce(first_step)
        phase, config = self._part.phase, self._config
        steps = self._trainer.steps(self._batches(first_step))
        inner = with_first_call_shown(steps, is_compiled=self._trainer.is_compiled)
        health = HealthCheck(
            config, self._trainer.measure, phase.learning_rate, first_step=phase.first_step
        )
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
        if self._prepared.device.found:
            logging.info("Waited %.1f s for data.", self._trainer.waited)
        if last_step != self._saved:
            self._save(last_step)
        return last_step

    def _explain(self, step: int) -> str:
        """Returns sentences about a skipped step, the last one that was done."""
        return self._trainer.explain(next(self._batches(step - 1, slice(None))))

    def _batches(self, first_step: int, share: slice | None = None) -> Iterator[pipeline.Batch]:
        return batches_of(self._prepared, self._part, first_step, share)

    def _announce(self, first_step: int) -> None:
        name = self._part.phase.name
        what = f"Resuming from step {first_step}" if first_step else "New run"
        if first_step == self._part.phase.first_step > 0:
            what = f"From step {first_step}"
        logging.info(
            "%s: %.1f M weights, %s; %s examples%s (%s); %s steps of %d are %s epochs.",
            f"{what}, phase {name}" if name else what,
            self._trainer.trained / 1e6,
            self._config.precision,
            f"{self._part.examples:,}",
            self._part.cut,
            counted(len(self._part.mix.shards), "shard"),
            f"{self._config.num_train_steps:,}",
            self._config.train_batch_size,
            f"{self._part.epochs:,.2f}",
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
        return {**name, "tokens": tokens, "learning_rate": phase.learning_rate(step)}

    def _actions(
        self, log: MetricsLog, reporter: Reporter, health: HealthCheck, stop: StopRequest
    ) -> list[loop.Action]:
        """Returns the logging, the evaluation and the saving, in this order.

        A signal ends an evaluation after the batch in progress; the next call evaluates the step.
        """
        config, shards = self._config, self._part.eval_shards
        actions = [loop.Action(config.log_steps, reporter.log)]
        if shards is not None:
            evaluate, sample = self._trainer.evaluation(stop.check)

            def run_and_log(step: int) -> None:
                self.is_evaluation_due = True
                with progress.activity("evaluating"), contextlib.suppress(EvaluationStoppedError):
                    results = evaluate() | health.measure(step)
                    self.is_evaluation_due = False
                if self.is_evaluation_due:
                    return
                log.write(step, "eval", results)
                log.write_text(step, "eval/sample", sample())
                for line in evaluation_lines(results):
                    logging.info("Evaluation at step %d, %s", step, line)

            actions.append(loop.Action(config.save_checkpoints_steps, run_and_log))
        return [*actions, loop.Action(config.save_checkpoints_steps, self._save)]
