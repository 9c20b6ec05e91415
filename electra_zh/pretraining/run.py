"""One pretraining run, from its folders to its last step."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging

from electra_zh import files, locks, progress
from electra_zh.data import pipeline
from electra_zh.data.source import open_data_source
from electra_zh.pretraining import folder, metrics, warm_start
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.evaluate import make_evaluation
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.reporter import Reporter, StepSums
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.training import checkpoints, devices, loop
from electra_zh.training.logs import MetricsLog


class Program:
    """One step of pretraining, for the training loop."""

    def __init__(self, state: TrainState) -> None:
        self._state = state

    def zero_sums(self) -> StepSums:
        """Returns the sums before the first step."""
        return StepSums(metrics.zero_training_sums(), tf.zeros([]))

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> StepSums:
        """Masks, runs both networks, and updates the weights."""
        objective, optimizer = self._state.objective, self._state.optimizer
        with tf.GradientTape() as tape:
            output = objective(batch, step=optimizer.step, training=True)
        gradients = tape.gradient(output.loss, objective.trainable_variables)
        norm = optimizer.apply(gradients)
        return StepSums(metrics.training_sums(output, batch["input_mask"]), norm)


class PreparedRun(NamedTuple):
    """A run that is checked and ready to be trained.

    Attributes:
      run: the run.
      shards: of the training data.
      eval_shards: of the held-out data; None for none.
      first_weights: weights of a new run; None for random weights, and to resume.
    """

    run: Run
    shards: tuple[pipeline.Shard, ...]
    eval_shards: tuple[pipeline.Shard, ...] | None
    first_weights: FirstWeights | None

    def plan(self) -> list[str]:
        """Returns the plan of the training as lines."""
        run, config = self.run, self.run.config
        examples = sum(shard.examples for shard in self.shards)
        start = "a new run"
        if not checkpoints.is_empty(run.checkpoints):
            start = f"resumes from {checkpoints.find(run.checkpoints)}"
        model = config.model
        lines = [
            f"run: {run.folder}, {start}",
            f"data: {examples:,} examples of length {config.max_seq_length} "
            f"(shards: {len(self.shards):,}), {run.vocabulary.size:,} tokens in the vocabulary",
            f"model: {model.num_hidden_layers} layers of width {model.hidden_size}, "
            f"masking={config.masking}, precision={config.precision}",
            f"training: {config.num_train_steps:,} steps of {config.train_batch_size:,} sequences, "
            f"{config.num_train_steps * config.train_batch_size / examples:.2f} epochs",
        ]
        if run.init is not None:
            lines.append(f"first weights: {run.init}")
        if self.eval_shards is not None:
            held_out = sum(shard.examples for shard in self.eval_shards)
            lines.append(f"evaluation: {held_out:,} held-out examples")
        return lines


def prepare(request: PretrainRequest, overrides: Mapping[str, Any]) -> PreparedRun:
    """Checks everything that a new run, or a resumed one, needs; writes nothing.

    Args:
      request: the settings of the command.
      overrides: settings of the run that override its recipe.

    Raises:
      UserError: settings, data and run do not match.
    """
    data, output, start = request.data, request.output, request.first_weights()
    source = open_data_source(data, vocab=request.vocab)
    # The order of precedence of a run's weights:
    # 1. The newest checkpoint in --output. It has the optimizer and the step, too.
    # 2. The model of --init; with --keep-optimizer its optimizer's slots. The step is 0.
    # 3. Random weights, by the seed.
    weights = None
    if folder.is_run(output):
        run = folder.resume(
            output, recipe=request.config, overrides=overrides, data=source, init=start
        )
    else:
        if start is not None:
            weights = warm_start.read(start)
            start = warm_start.describe(start, weights)
        run = folder.create(
            output,
            recipe=request.config,
            overrides=overrides,
            data=source,
            init=start,
            source=warm_start.size_of(weights) if weights else None,
        )
    first_weights = None
    if run.init is not None and checkpoints.is_empty(run.checkpoints):
        first_weights = warm_start.first_weights(weights or warm_start.read(run.init), run)
    length, words = run.config.max_seq_length, run.config.needs_words
    shards = pipeline.open_shards(data, max_seq_length=length, words=words)
    if request.eval_data is not None:
        run = dataclasses.replace(run, eval_data=_absolute(request.eval_data))
    return PreparedRun(run, shards, _open_eval_shards(run, request.eval_data), first_weights)


def _absolute(path: str) -> str:
    return path if files.is_remote(path) else os.path.abspath(path)


def _open_eval_shards(run: Run, given: str | None) -> tuple[pipeline.Shard, ...] | None:
    """Opens the held-out data of the command line, or else those that the run had before."""
    path = given or run.eval_data
    if path is None:
        return None
    if given is None and not files.exists(path):
        logging.warning(
            "The run's held-out data in %s is missing: it is resumed without evaluation. Give "
            "--eval-data DIR to evaluate.",
            path,
        )
        return None
    source = open_data_source(path, default=run.vocabulary)
    source.check_fits(run.vocabulary, run.tokenizer)
    length, words = run.config.max_seq_length, run.config.needs_words
    return pipeline.open_shards(path, max_seq_length=length, words=words)


def pretrain(prepared: PreparedRun) -> bool:
    """Trains a run to its last step, resuming from its newest checkpoint.

    Returns:
      True if the run reached its last step; False after SIGINT or SIGTERM.

    Raises:
      UserError: the loss became NaN.
    """
    with locks.locked(prepared.run.folder):
        return _train(prepared)


def _train(prepared: PreparedRun) -> bool:
    run, shards, eval_shards, first_weights = prepared
    config = run.config
    state = TrainState(config, run.vocabulary)
    saver = _Saver(run, state, examples=sum(shard.examples for shard in shards))
    first_step = saver.restore()
    if first_step >= config.num_train_steps:
        logging.info("The run in %s is finished: it has done its %d steps.", run.folder, first_step)
        return True
    with loop.Interrupt() as interrupt:
        run.save()
        if first_weights is not None:
            _begin(state, saver, first_weights)
        _announce(run, state, shards, first_step)
        last_step = _loop(run, state, saver, shards, eval_shards, first_step, interrupt)
    if last_step < config.num_train_steps:
        logging.info(
            "%s: saved at step %d of %d. Rerun the command to resume.",
            interrupt.signal_name,
            last_step,
            config.num_train_steps,
        )
        return False
    logging.info("Done: %d steps, checkpoints in %s", last_step, run.checkpoints)
    return True


class _Saver:
    """Saves and restores the checkpoints of a run."""

    def __init__(self, run: Run, state: TrainState, *, examples: int) -> None:
        """Takes the run, its training state, and the number of examples of its data."""
        config = run.config
        self._run, self._state, self._examples = run, state, examples
        self._store = checkpoints.CheckpointStore(run.checkpoints, keep=config.keep_checkpoint_max)

    def save(self, step: int) -> None:
        """Saves the checkpoint of a step, with the settings and the position in the data."""
        config = self._run.config
        read = step * config.train_batch_size
        data = {
            "fingerprint": self._run.data_fingerprint,
            "examples": self._examples,
            "examples_read": read,
            "epoch": read // self._examples,
            "example_in_epoch": read % self._examples,
        }
        self._state.save(self._store, step, state={"settings": config.to_dict(), "data": data})

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step; 0 if there is none."""
        return self._state.restore(self._store) or 0


def _begin(state: TrainState, saver: _Saver, first_weights: FirstWeights) -> None:
    """Assigns and saves the first weights; their source is not needed any more."""
    warm_start.log(first_weights)
    first_weights.assign(state)
    saver.save(0)


def _loop(
    run: Run,
    state: TrainState,
    saver: _Saver,
    shards: tuple[pipeline.Shard, ...],
    eval_shards: tuple[pipeline.Shard, ...] | None,
    first_step: int,
    interrupt: loop.Interrupt,
) -> int:
    """Trains from `first_step` to the last step, or to a signal, and saves there."""
    config = run.config
    log = MetricsLog(run.folder, resume_step=first_step)
    batches = pipeline.batches(
        shards,
        batch_size=config.train_batch_size,
        max_seq_length=config.max_seq_length,
        seed=config.seed,
        start_example=first_step * config.train_batch_size,
        words=config.needs_words,
    )
    inner = loop.make_inner_loop(Program(state), batches, jit_compile=devices.use_xla())
    total = config.num_train_steps
    with progress.show("pretrain", total=total, unit="step", initial=first_step) as bar:
        reporter = Reporter(config, log, bar)
        actions = [loop.Action(config.log_steps, reporter.log)]
        if eval_shards is not None:
            evaluate = _evaluation(state, config, eval_shards, log)
            actions.append(loop.Action(config.save_checkpoints_steps, evaluate))
        actions.append(loop.Action(config.save_checkpoints_steps, saver.save))
        last_step = loop.run(
            inner,
            first_step=first_step,
            last_step=total,
            actions=actions,
            on_call=reporter.add,
            interrupt=interrupt,
            steps_per_call=config.iterations_per_loop,
        )
    if last_step < total:
        saver.save(last_step)
    return last_step


def _announce(
    run: Run, state: TrainState, shards: tuple[pipeline.Shard, ...], first_step: int
) -> None:
    config = run.config
    examples = sum(shard.examples for shard in shards)
    weights = sum(variable.shape.num_elements() for variable in state.objective.trainable_variables)
    epochs = config.num_train_steps * config.train_batch_size / examples
    logging.info(
        "%s: %.1f M weights, %s; %s examples (%d shards); %d steps of %d are %.2f epochs.",
        f"Resuming from step {first_step}" if first_step else "New run",
        weights / 1e6,
        config.precision,
        f"{examples:,}",
        len(shards),
        config.num_train_steps,
        config.train_batch_size,
        epochs,
    )


def _evaluation(
    state: TrainState,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    log: MetricsLog,
) -> Callable[[int], None]:
    evaluate = make_evaluation(state.objective, config, shards, max_batches=config.num_eval_steps)

    def run_and_log(step: int) -> None:
        results = evaluate()
        log.write(step, "eval", results)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in results.items())
        logging.info("Evaluation at step %d: %s", step, shown)

    return run_and_log
