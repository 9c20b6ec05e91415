"""One trial of fine-tuning: epochs, the best one kept, stopped and gone on with at any step.

The traced steps depend on shapes only: a trainer runs all trials of a setting, and each begins by
assigning fresh values to the same variables. Randomness follows from (seed, step).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import progress
from electra_zh.errors import UserError
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.model import Kinds, TaskModel
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.tasks import SEED_SHIFT, Training
from electra_zh.models.config import ModelConfig
from electra_zh.models.random import RandomKey
from electra_zh.models.weight_names import variable_name
from electra_zh.training import checkpoints, devices, schedules
from electra_zh.training.checkpoints import CheckpointStore
from electra_zh.training.logs import MetricsLog
from electra_zh.training.loop import Interrupt
from electra_zh.training.optimizers import AdamWeightDecay, layerwise_factors

# A trial's state is saved at the end of an epoch if so many seconds have passed, and on a signal.
_SAVE_SECONDS = 60.0


class Hyperparameters(NamedTuple):
    """Settings with the model size's defaults filled in."""

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


class TrialState(tf.Module):
    """What a stopped trial goes on from: weights, optimizer, and the best epoch's weights."""

    def __init__(self, model: TaskModel, optimizer: AdamWeightDecay, *, keep_best: bool) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.best: list[tf.Variable] = []
        if keep_best:
            self.best = [
                tf.Variable(variable, trainable=False, name=f"best/{variable_name(variable.name)}")
                for variable in model.trainable_variables
            ]

    def save(self, store: CheckpointStore, step: int) -> None:
        """Saves the checkpoint of `step`."""
        store.save(
            step,
            model=self.model.weights(),
            optimizer=self._state_tensors(),
            state={"optimizer_step": int(self.optimizer.step)},
        )

    def restore(self, store: CheckpointStore) -> int:
        """Restores the newest checkpoint and returns its step; 0 if there is none."""
        found = store.latest()
        if found is None:
            return 0
        variables = self.model.weights() | self._state_tensors()
        checkpoints.assign(variables, found.model | found.optimizer, where=store.folder)
        self.optimizer.step.assign(found.state["optimizer_step"])
        return found.step

    def _state_tensors(self) -> dict[str, tf.Variable]:
        best = {variable_name(variable.name): variable for variable in self.best}
        return self.optimizer.state_tensors() | best

    def keep(self) -> None:
        """Takes the weights as they are for the best so far."""
        for best, variable in zip(self.best, self.model.trainable_variables, strict=True):
            best.assign(variable)

    def take_best(self) -> None:
        """Puts the best epoch's weights into the model."""
        for best, variable in zip(self.best, self.model.trainable_variables, strict=True):
            variable.assign(best)


class TrialResult(NamedTuple):
    """How a trial went.

    Attributes:
      finished: False after a signal; the rest is then that of the part that was done.
      best_epoch: from 1; the epoch whose weights were kept.
      dev: for each epoch the dev score, the mean over tasks.
      examples_per_second: training speed, evaluation left out.
    """

    finished: bool
    best_epoch: int
    dev: list[float]
    examples_per_second: float


class Trainer:
    """Trains trials of one setting: tasks, their rows, a start and hyperparameters."""

    def __init__(
        self,
        start: Pretrained,
        kinds: Kinds,
        train_rows: Mapping[str, EncodedSplit],
        training: Training,
        *,
        what: str,
    ) -> None:
        """Makes the networks.

        Args:
          start: what every trial starts from.
          kinds: task name to kind; several are trained jointly.
          train_rows: task name to training rows.
          training: the settings.
          what: the name that progress is shown under.
        """
        self._start, self._kinds, self._rows = start, kinds, train_rows
        self.training, self._what = training, what
        self.hyper = fill_defaults(training, start.model)
        self._dtype = tf.as_dtype(training.precision)
        # A TPU compiles one shape: there, batches of like length would save nothing.
        self._by_length = training.bucket_by_length and not devices.is_tpu()
        self.epoch_steps = sum(
            batches.steps_per_epoch(rows, training.train_batch_size) for rows in train_rows.values()
        )
        self.num_train_steps = max(1, math.ceil(self.epoch_steps * training.num_train_epochs))
        self.model = TaskModel(start, kinds, seed=0)
        self._seed = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.state = TrialState(self.model, self._optimizer(), keep_best=training.keep_best)
        # The update does not depend on the batch's shape: traced once, for all of them.
        self._update = tf.function(self.state.optimizer.apply, autograph=False)
        self._steps = {name: self._make_step(name) for name in kinds}

    def _optimizer(self) -> AdamWeightDecay:
        variables = self.model.trainable_variables
        schedule = functools.partial(
            schedules.warmup_polynomial,
            peak=self.hyper.learning_rate,
            num_train_steps=self.num_train_steps,
            num_warmup_steps=int(self.num_train_steps * self.training.warmup_proportion),
            power=self.training.lr_decay_power,
        )
        factors = layerwise_factors(
            [variable.name for variable in variables],
            num_hidden_layers=self._start.model.num_hidden_layers,
            decay=self.hyper.layerwise_lr_decay,
            top_layer_decay=self.training.top_layer_decay,
        )
        return AdamWeightDecay(
            variables,
            schedule,
            weight_decay_rate=self.training.weight_decay_rate,
            rate_factors=factors,
        )

    def _make_step(self, task: str) -> Callable[[Mapping[str, tf.Tensor]], tf.Tensor]:
        """Returns one optimizer step on a batch of a task; it returns the summed loss."""
        kind, head = self._kinds[task], self.model.heads[task]

        def step(features: Mapping[str, tf.Tensor]) -> tf.Tensor:
            number = self.state.optimizer.step + tf.bitwise.left_shift(
                self._seed, tf.constant(SEED_SHIFT, tf.int64)
            )
            key = RandomKey(0, number)
            with tf.GradientTape() as tape:
                hidden = self.model.hidden(features, dtype=self._dtype, key=key)
                losses = kind.losses(head, hidden, features)
                # The sum, not the mean, as in the reference: the clip is nearly always active.
                loss = tf.reduce_sum(losses * features["weight"])
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
            self._update([tf.convert_to_tensor(gradient) for gradient in gradients])
            return loss

        traced: Callable[[Mapping[str, tf.Tensor]], tf.Tensor] = tf.function(
            step, jit_compile=devices.use_xla(), autograph=False
        )
        return traced

    def reset(self, seed: int) -> None:
        """Puts every variable at the start of the trial of this seed."""
        fresh = TaskModel(self._start, self._kinds, seed=seed)
        for variable, value in zip(
            self.model.trainable_variables, fresh.trainable_variables, strict=True
        ):
            variable.assign(value)
        self.state.optimizer.reset()
        self._seed.assign(seed)

    def plan(self, seed: int, epoch: int) -> list[tuple[str, np.ndarray]]:
        """Returns the (task, groups) of each step of an epoch; tasks are mixed by their size."""
        plan = [
            (task, groups)
            for task, rows in self._rows.items()
            for groups in batches.training_plan(
                rows,
                batch_size=self.training.train_batch_size,
                seed=seed,
                epoch=epoch,
                by_length=self._by_length,
            )
        ]
        if len(self._rows) == 1:
            return plan
        order = np.random.default_rng([seed, epoch, 1]).permutation(len(plan))
        return [plan[index] for index in order]

    def run(
        self,
        *,
        seed: int,
        folder: str,
        evaluate: Callable[[], Mapping[str, float]],
        interrupt: Interrupt,
        show: progress.Show = progress.show,
    ) -> TrialResult:
        """Runs a trial, or goes on with it from what `folder` holds of it.

        Args:
          seed: of the heads' weights, the order of the examples and dropout.
          folder: the trial's folder.
          evaluate: returns each task's dev score.
          interrupt: checked after every step.
          show: how progress is shown.

        Raises:
          UserError: the loss became NaN or infinite.
        """
        trial = _Trial(self, seed, folder, evaluate, interrupt)
        with show(self._what, total=self.num_train_steps, unit="step", initial=trial.step) as bar:
            return trial.run(bar)

    def train_step(self, task: str, groups: np.ndarray) -> float:
        """Takes one step and returns the mean loss of the batch's groups."""
        batch = batches.make_batch(
            self._rows[task],
            groups,
            batch_size=self.training.train_batch_size,
            max_seq_length=self._kinds[task].max_seq_length,
            by_length=self._by_length,
        )
        features = {name: tf.constant(value) for name, value in batch.features.items()}
        return float(self._steps[task](features)) / len(groups)


class _Trial:
    """The running part of a trial."""

    def __init__(
        self,
        trainer: Trainer,
        seed: int,
        folder: str,
        evaluate: Callable[[], Mapping[str, float]],
        interrupt: Interrupt,
    ) -> None:
        self._trainer, self._seed, self._folder = trainer, seed, folder
        self._evaluate, self._interrupt = evaluate, interrupt
        trainer.reset(seed)
        self._store = CheckpointStore(f"{folder}/state", keep=1)
        self.step = trainer.state.restore(self._store)
        self._log = MetricsLog(folder, resume_step=self.step)
        self._dev = [line["score"] for line in self._log.read() if line["kind"] == "eval"]
        self._saved = time.monotonic()
        self._seconds, self._examples = 0.0, 0

    def run(self, bar: progress.Bar) -> TrialResult:
        trainer = self._trainer
        per_epoch, total = trainer.epoch_steps, trainer.num_train_steps
        while self.step < total and not self._stopped_early():
            epoch = self.step // per_epoch
            plan = trainer.plan(self._seed, epoch)[
                self.step % per_epoch : total - epoch * per_epoch
            ]
            if self._epoch(plan, bar):
                self._end_epoch()
            stop = self._interrupt.signal_name is not None
            if stop or time.monotonic() - self._saved > _SAVE_SECONDS:
                trainer.state.save(self._store, self.step)
                self._saved = time.monotonic()
            if stop:
                return self._result(finished=False)
        if trainer.state.best and self._dev:
            trainer.state.take_best()
        return self._result(finished=True)

    def _epoch(self, plan: Sequence[tuple[str, np.ndarray]], bar: progress.Bar) -> bool:
        """Trains the rest of an epoch; False after a signal before its last step.

        In the last step it ends the epoch: what is saved there always holds its evaluation.
        """
        losses: list[float] = []
        for number, (task, groups) in enumerate(plan, 1):
            start = time.perf_counter()
            loss = self._trainer.train_step(task, groups)
            self._seconds += time.perf_counter() - start
            self._examples += len(groups)
            self.step += 1
            if not math.isfinite(loss):
                raise UserError(
                    f"Training stopped: the loss became {loss} in step {self.step}. "
                    "Try a lower learning_rate or precision=float32."
                )
            losses.append(loss)
            best = {"best dev": f"{max(self._dev):.2f}"} if self._dev else {}
            bar.update(1, {"loss": f"{np.mean(losses[-50:]):.4f}", **best})
            if number < len(plan) and self._interrupt.signal_name is not None:
                return False
        self._log.write(self.step, "train", {"loss": float(np.mean(losses))})
        return True

    def _end_epoch(self) -> None:
        scores = dict(self._evaluate())
        score = float(np.mean(list(scores.values())))
        better = not self._dev or score > max(self._dev)
        self._dev.append(score)
        self._log.write(self.step, "eval", {"score": score, **scores})
        if better:
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
