"""Predictions for examples, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.model import TaskModel
from electra_zh.training import devices


class Evaluation(NamedTuple):
    """A split's predictions, in the order of its examples, and the scores if it has labels."""

    predictions: list[Any]
    scores: dict[str, float]


class Predictor:
    """Runs a model on the rows of one task."""

    def __init__(
        self,
        model: TaskModel,
        kind: TaskKind[Any, Any],
        *,
        batch_size: int,
        precision: str = "float32",
        by_length: bool = True,
    ) -> None:
        """Makes the predictor.

        Args:
          model: with a head for the kind's task; its weights may change between calls.
          kind: the task.
          batch_size: groups of a batch.
          precision: compute type.
          by_length: pad to buckets; otherwise to the task's length.
        """
        self._model, self._kind = model, kind
        self._batch_size, self._by_length = batch_size, by_length and not devices.is_tpu()
        self._dtype = tf.as_dtype(precision)
        self._head = model.heads[kind.task.name]
        self._step = tf.function(self._outputs, jit_compile=devices.use_xla(), autograph=False)

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        hidden = self._model.hidden(features, dtype=self._dtype, key=None)
        return self._kind.outputs(self._head, hidden, features)

    def outputs(self, rows: EncodedSplit) -> dict[str, np.ndarray]:
        """Returns each output for all groups of the rows, [groups, ...], in their order."""
        collected: dict[str, np.ndarray] = {}
        for groups in batches.evaluation_plan(rows, batch_size=self._batch_size):
            batch = batches.make_batch(
                rows,
                groups,
                batch_size=self._batch_size,
                max_seq_length=self._kind.max_seq_length,
                by_length=self._by_length,
            )
            features = {name: tf.constant(value) for name, value in batch.features.items()}
            for name, value in self._step(features).items():
                found = value.numpy()[: len(groups)]
                if name not in collected:
                    # The first batch is the longest: no later one is wider.
                    shape = (rows.groups, *found.shape[1:])
                    collected[name] = np.zeros(shape, found.dtype)
                padding = [
                    (0, whole - part)
                    for whole, part in zip(collected[name].shape[1:], found.shape[1:], strict=True)
                ]
                collected[name][groups] = np.pad(found, [(0, 0), *padding])
        return collected

    def predict(self, rows: EncodedSplit, examples: Sequence[Any]) -> list[Any]:
        """Returns one prediction for each example."""
        if not rows.groups:
            return self._kind.predictions({}, rows, examples) if examples else []
        return self._kind.predictions(self.outputs(rows), rows, examples)

    def evaluate(
        self, rows: EncodedSplit, examples: Sequence[Any], *, labelled: bool
    ) -> Evaluation:
        """Returns predictions and, for labelled examples, the scores."""
        predictions = self.predict(rows, examples)
        scores = self._kind.scores(examples, predictions) if labelled else {}
        return Evaluation(predictions, scores)
