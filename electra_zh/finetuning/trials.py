"""The trials of one setting: rows are encoded once, the steps are traced once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from absl import logging

from electra_zh import files, machine
from electra_zh.errors import UserError
from electra_zh.finetuning import model, results
from electra_zh.finetuning.dataset import TaskData
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.predict import Evaluation, Predictor
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.scores.answer_counts import AnswerCounts
from electra_zh.finetuning.tasks import Split, Training
from electra_zh.finetuning.trainer import TaskTrainer, Trial
from electra_zh.interrupts import EvaluationStoppedError, StopRequest
from electra_zh.runtime.device import CPU, Device
from electra_zh.training.trackers import Trackers
from electra_zh.training.trackers import start as start_trackers


class Trials:
    """The trials of one setting, of one task or of several that are trained jointly."""

    def __init__(
        self,
        pretrained: Pretrained,
        name: str,
        data: Mapping[str, TaskData],
        *,
        track: Sequence[str] = (),
        device: Device = CPU,
    ) -> None:
        """Encodes the examples and makes the trainer.

        Args:
          pretrained: the model to start from.
          name: name in log lines.
          data: task name to its data; joint training takes the first task's settings.
          track: names of trackers.
          device: TensorFlow's CPU, or a device of JAX.
        """
        self._device = device
        tokenizer = pretrained.make_tokenizer()
        self._name, self._data, self._track = name, data, track
        self._rows = {
            (task, split): each.kind.encode(examples, tokenizer, training=split == "train")
            for task, each in data.items()
            for split, examples in each.splits.items()
        }
        self._kinds = {task: each.kind for task, each in data.items()}
        training = next(iter(data.values())).task.training
        # The saved model has the dropout rates that it was trained with.
        self._pretrained = pretrained.with_dropout(training.dropout)
        train_rows = {task: self._rows[task, "train"] for task in data}
        for task, rows in train_rows.items():
            if not rows.groups:
                reason = "; ".join(rows.notes) or "the texts have no tokens"
                raise UserError(f"task {task}: no example to train on: {reason}")
        self.trainer = TaskTrainer(
            self._pretrained, self._kinds, train_rows, training, what=name, device=device
        )
        self._predictors = {task: self._make_predictor(task, training) for task in data}
        self._compiled = False
        self._last_dev: dict[str, Evaluation] = {}
        self._stop = StopRequest()  # of the trial in progress
        self._announce()

    def _make_predictor(self, task: str, training: Training) -> Predictor:
        """Returns the predictor of a task, with lengths for all of its evaluations."""
        size, precision = training.eval_batch_size, training.precision
        model, kind = self.trainer.model, self._kinds[task]
        if kind.any_length and not self._device.found:
            return Predictor(model, kind, batch_size=size, precision=precision)
        splits = [split for split in self._data[task].splits if split != "train"]
        longest, rows = [], [self._rows[task, split] for split in splits]
        for split, each in zip(splits, rows, strict=True):
            found = batches.longest_rows(each, batches.evaluation_plan(each, batch_size=size))
            longest.append(np.repeat(found, self.trainer.epochs if split == "dev" else 1))
        widest = max(rows, key=lambda each: each.group_lengths.max(initial=0))
        # A third of the work. Only a device compiles, else a length takes a twelfth of the seconds.
        cost = 3.0 if self._device.found else 0.25
        lengths = self.trainer.padded_lengths(
            task, np.concatenate(longest), widest, size, relative_cost=cost
        )
        return Predictor(
            *(model, kind),
            batch_size=size,
            precision=precision,
            lengths=lengths,
            device=self._device,
        )

    def _compile(self) -> None:
        """Compiles all lengths side by side, once; compiling one keeps a single core busy."""
        if self._compiled:
            return
        logging.info("%s: compiling the steps.", self._name)
        self._compiled = True
        calls = self.trainer.warm_up()
        if len(calls) > 1 and self.trainer.is_small():
            with ThreadPoolExecutor(machine.threads()) as pool:
                for done in [pool.submit(call) for call in calls]:
                    done.result()

    def _announce(self) -> None:
        name, trainer, training = self._name, self.trainer, self.trainer.training
        sizes = ", ".join(
            f"{task}: " + ", ".join(f"{split} {len(each.splits[split]):,}" for split in each.splits)
            for task, each in self._data.items()
        )
        logging.info(
            "%s: %s examples; %d steps of %d, learning rate %g, layer-wise decay %g, "
            "dropout %g, %s",
            name,
            sizes.removeprefix(f"{name}: "),
            trainer.num_train_steps,
            training.train_batch_size,
            trainer.hyper.learning_rate,
            trainer.hyper.layerwise_lr_decay,
            self._pretrained.model.hidden_dropout_prob,
            training.precision,
        )
        lengths = {length for each in trainer.lengths.values() for length in each}
        logging.info("%s: batches are padded to %s", name, ", ".join(map(str, sorted(lengths))))
        warning = machine.precision_warning(training.precision)
        if warning and self._device.platform == "cpu":
            logging.warning(warning)
        if len(self._data) > 1:
            logging.info("%s: training settings are those of %s", name, next(iter(self._data)))
        for task, each in self._data.items():
            for line in (*each.lines(), *self._row_notes(task)):
                logging.info("%s: %s", task, line)

    def _row_notes(self, task: str) -> Iterator[str]:
        """Yields the lines on rows, first on those longer than any of the pretraining."""
        wanted, length = self._data[task].task.max_seq_length, self._kinds[task].max_seq_length
        if wanted > length:
            yield f"max_seq_length {wanted} is cut to the {length} positions of the model"
        trained = self._pretrained.trained_length
        if 0 < trained < length:
            rows = self._rows[task, "train"]
            longer = int((rows.ends - rows.starts > trained).sum())
            if longer:
                yield (
                    f"{longer:,} of {len(rows.ends):,} training rows are longer than the {trained} "
                    "tokens of pretraining: positions after them are untrained"
                )
        for split in self._data[task].splits:
            rows = self._rows[task, split]
            for note in rows.notes:
                yield f"{split}: {note}"
            if rows.cut:
                cut = f"{rows.cut:,} of {len(rows.ends):,} texts are cut to {length} tokens"
                yield f"{split}: {cut} (max_seq_length)"

    def _dev_scores(self) -> dict[str, float]:
        self._last_dev = {task: self._evaluate(task, "dev") for task in self._data}
        return {
            task: self._last_dev[task].scores[each.task.metric] for task, each in self._data.items()
        }

    def _evaluate(self, task: str, split: Split) -> Evaluation:
        each = self._data[task]
        labelled = split != "test" or each.test_labelled
        return self._predictors[task].evaluate(
            *(self._rows[task, split], each.splits[split]),
            labelled=labelled,
            before_batch=self._stop.check,
        )

    def run(
        self,
        seed: int,
        folder: str,
        stop: StopRequest,
        *,
        setting: Mapping[str, str],
        number: str,
    ) -> dict[str, Any] | None:
        """Runs one trial and writes its predictions; its result, or None after a signal.

        `number` is its place among the trials of the command, such as "trial 2 of 6".
        """
        start = time.monotonic()
        self._last_dev, self._stop = {}, stop
        values = "".join(f", {key}={value}" for key, value in setting.items())
        logging.info("%s: %s, seed %d%s", self._name, number, seed, values)
        self.trainer.what = f"{self._name}, {number}"
        self._compile()
        training = Trial(
            self.trainer,
            seed=seed,
            folder=folder,
            evaluate=self._dev_scores,
            trackers=self._start_trackers(folder, seed),
        )
        trial = training.run(stop)
        if not trial.finished:
            return None
        if trial.best_epoch != len(trial.dev):
            # The model is that of an earlier epoch than the last evaluation.
            self._last_dev = {}
        try:
            per_task = {task: self.finish(task, folder) for task in self._data}
        except EvaluationStoppedError:
            training.save()
            return None
        dev = [scores["dev"][self._data[task].task.metric] for task, scores in per_task.items()]
        return {
            "seed": seed,
            "setting": dict(setting),
            "dev_score": float(np.mean(dev)),
            "best_epoch": trial.best_epoch,
            "dev_score_by_epoch": trial.dev,
            "examples_per_second": round(trial.examples_per_second, 2),
            "seconds": round(time.monotonic() - start, 1),
            "learning_rate": self.trainer.hyper.learning_rate,
            "tasks": per_task,
        }

    def _start_trackers(self, folder: str, seed: int) -> Trackers | None:
        """Starts the trackers of a trial, which is a run of its own there."""
        tasks = {task: each.task.to_dict() for task, each in self._data.items()}
        settings = {"model": self._pretrained.path, "seed": seed, "tasks": tasks}
        where = folder.rpartition(f"/{self._name}/")[2]
        return start_trackers(self._track, folder, settings, name=f"{self._name}/{where}")

    def finish(self, task: str, folder: str) -> dict[str, Any]:
        """Writes a task's predictions and table of errors, and returns its scores."""
        each = self._data[task]
        found: dict[str, Any] = {}
        warnings: list[str] = []
        if len(self._data) > 1:
            folder = files.join(folder, task)
            files.make_dirs(folder)
        for split, rows in each.splits.items():
            if split == "train":
                continue
            known = self._last_dev.get(task) if split == "dev" else None
            if known is None:
                logging.info("%s: evaluating %s, %s examples", task, split, f"{len(rows):,}")
            evaluation = known or self._evaluate(task, split)
            results.write_predictions(folder, split, each, evaluation.predictions)
            if evaluation.scores:
                found[split] = {name: round(value, 4) for name, value in evaluation.scores.items()}
            if evaluation.scores.get(each.task.metric, 0) < 100:
                counts = AnswerCounts(each.kind, evaluation.predictions)
                warnings += [f"{split}: {line}" for line in counts.lines()]
        found["left_out"] = {
            split: problems.to_dict()
            for split, problems in each.problems.items()
            if problems.counts
        }
        found["notes"] = [*each.notes, *self._row_notes(task)]
        found["warnings"] = warnings
        for line in warnings:
            logging.warning("%s: %s", task, line)
        return found

    def save_model(self, folder: str) -> None:
        """Writes the model of the trial that was run last."""
        used = self.trainer.hyper._asdict()
        model.save(folder, self._pretrained, self._kinds, self.trainer.model, used)
