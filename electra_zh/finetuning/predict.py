"""Predictions of a model: for the rows of a split, and streaming for new data."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import files, progress
from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning import model as models
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.readers import find_reader
from electra_zh.finetuning.readers.plain import looks_labelled
from electra_zh.finetuning.request import PredictionRequest
from electra_zh.training import loop

# Examples that are sorted by length together, and held in memory.
_BLOCK = 2048
_STANDARD_INPUT = "/dev/stdin"


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
        """Makes the predictor for the head of a task; weights may change between calls."""
        self._model, self._kind = model, kind
        self._batch_size, self._by_length = batch_size, by_length and not loop.is_tpu()
        self._dtype = tf.as_dtype(precision)
        self._head = model.heads[kind.task.name]
        self._step = tf.function(self._outputs, jit_compile=loop.use_xla(), autograph=False)

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        hidden = self._model.hidden(features, dtype=self._dtype, key=None)
        return self._kind.outputs(self._head, hidden, features)

    def outputs(self, rows: EncodedSplit) -> dict[str, np.ndarray]:
        """Returns each output for all groups of the rows, [groups, ...], in their order."""
        collected: dict[str, np.ndarray] = {}
        for groups in batches.evaluation_plan(rows, batch_size=self._batch_size):
            features = batches.make_batch(
                rows,
                groups,
                batch_size=self._batch_size,
                max_seq_length=self._kind.max_seq_length,
                by_length=self._by_length,
            )
            tensors = {name: tf.constant(value) for name, value in features.items()}
            for name, value in self._step(tensors).items():
                found = value.numpy()[: len(groups)]
                if name not in collected:
                    # The first batch is the longest: no later one is wider.
                    collected[name] = np.zeros((rows.groups, *found.shape[1:]), found.dtype)
                sizes = zip(collected[name].shape[1:], found.shape[1:], strict=True)
                padding = [(0, widest - size) for widest, size in sizes]
                collected[name][groups] = np.pad(found, [(0, 0), *padding])
        return collected

    def predict(self, rows: EncodedSplit, examples: Sequence[Any]) -> list[Any]:
        """Returns one prediction for each example."""
        if not examples:
            return []
        return self._kind.predictions(self.outputs(rows), rows, examples)

    def evaluate(
        self, rows: EncodedSplit, examples: Sequence[Any], *, labelled: bool
    ) -> Evaluation:
        """Returns predictions and, for labelled examples, the scores."""
        predictions = self.predict(rows, examples)
        scores = self._kind.scores(examples, predictions) if labelled else {}
        return Evaluation(predictions, scores)


def predict(request: PredictionRequest) -> tuple[int, BadExamples]:
    """Writes one JSON line for each example of a file, in its order.

    Returns:
      The number of predictions, and the bad examples.

    Raises:
      UserError: the model or the input cannot be read.
    """
    source, output = request.input, request.output
    tuned = models.load(request.model)
    kind = _choose(tuned.kinds, request.task)
    problems = BadExamples(skip=request.skip_bad)
    path = _STANDARD_INPUT if source == "-" else source
    name = request.reader or _reader_name(kind, source)
    reader_class = find_reader(name, kind.task, kind.example_type)
    examples = reader_class(path, kind.task, split="new").read(problems)
    tokenizer = tuned.pretrained.make_tokenizer()
    predictor = Predictor(tuned.model, kind, batch_size=request.batch_size)
    count = 0
    to_screen = output == "-"
    stream: Any = nullcontext(sys.stdout.buffer) if to_screen else files.atomic_write(output)
    show = progress.silent if to_screen else progress.show
    with stream as file, show("predict", total=0, unit="example") as bar:
        while block := list(itertools.islice(examples, _BLOCK)):
            rows = kind.encode(block, tokenizer, training=False)
            for example, prediction in zip(block, predictor.predict(rows, block), strict=True):
                line = json.dumps(kind.to_json(example, prediction), ensure_ascii=False)
                file.write(f"{line}\n".encode())
            file.flush()
            count += len(block)
            bar.update(len(block))
    return count, problems


def _choose(kinds: Mapping[str, TaskKind[Any, Any]], task: str | None) -> TaskKind[Any, Any]:
    names = ", ".join(kinds)
    if task is None:
        if len(kinds) > 1:
            raise UsageError(f"the model has several tasks: give --task, one of {names}")
        return next(iter(kinds.values()))
    if task not in kinds:
        hint = did_you_mean(task, kinds)
        raise UsageError(f'the model has no task "{task}".{hint} Its tasks: {names}')
    return kinds[task]


def _reader_name(kind: TaskKind[Any, Any], source: str) -> str:
    plain = source == "-" or source.endswith(".txt")
    if not plain or (source != "-" and looks_labelled(source, kind.task)):
        return kind.task.reader
    return kind.plain_reader or kind.task.reader
