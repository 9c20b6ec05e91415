"""The interface of a kind of task. One module of this package implements one kind.

Examples become rows, hidden states become losses and outputs, outputs become predictions, and
predictions become scores. Training, evaluation and prediction use only this interface.

Shapes: G groups of a batch (examples, or windows of them), S rows of a group, R = G * S rows,
L length, D hidden width.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import BadExampleError, BadExamples, Example
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.random import RandomKey
from electra_zh.text.tokenizer import Tokenizer

ExampleT = TypeVar("ExampleT")
PredictionT = TypeVar("PredictionT")
# Tensors of a batch by name, and outputs of a head by name.
Features = Mapping[str, tf.Tensor]
Outputs = Mapping[str, np.ndarray]


class Hidden(NamedTuple):
    """The encoder's output as a head receives it.

    A tensor with a derivative may be used by at most two operations; for more, `layers.fan_out`
    gives copies whose derivatives are added in a fixed order.

    Attributes:
      sequence: [R * L, D], the last layer's output, in the compute type.
      rows: R.
      length: L; 1 for kinds with `first_only`. For those with `any_length` a tensor in `outputs`.
      key: random key of dropout; None turns dropout off.
    """

    sequence: tf.Tensor
    rows: int
    length: int | tf.Tensor
    key: RandomKey | None

    def first(self) -> tf.Tensor:
        """Returns [R, D], the output at [CLS]."""
        return self.sequence[:: self.length]

    def dropout(self, x: tf.Tensor, stream: str, rate: float) -> tf.Tensor:
        """Returns x with dropout, in training."""
        drop = layers.draw_dropout(self.key, f"head/{stream}", rate)
        return layers.dropout(x, drop)


class ErrorTable(NamedTuple):
    """A table of errors, written next to the predictions.

    Attributes:
      name: name of its file: `confusion` of labels, `types` of entities.
      header: names of the columns.
      rows: the cells of each row.
    """

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class TaskKind(abc.ABC, Generic[ExampleT, PredictionT]):
    """One task's way from examples to scores.

    Attributes:
      example_type: class of the examples, which any reader of such examples makes.
      metric_names: scores that may choose the best epoch of a task.
      plain_reader: the reader of new data as plain lines; "" where plain lines do not suffice.
      submission_forms: leaderboard forms that the predictions can be written in.
      first_only: the head reads nothing but the output at [CLS]; no other is computed.
      any_length: `outputs` is also traced for an unknown L, once for batches of all lengths.
      head_form: the exported form of the head; None for kinds that are not exported.
      has_probabilities: `predict --probabilities` shows the probability of each label or choice.
      task: its settings; `labels` are complete (read from a file or the training data).
      max_seq_length: maximum tokens of a row: the task's, or the model's if that is less.
    """

    example_type: ClassVar[type[Example]]
    metric_names: ClassVar[tuple[str, ...]] = ()
    plain_reader: ClassVar[str] = ""
    submission_forms: ClassVar[tuple[str, ...]] = ()
    first_only: ClassVar[bool] = False
    any_length: ClassVar[bool] = False
    head_form: ClassVar[HeadForm | None] = None
    has_probabilities: ClassVar[bool] = False

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        """Checks the settings that only this kind of task can judge.

        Raises:
          UserError: a setting does not fit.
        """
        self.task = task
        self.max_seq_length = max_seq_length
        metrics = self.metrics(task)
        if task.metric not in metrics:
            raise UserError(
                f'task {task.name}: metric "{task.metric}" is not available for {task.kind}.'
                f"{did_you_mean(task.metric, metrics)} Allowed: {', '.join(metrics)}"
            )
        form = task.submission.form if task.submission else None
        if form is not None and form not in self.submission_forms:
            raise UserError(
                f'task {task.name}: submission form "{form}" is not available for {task.kind}. '
                f"Allowed: {', '.join(self.submission_forms) or 'none'}"
            )

    @classmethod
    def metrics(cls, task: TaskConfig) -> tuple[str, ...]:
        """Returns the names of the scores that may choose the best epoch of a task."""
        del task
        return cls.metric_names

    @classmethod
    def labels_from(cls, task: TaskConfig, seen: Sequence[str]) -> tuple[str, ...]:
        """Returns the labels of a task that lists none; `seen` are those of all its examples."""
        del task
        return tuple(sorted(set(seen)))

    @classmethod
    def usual_labels(cls, names: Sequence[str]) -> tuple[str, ...]:
        """Returns listed labels as the examples have them."""
        return tuple(names)

    def check(self, examples: Sequence[ExampleT], problems: BadExamples) -> list[ExampleT]:
        """Returns the labelled examples that can be used; the others go to `problems`."""
        good = []
        for example in (self.usual(example, problems) for example in examples):
            try:
                self.check_example(example)
                good.append(example)
            except BadExampleError as error:
                problems.add(error, example.place)  # type: ignore[attr-defined]
        return good

    def usual(self, example: ExampleT, problems: BadExamples) -> ExampleT:
        """Returns an example with its label as the task writes it; `problems` gets a note."""
        del problems
        return example

    def check_example(self, example: ExampleT) -> None:
        """Checks of a labelled example what its reader cannot, such as the labels of the task.

        Raises:
          BadExampleError: an unknown label, a span outside the text, a sentence without text.
        """
        del example

    @abc.abstractmethod
    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns the rows of the examples; with `training`, labels are among them.

        The rows' notes report repaired and skipped answers.
        """

    @abc.abstractmethod
    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> tf.Module:
        """Returns the output layers; the names of their variables begin with `path`."""

    @abc.abstractmethod
    def losses(self, head: Any, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns float32 [G], the loss of each group; the caller gives filler the weight 0."""

    @abc.abstractmethod
    def outputs(self, head: Any, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns the tensors that predictions are made from, [G, ...] each.

        Where an axis is L, the evaluation pads it with 0 to the longest of all batches.
        """

    @abc.abstractmethod
    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[ExampleT]
    ) -> list[PredictionT]:
        """Returns one prediction for each example, in their order.

        `rows` is the result of `encode`; `outputs` are [groups of `rows`, ...] in their order.
        """

    @abc.abstractmethod
    def scores(
        self, examples: Sequence[ExampleT], predictions: Sequence[PredictionT]
    ) -> dict[str, float]:
        """Returns name to score in percent; the task's metric is among them."""

    def is_label(self, name: str) -> bool:
        """Returns whether an example can have this label; False for placeholders in test data."""
        return name in self.task.labels.names

    def one_answer(self, prediction: PredictionT) -> str:
        """Returns a prediction in words if it can be the same for many examples; else ""."""
        del prediction
        return ""

    def to_json(
        self,
        example: ExampleT,
        prediction: PredictionT | None,
        *,
        inputs: bool = False,
        probabilities: bool = False,
    ) -> dict[str, Any]:
        """Returns the line of the predictions file; `gold` is omitted where it is unknown.

        Args:
          example: the example.
          prediction: None for an example without text.
          inputs: add the texts of the example.
          probabilities: add the probability of each label.
        """
        line: dict[str, Any] = {"id": example.id}  # type: ignore[attr-defined]
        if inputs:
            line |= example.inputs  # type: ignore[attr-defined]
        line |= self.no_prediction() if prediction is None else self.describe(example, prediction)
        gold = line.pop("gold", None)
        if probabilities:
            line["probabilities"] = None if prediction is None else self.probabilities(prediction)
        return line if gold is None else {**line, "gold": gold}

    def no_prediction(self) -> dict[str, Any]:
        """Returns the plain values of an example without text (`Example.is_blank`)."""
        return {"label": None}

    def probabilities(self, prediction: PredictionT) -> Any:
        """Returns the probability of each label, for kinds with `has_probabilities`."""
        raise NotImplementedError

    @abc.abstractmethod
    def describe(self, example: ExampleT, prediction: PredictionT) -> dict[str, Any]:
        """Returns the prediction as plain values, and `gold`, which is None if unknown."""

    def table(
        self, examples: Sequence[ExampleT], predictions: Sequence[PredictionT]
    ) -> ErrorTable | None:
        """Returns the table of errors, for kinds that have one."""
        del examples, predictions
        return None


def with_labels(
    task: TaskConfig, names: Sequence[str], descriptions: Sequence[str] = ()
) -> TaskConfig:
    """Returns the task with its labels complete."""
    labels = dataclasses.replace(task.labels, names=tuple(names), descriptions=tuple(descriptions))
    return dataclasses.replace(task, labels=labels)
