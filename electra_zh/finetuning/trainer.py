"""Training of one trial: epochs on `training.loop`, the best one kept, resumable at any step.

The traced steps depend on shapes only: a trainer runs all trials of a setting, and each begins by
assigning initial values to the same variables. Every random draw is a function of (seed, step).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import machine, progress
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.model import Kinds, TaskModel
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.programs.lower import lower_task
from electra_zh.finetuning.tasks import Training
from electra_zh.interrupts import EvaluationStoppedError, StopRequest
from electra_zh.models.config import ModelConfig
from electra_zh.models.random import BatchPart, RandomKey
from electra_zh.runtime.device import CPU, Device
from electra_zh.runtime.program import StepProgram
from electra_zh.training import checkpoints, loop, schedules, side_by_side
from electra_zh.training.checkpoints import CheckpointStore
from electra_zh.training.logs import MetricsLog, has_line
from electra_zh.training.optimizers.adamw import AdamWeightDecay
from electra_zh.training.optimizers.base import add_in_order
from electra_zh.training.schedules import layerwise_factors
from electra_zh.training.trackers import Trackers

if TYPE_CHECKING:
    from electra_zh.finetuning.programs.trials import DeviceTrainer

# The most padded lengths on a device, where each is compiled.
DEVICE_LENGTHS = 3
# Seconds between two checkpoints of a trial. They are saved at ends of epochs, and on a signal.
_SAVE_SECONDS = 60.0


class Hyperparameters(NamedTuple):
    """Settings with the defaults of the model size filled in."""

    learning_rate: float
    layerwise_lr_decay: float


def fill_defaults(training: Training, model: ModelConfig) -> Hyperparameters:
    """Returns the learning rate and the layer-wise decay for a model's width.

    Source: the ELECTRA paper's appendix and the official README: 3e-4 for small, 1e-4 for base,
    5e-5 for large; decay 0.8, and 0.9 for large. BERT's rates (2e-5) leave small models untrained.
    """
    width = model.hidden_size
    rate = 3e-4 if width <= 400 else 1e-4 if width <= 900 else 5e-5
    return Hyperparameters(
        training.learning_rate or rate,
        training.layerwise_lr_decay or (0.8 if width <= 900 else 0.9),
    )


def shape_tokens(model: ModelConfig, *, on_device: bool = False) -> float:
    """Returns the cost of tracing and compiling one padded length, in tokens of training.

    On devices some 20 seconds, in which an H200 trains tiny on 50 M tokens (estimated from its
    pretraining). Else measured on 2 cores with AVX512: 2 s and 0.4 s per layer for a length, half
    of that as two are compiled at the same time; 11,000 (float32) to 13,000 (bfloat16) tokens per
    second of tiny (4 layers of width 312). Both scale with layers and the square of the width for
    other sizes.
    """
    seconds = 2.0 + 0.4 * model.num_hidden_layers
    work = model.num_hidden_layers * model.hidden_size**2 / (4 * 312**2)
    if on_device:
        return 50e6 / work
    return 12000 * seconds / 2 / work


class TrialState:
    """The state that a trial resumes from: weights, optimizer, weights of the best epoch."""

    def __init__(self, model: TaskModel, optimizer: AdamWeightDecay, *, keep_best: bool) -> None:
        self.model, self.optimizer = model, optimizer
        self.best: dict[str, tf.Variable] = {}
        if keep_best:
            self.best = {
                f"best/{name}": tf.Variable(variable, trainable=False, name=f"best/{name}")
                for name, variable in model.weights().items()
            }

    def save(self, store: CheckpointStore, step: int, progress: Mapping[str, Any]) -> None:
        """Saves the checkpoint of `step`; `restore` returns `progress` with its state."""
        store.save(
            step,
            model=self.model.weights(),
            optimizer=self.optimizer.state_tensors() | self.best,
            state={"optimizer_step": int(self.optimizer.step), **progress},
        )

    def restore(self, store: CheckpointStore) -> tuple[int, Mapping[str, Any]]:
        """Restores the latest checkpoint; returns its step and its state, of step 0 if none."""
        found = store.latest()
        if found is None:
            return 0, {}
        variables = self.model.weights() | self.optimizer.state_tensors() | self.best
        checkpoints.assign(variables, found.model | found.optimizer, where=store.folder)
        self.optimizer.step.assign(found.state["optimizer_step"])
        return found.step, found.state

    def keep(self) -> None:
        """Copies the weights to those of the best epoch."""
        for best, weight in self._pairs():
            best.assign(weight)

    def take_best(self) -> None:
        """Copies the weights of the best epoch into the model."""
        for best, weight in self._pairs():
            weight.assign(best)

    def _pairs(self) -> Iterator[tuple[tf.Variable, tf.Variable]]:
        weights = self.model.weights()
        return ((best, weights[name.removeprefix("best/")]) for name, best in self.best.items())


class TrialResult(NamedTuple):
    """The result of a trial.

    Attributes:
      finished: False after a signal; the rest is then that of the steps done.
      best_epoch: from 1; the epoch whose weights were kept.
      dev: for each epoch the dev score, the mean over tasks.
      examples_per_second: training speed, evaluation excluded.
    """

    finished: bool
    best_epoch: int
    dev: list[float]
    examples_per_second: float


class StepLosses(NamedTuple):
    """The mean loss of the examples of each step, float64 [steps]."""

    loss: np.ndarray


class TaskTrainer:
    """Trains the trials of one setting: pretrained model, tasks, their rows, hyperparameters."""

    def __init__(
        self,
        pretrained: Pretrained,
        kinds: Kinds,
        train_rows: Mapping[str, EncodedSplit],
        training: Training,
        *,
        what: str,
        device: Device = CPU,
    ) -> None:
        """Makes the networks; several kinds are trained jointly, `what` names the progress bar."""
        self._device = device
        self._on_device: DeviceTrainer | None = None
        self._pretrained, self._kinds, self.rows = pretrained, kinds, train_rows
        self.training, self.what = training, what
        self.hyper = fill_defaults(training, pretrained.model)
        self.dtype = tf.as_dtype(machine.compute_type(training.precision))
        self.epoch_steps = sum(
            batches.steps_per_epoch(rows, training.train_batch_size) for rows in train_rows.values()
        )
        self.num_train_steps = max(1, math.ceil(self.epoch_steps * training.num_train_epochs))
        # Task to the lengths that its batches are padded to.
        self.lengths = {name: self._choose_lengths(name) for name in kinds}
        self.model = TaskModel(pretrained, kinds, seed=0)
        self._seed = tf.Variable(0, dtype=tf.int64, trainable=False, name="seed")
        self.state = TrialState(self.model, self._optimizer(), keep_best=training.keep_best)
        self._parts = 1 if device.found else side_by_side.parts_of(training.train_batch_size)
        trace = functools.partial(tf.function, jit_compile=loop.use_xla(), autograph=False)
        # Traced once for all parts of a batch; the update, for all shapes of batches.
        self._update, part = trace(self._apply), self._differentiate_part
        self._differentiate = {name: trace(functools.partial(part, name)) for name in kinds}
        self._steps = {name: trace(functools.partial(self._take, name)) for name in kinds}

    def _choose_lengths(self, task: str) -> tuple[int, ...]:
        rows, size = self.rows[task], self.training.train_batch_size
        plan = batches.training_plan(rows, batch_size=size, seed=0, epoch=0)
        longest = batches.longest_rows(rows, plan)
        return self.padded_lengths(task, np.repeat(longest, self.epochs), rows, size)

    @property
    def epochs(self) -> int:
        """The number of epochs, rounded up."""
        return math.ceil(self.training.num_train_epochs)

    def padded_lengths(
        self,
        task: str,
        longest: np.ndarray,
        rows: EncodedSplit,
        batch_size: int,
        *,
        relative_cost: float = 1.0,
    ) -> tuple[int, ...]:
        """Returns the lengths to pad a task's batches to, whose longest rows are `longest`.

        `relative_cost` is that of a new length, relative to the work on a token, if the batches are
        not for training.
        """
        maximum = self._kinds[task].max_seq_length
        if not self.training.bucket_by_length:
            return (maximum,)
        most = int(rows.group_lengths.max(initial=1))
        on_device = bool(self._device.found)
        tokens = relative_cost * shape_tokens(self._pretrained.model, on_device=on_device)
        return batches.choose_lengths(
            longest,
            most=most,
            max_seq_length=maximum,
            cost=tokens / (batch_size * rows.group),
            at_most=DEVICE_LENGTHS if on_device else 0,
        )

    def warm_up(self) -> list[Callable[[], object]]:
        """Returns calls that trace and compile the step of each length.

        They may run at the same time. Without a device each takes a step: `run` assigns all
        variables after it.
        """
        if self._device.found:
            return self._on_devices().compilations()
        return [
            functools.partial(
                self.train_step, task, batches.shortest_group(self.rows[task]), [length]
            )
            for task, lengths in self.lengths.items()
            for length in lengths
        ]

    def is_small(self) -> bool:
        """Returns whether several steps at the same time fit into memory: some 2 GB each."""
        if self._device.found:
            return True  # they are compiled only
        model, rows = self._pretrained.model, max(each.group for each in self.rows.values())
        longest = max(length for lengths in self.lengths.values() for length in lengths)
        tokens = self.training.train_batch_size * rows * longest
        return 80 * tokens * model.hidden_size * model.num_hidden_layers < 2e9

    def _optimizer(self) -> AdamWeightDecay:
        variables = self.model.trainable_variables
        schedule = functools.partial(
            schedules.learning_rate,
            peak=self.hyper.learning_rate,
            num_train_steps=self.num_train_steps,
            num_warmup_steps=int(self.num_train_steps * self.training.warmup_proportion),
            power=self.training.lr_decay_power,
        )
        factors = layerwise_factors(
            [variable.name for variable in variables],
            num_hidden_layers=self._pretrained.model.num_hidden_layers,
            decay=self.hyper.layerwise_lr_decay,
            top_layer_decay=self.training.top_layer_decay,
        )
        return AdamWeightDecay(
            variables,
            schedule,
            weight_decay_rate=self.training.weight_decay_rate,
            rate_factors=factors,
        )

    def _differentiate_part(
        self, task: str, features: Mapping[str, tf.Tensor], number: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor | tf.IndexedSlices | None]]:
        """Returns the summed loss of a batch, or of its part `number`, and the gradients."""
        kind, part = self._kinds[task], None
        if number is not None:
            rows = features["input_ids"].shape[0]
            part = BatchPart(number, self._parts, rows, self.rows[task].group)
        # Read once, not once for every stream of random numbers.
        step, trial = map(tf.convert_to_tensor, (self.state.optimizer.step, self._seed))
        key = RandomKey(0, step, trial=trial, part=part)
        with tf.GradientTape() as tape:
            hidden = self.model.hidden(
                features, dtype=self.dtype, key=key, first_only=kind.first_only
            )
            losses = kind.losses(self.model.heads[task], hidden, features)
            # The sum, not the mean, as in the reference: the clip is nearly always active.
            loss = tf.reduce_sum(losses * features["weight"])
        return loss, tape.gradient(loss, self.model.trainable_variables)

    def _apply(self, loss: tf.Tensor, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Updates the weights and returns the loss."""
        norm = self.state.optimizer.apply(gradients)
        # The optimizer skips the step; the trial stops at the loss.
        return tf.where(tf.math.is_finite(norm), loss, float("nan"))

    def _take(self, task: str, parts: Sequence[Mapping[str, tf.Tensor]]) -> tf.Tensor:
        """Takes a step on the parts of a batch and returns its summed loss.

        One graph has all parts: they do not depend on each other, and TensorFlow's threads take
        what is ready.
        """
        numbers = map(tf.constant, range(len(parts))) if len(parts) > 1 else [None]
        found = map(self._differentiate[task], parts, numbers)
        losses, gradients = zip(*found, strict=True)
        loss = losses[0] if len(parts) == 1 else add_in_order(*zip(losses, strict=True))[0]
        return self._update(loss, self.state.optimizer.total(gradients))

    def lower(self, task: str, length: int) -> StepProgram:
        """Returns the program of a task's step at a padded length; its sum is `loss`."""
        kind = self._kinds[task]
        model, training = dataclasses.asdict(self._pretrained.model), self.training

        def step(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {"loss": self._take(task, [features])}

        return lower_task(
            step,
            self.rows[task],
            self.variables(),
            batch_size=self.training.train_batch_size,
            length=length,
            full_precision=self.dtype == tf.float32,
            key=[
                *("train", kind.task.to_dict(), kind.max_seq_length, model, self.hyper),
                *(dataclasses.asdict(training), self.dtype.name, self.num_train_steps),
            ],
        )

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables of the steps: by their names in checkpoints, `step` and `seed`."""
        numbers = {"step": self.state.optimizer.step, "seed": self._seed}
        return self.model.weights() | self.state.optimizer.state_tensors() | numbers

    def reset(self, seed: int) -> None:
        """Assigns the initial values of the trial of this seed to every variable."""
        initial = TaskModel(self._pretrained, self._kinds, seed=seed).weights()
        for name, variable in self.model.weights().items():
            variable.assign(initial[name])
        self.state.optimizer.reset()
        self._seed.assign(seed)
        if self._on_device is not None:
            self._on_device.forget()

    def plan(self, seed: int, epoch: int) -> list[tuple[str, np.ndarray]]:
        """Returns the (task, groups) of each step of an epoch; tasks are mixed by size."""
        plan = [
            (task, groups)
            for task, rows in self.rows.items()
            for groups in batches.training_plan(
                rows,
                batch_size=self.training.train_batch_size,
                seed=seed,
                epoch=epoch,
                by_length=self.training.bucket_by_length,
            )
        ]
        if len(self.rows) == 1:
            return plan
        order = np.random.default_rng([seed, epoch, 1]).permutation(len(plan))
        return [plan[index] for index in order]

    def train_steps(self, steps: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
        """Takes steps, each a task and the groups of its batch; returns the summed losses."""
        if self._device.found:
            return self._on_devices().run(steps)
        return np.array([float(loss) for loss in [self.train_step(*step) for step in steps]])

    def _on_devices(self) -> DeviceTrainer:
        if self._on_device is None:
            from electra_zh.finetuning.programs.trials import DeviceTrainer

            self._on_device = DeviceTrainer(
                self.lower,
                self.rows,
                self.lengths,
                self.variables(),
                batch_size=self.training.train_batch_size,
                device=self._device,
            )
        return self._on_device

    def sync(self) -> None:
        """Assigns the state of the device, if there is one, to the variables."""
        if self._on_device is not None:
            self._on_device.sync()

    def train_step(self, task: str, groups: np.ndarray, lengths: Sequence[int] = ()) -> tf.Tensor:
        """Takes one step and returns its summed loss; `lengths` are by default the task's."""
        lengths = lengths or self.lengths[task]
        make = functools.partial(batches.make_batch, self.rows[task], groups, lengths=lengths)
        size, count = self.training.train_batch_size, self._parts
        parts = [make(batch_size=size, part=(number, count)) for number in range(count)]
        loss: tf.Tensor = self._steps[task](tf.nest.map_structure(tf.constant, parts))
        return loss


class Trial:
    """A trial, or the rest of one that has a checkpoint in its folder."""

    def __init__(
        self,
        trainer: TaskTrainer,
        *,
        seed: int,
        folder: str,
        evaluate: Callable[[], Mapping[str, float]],
        steps_per_call: int = 0,
        trackers: Trackers | None = None,
    ) -> None:
        """Assigns the initial values of the trial, or restores its checkpoint.

        Args:
          trainer: the networks, which have one trial at a time.
          seed: random seed of the heads' weights, the order of the examples and dropout.
          folder: the trial's folder.
          evaluate: returns each task's dev score; EvaluationStoppedError gives the evaluation up.
          steps_per_call: as in `loop.run`.
          trackers: get the lines of metrics, too.
        """
        self._trainer, self._seed, self._evaluate = trainer, seed, evaluate
        trainer.reset(seed)
        self._store = CheckpointStore(f"{folder}/state", keep=1)
        self._folder = folder
        self.step, state = trainer.state.restore(self._store)
        self._log = MetricsLog(folder, resume_step=self.step, trackers=trackers)
        scores = [line["score"] for line in self._log.read() if "score" in line]
        # Versions before these saved neither.
        self._dev: list[float] = state.get("dev", scores)
        self._loss: float = state.get("loss", 0.0)  # summed over the steps of the epoch
        self._seconds, self._examples = 0.0, 0
        self._steps_per_call = steps_per_call

    def run(self, stop: StopRequest, *, show: progress.Show = progress.show) -> TrialResult:
        """Runs epochs to the end, an early stop or a signal; a checkpoint is saved at a signal.

        An evaluation that a signal ends is done by the call that resumes.

        Raises:
          UserError: the loss became NaN or infinite.
        """
        trainer, total = self._trainer, self._trainer.num_train_steps
        saved = time.monotonic()
        bars = show(trainer.what, total=total, unit="step", initial=self.step)
        with contextlib.closing(self._log), bars as bar:
            if self._lacks_score():
                self._score_epoch(self.step)
            while self.step < total and not self._stopped_early() and not stop.is_set:
                self._epoch(stop, bar)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
        if stop.is_set:
            self.save()
            return self._result(finished=False)
        if self._dev:
            trainer.state.take_best()
        return self._result(finished=True)

    def save(self) -> None:
        """Saves the checkpoint of the last step."""
        self._trainer.sync()
        saved = {"dev": self._dev, "loss": self._loss}
        self._trainer.state.save(self._store, self.step, saved)

    def _lacks_score(self) -> bool:
        """Returns whether the last step is the end of an epoch that is not evaluated."""
        done, rest = divmod(self.step, self._trainer.epoch_steps)
        ends = done + (rest > 0 and self.step == self._trainer.num_train_steps)
        return len(self._dev) < ends

    def _epoch(self, stop: StopRequest, bar: progress.Bar) -> None:
        """Runs the rest of an epoch, and evaluates at its end."""
        per_epoch = self._trainer.epoch_steps
        epoch, done = divmod(self.step, per_epoch)
        plan = iter(self._trainer.plan(self._seed, epoch)[done:])
        losses: list[float] = []
        self._loss = self._loss if done else 0.0

        def inner(count: int) -> StepLosses:
            start = time.perf_counter()
            taken = list(itertools.islice(plan, count))
            sizes = [len(groups) for _, groups in taken]
            means = self._trainer.train_steps(taken) / sizes
            self._seconds += time.perf_counter() - start
            self._examples += sum(sizes)
            return StepLosses(means)

        def on_call(first: int, last: int, found: StepLosses) -> None:
            losses.extend(found.loss)
            self._loss = sum(found.loss.tolist(), self._loss)
            best = {"best dev": f"{max(self._dev):.2f}"} if self._dev else {}
            bar.update(last + 1 - first, {"loss": f"{np.mean(losses[-50:]):.4f}", **best})

        def end_epoch(step: int) -> None:
            self._log.write(step, "train", {"loss": self._loss / (step - epoch * per_epoch)})
            self._trainer.sync()
            self._score_epoch(step)

        self.step = loop.run(
            inner,
            first_step=self.step,
            last_step=min((epoch + 1) * per_epoch, self._trainer.num_train_steps),
            actions=[loop.Action(per_epoch, end_epoch)],
            on_call=on_call,
            stop=stop,
            steps_per_call=self._steps_per_call,
        )

    def _score_epoch(self, step: int) -> None:
        with progress.activity("evaluating"):
            try:
                scores = dict(self._evaluate())
            except EvaluationStoppedError:
                return
        score = float(np.mean(list(scores.values())))
        is_best = not self._dev or score > max(self._dev)
        self._dev.append(score)
        # A process that was killed after this line and before its checkpoint has written it.
        if not has_line(self._folder, step, "eval"):
            self._log.write(step, "eval", {"score": score, **scores})
        if is_best:
            self._trainer.state.keep()

    def _stopped_early(self) -> bool:
        patience = self._trainer.training.early_stopping
        if not patience or not self._dev:
            return False
        return len(self._dev) - 1 - int(np.argmax(self._dev)) >= patience

    def _result(self, *, finished: bool) -> TrialResult:
        keep_best = bool(self._trainer.state.best)
        best = int(np.argmax(self._dev)) + 1 if self._dev and keep_best else len(self._dev)
        speed = self._examples / self._seconds if self._seconds else 0.0
        return TrialResult(finished, best, list(self._dev), speed)
