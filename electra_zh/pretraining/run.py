"""One pretraining run, from its folders to its last step."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging

from electra_zh import files, locks, progress
from electra_zh.data import pipeline
from electra_zh.data.source import open_data_source
from electra_zh.pretraining import folder, metrics, warm_start
from electra_zh.pretraining.evaluate import make_evaluation, open_held_out, open_shards
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health.diagnosis import HealthCheck
from electra_zh.pretraining.health.measures import make_measure
from electra_zh.pretraining.reporter import Reporter, StepSums
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.training import checkpoints, loop
from electra_zh.training.logs import MetricsLog


class PretrainStep:
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
    """A run that is checked and ready to be trained."""

    run: Run  # the run
    shards: tuple[pipeline.Shard, ...]  # of the training data
    eval_shards: tuple[pipeline.Shard, ...] | None  # of the held-out data; None for none
    # weights of a new run; None for random weights, and to resume
    first_weights: FirstWeights | None

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return sum(shard.examples for shard in self.shards)

    @property
    def epochs(self) -> float:
        """Epochs of the complete run: each is one pass through the data."""
        return self.run.config.num_train_steps * self.run.config.train_batch_size / self.examples

    def plan(self) -> list[str]:
        """Returns the plan of the training as lines."""
        run, config, model = self.run, self.run.config, self.run.config.model
        start = "a new run"
        if not checkpoints.is_empty(run.checkpoints):
            start = f"resumes from {checkpoints.find(run.checkpoints)}"
        lines = [
            f"run: {run.folder}, {start}",
            f"data: {self.examples:,} examples of length {config.max_seq_length} "
            f"(shards: {len(self.shards):,}), {run.vocabulary.size:,} tokens in the vocabulary",
            f"model: {model.num_hidden_layers} layers of width {model.hidden_size}, "
            f"masking={config.masking}, precision={config.precision}",
            f"training: {config.num_train_steps:,} steps of {config.train_batch_size:,} sequences, "
            f"{self.epochs:.2f} epochs",
        ]
        if run.init is not None:
            lines.append(f"first weights: {run.init}")
        if self.eval_shards is not None:
            held_out = sum(shard.examples for shard in self.eval_shards)
            lines.append(f"evaluation: {held_out:,} held-out examples")
        return lines


def prepare(request: PretrainRequest, overrides: Mapping[str, Any]) -> PreparedRun:
    """Checks that settings, data and run match, for a new or resumed run; writes nothing."""
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
    shards = open_shards(run.config, data)
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
    return open_held_out(run, path)


def pretrain(prepared: PreparedRun) -> bool:
    """Trains a run to its last step, resuming from its newest checkpoint.

    Returns True if the run reached its last step, False after SIGINT or SIGTERM.
    """
    run, total = prepared.run, prepared.run.config.num_train_steps
    with locks.locked(run.folder):
        training = _Training(prepared)
        first_step = training.restore()
        if first_step >= total:
            what = "The run in %s is finished: it has done its %d steps."
            logging.info(what, run.folder, first_step)
            return True
        with loop.Interrupt() as interrupt:
            run.save()
            if prepared.first_weights is not None:
                # With a checkpoint of them the run does not need their source any more.
                prepared.first_weights.assign(training.state)
                training.save(0)
            last_step = training.run(first_step, interrupt)
    if last_step < total:
        logging.info(
            "%s: saved at step %d of %d. Rerun the command to resume.",
            interrupt.signal_name,
            last_step,
            total,
        )
        return False
    logging.info("Done: %d steps, checkpoints in %s", last_step, run.checkpoints)
    return True


class _Training:
    """A run in training: its networks and optimizer, its data and its checkpoints."""

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared
        self._run, self._config = prepared.run, prepared.run.config
        self.state = TrainState(self._config, self._run.vocabulary)
        self._store = checkpoints.CheckpointStore(
            self._run.checkpoints, keep=self._config.keep_checkpoint_max
        )

    def save(self, step: int) -> None:
        """Saves the checkpoint of a step, with the settings and the position in the data."""
        read, examples = step * self._config.train_batch_size, self._prepared.examples
        data = {
            "fingerprint": self._run.data_fingerprint,
            "examples": examples,
            "examples_read": read,
            "epoch": read // examples,
            "example_in_epoch": read % examples,
        }
        settings = self._config.to_dict()
        self.state.save(self._store, step, state={"settings": settings, "data": data})

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step; 0 if there is none."""
        return self.state.restore(self._store) or 0

    def run(self, first_step: int, interrupt: loop.Interrupt) -> int:
        """Trains from `first_step` to the last step, or to a signal, and saves there."""
        self._announce(first_step)
        config, total = self._config, self._config.num_train_steps
        log = MetricsLog(self._run.folder, resume_step=first_step, context=self._context)
        batches = pipeline.batches(
            self._prepared.shards,
            batch_size=config.train_batch_size,
            max_seq_length=config.max_seq_length,
            seed=config.seed,
            start_example=first_step * config.train_batch_size,
            words=config.needs_words,
        )
        inner = loop.make_inner_loop(PretrainStep(self.state), batches, jit_compile=loop.use_xla())
        health = self._health_check()
        with progress.show("pretrain", total=total, unit="step", initial=first_step) as bar:
            reporter = Reporter(config, log, bar, health)
            last_step = loop.run(
                inner,
                first_step=first_step,
                last_step=total,
                actions=self._actions(log, reporter, health),
                on_call=reporter.add,
                interrupt=interrupt,
                steps_per_call=config.iterations_per_loop,
            )
        if last_step < total:
            self.save(last_step)
        return last_step

    def _announce(self, first_step: int) -> None:
        variables = self.state.objective.trainable_variables
        logging.info(
            "%s: %.1f M weights, %s; %s examples (%d shards); %d steps of %d are %.2f epochs.",
            f"Resuming from step {first_step}" if first_step else "New run",
            sum(variable.shape.num_elements() for variable in variables) / 1e6,
            self._config.precision,
            f"{self._prepared.examples:,}",
            len(self._prepared.shards),
            self._config.num_train_steps,
            self._config.train_batch_size,
            self._prepared.epochs,
        )

    def _context(self, step: int) -> dict[str, float]:
        """Returns what every line of metrics says about its step."""
        tokens = step * self._config.train_batch_size * self._config.max_seq_length
        return {"tokens": tokens, "learning_rate": self.state.learning_rate(step)}

    def _health_check(self) -> HealthCheck:
        shards = self._prepared.eval_shards or self._prepared.shards
        measure = make_measure(self.state.objective, self._config, shards)
        return HealthCheck(self._config, measure, self.state.learning_rate)

    def _actions(
        self, log: MetricsLog, reporter: Reporter, health: HealthCheck
    ) -> list[loop.Action]:
        """Returns the logging, the evaluation and the saving, in this order."""
        config, shards = self._config, self._prepared.eval_shards
        actions = [loop.Action(config.log_steps, reporter.log)]
        if shards is not None:
            evaluate = make_evaluation(
                self.state.objective, config, shards, max_batches=config.num_eval_steps
            )

            def run_and_log(step: int) -> None:
                results = evaluate() | health.measure(step)
                log.write(step, "eval", results)
                shown = ", ".join(f"{name} {value:.4f}" for name, value in results.items())
                logging.info("Evaluation at step %d: %s", step, shown)

            actions.append(loop.Action(config.save_checkpoints_steps, run_and_log))
        return [*actions, loop.Action(config.save_checkpoints_steps, self.save)]
