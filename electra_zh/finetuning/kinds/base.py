"""What a kind of task is made of. One file a kind implements it.

Examples become rows, hidden states become losses and outputs, outputs become predictions, and
predictions scores. Training, evaluation and prediction know tasks only through this class.

Shapes: G groups of a batch (examples, or windows of them), S rows of a group, R = G * S rows,
L length, D hidden width.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.rows import EncodedSplit
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.random import RandomKey
from electra_zh.text.tokenizer import Tokenizer

ExampleT = TypeVar("ExampleT")
PredictionT = TypeVar("PredictionT")


class Hidden(NamedTuple):
    """What a head sees of the encoder.

    A tensor with a derivative should be used by at most two operations: TensorFlow adds three or
    more derivatives in no fixed order, and the training would not repeat bit for bit. Chain a
    `tf.identity` where a third use is needed.

    Attributes:
      sequence: [R * L, D], the last layer's output, in the compute type.
      rows: R.
      length: L.
      key: what dropout follows from; None leaves it off.
    """

    sequence: tf.Tensor
    rows: int
    length: int
    key: RandomKey | None

    def first(self) -> tf.Tensor:
        """Returns [R, D], the output at [CLS]."""
        return self.sequence[:: self.length]

    def dropout(self, x: tf.Tensor, stream: str, rate: float) -> tf.Tensor:
        """Returns x with dropout, in training."""
        drop = layers.draw_dropout(self.key, f"head/{stream}", x.shape.as_list(), rate)
        return layers.dropout(x, drop)


class Table(NamedTuple):
    """A table beside the scores.

    Attributes:
      name: what its file is called: `confusion` of labels, `types` of entities.
      header: names of the columns.
      rows: a row's cells, as many as the header's.
    """

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class TaskKind(abc.ABC, Generic[ExampleT, PredictionT]):
    """One task's way from examples to scores.

    Attributes:
      task: its settings; `labels` are complete (read from a file or the training data).
      max_seq_length: tokens of a row at most: the task's, or the model's if that is less.
    """

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        self.task = task
        self.max_seq_length = max_seq_length

    @abc.abstractmethod
    def check(self, examples: Sequence[ExampleT], problems: BadExamples) -> list[ExampleT]:
        """Returns the examples that can be trained on or scored; bad ones go to `problems`.

        Called for examples with labels: a label that the task does not have, a span outside the
        text, a sentence without text.
        """

    @abc.abstractmethod
    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns the rows of the examples; with `training`, labels are among them."""

    @abc.abstractmethod
    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> tf.Module:
        """Returns the output layers; variables' names begin with `path`."""

    @abc.abstractmethod
    def losses(self, head: Any, hidden: Hidden, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [G], each group's loss; filler's is multiplied by 0 by the caller."""

    @abc.abstractmethod
    def outputs(
        self, head: Any, hidden: Hidden, features: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns what predictions are made of, each [G, ...].

        Where an axis is L, the evaluation pads it with 0 to the longest of all batches.
        """

    @abc.abstractmethod
    def predictions(
        self, outputs: Mapping[str, np.ndarray], rows: EncodedSplit, examples: Sequence[ExampleT]
    ) -> list[PredictionT]:
        """Returns one prediction for each example, in their order.

        Args:
          outputs: each [groups of `rows`, ...], in the order of the rows.
          rows: what `encode` returned for the examples.
          examples: the examples.
        """

    @abc.abstractmethod
    def scores(
        self, examples: Sequence[ExampleT], predictions: Sequence[PredictionT]
    ) -> dict[str, float]:
        """Returns name to score in percent; the task's metric is among them."""

    @abc.abstractmethod
    def to_json(self, example: ExampleT, prediction: PredictionT) -> dict[str, Any]:
        """Returns the line of the predictions file: `id`, the prediction, the gold if known."""

    def notes(self) -> list[str]:
        """Returns lines about what `encode` had to repair, as counts of repaired answers."""
        return []

    def table(
        self, examples: Sequence[ExampleT], predictions: Sequence[PredictionT]
    ) -> Table | None:
        """Returns where the predictions are wrong, for kinds that have such a table."""
        del examples, predictions
        return None


def with_labels(task: TaskConfig, names: Sequence[str]) -> TaskConfig:
    """Returns the task with its labels complete."""
    return dataclasses.replace(task, labels=dataclasses.replace(task.labels, names=tuple(names)))
