"""Classification: one label of a list for a text or a pair of texts.

Shapes: G examples of a batch (one row each), D hidden width, C classes.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, did_you_mean, few
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.encoding.sequences import RaggedTokens, build_pairs
from electra_zh.finetuning.examples import BadExampleError, BadExamples, TextExample
from electra_zh.finetuning.kinds.base import (
    ErrorTable,
    Features,
    Hidden,
    Outputs,
    PredictionT,
    TaskKind,
)
from electra_zh.finetuning.scores import label_scores
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense
from electra_zh.text.tokenizer import Tokenizer

# Training examples that cannot each have a label of their own.
_MANY = 10


class PooledHead(tf.Module):
    """[CLS] to C values: dropout, dense, GELU, dropout, projection, as transformers has it.

    With `reference`, dropout and one dense layer, as the official code has it.
    """

    def __init__(
        self, model: ModelConfig, path: str, outputs: int, *, seed: int, reference: bool
    ) -> None:
        super().__init__()
        width, stddev = model.hidden_size, model.initializer_range
        self._rate = model.hidden_dropout_prob
        self.dense: Dense | None = None
        if not reference:
            self.dense = Dense(f"{path}/dense", (width, width), seed=seed, stddev=stddev)
        # Parity: the reference makes its only layer without an initialiser (Glorot uniform).
        output_stddev = None if reference else stddev
        self.output = Dense(f"{path}/output", (width, outputs), seed=seed, stddev=output_stddev)

    def __call__(self, hidden: Hidden) -> tf.Tensor:
        """Returns float32 [G, C]."""
        x = hidden.dropout(hidden.first(), "pooled", self._rate)
        if self.dense is not None:
            x = hidden.dropout(layers.gelu(self.dense(x)), "dense", self._rate)
        return tf.cast(self.output(x), tf.float32)


def text_rows(
    examples: Sequence[TextExample], tokenizer: Tokenizer, max_seq_length: int
) -> EncodedSplit:
    """Returns one row per example, without labels."""
    first = tokenizer.encode_batch([example.text_a for example in examples])
    second: RaggedTokens | None = None
    if any(example.text_b is not None for example in examples):
        found = tokenizer.encode_batch([example.text_b or "" for example in examples])
        second = RaggedTokens(found.ids, found.text_ends)
    built = build_pairs(
        RaggedTokens(first.ids, first.text_ends),
        second,
        cls_id=tokenizer.vocabulary.cls_id,
        sep_id=tokenizer.vocabulary.sep_id,
        max_seq_length=max_seq_length,
    )
    wanted = 2 + np.diff(first.text_ends, prepend=0)
    if second is not None:
        wanted += second.lengths() + (second.lengths() > 0)
    cut = int((np.diff(built.ends, prepend=0) < wanted).sum())
    return EncodedSplit(*built, example=np.arange(len(examples)), cut=cut)


def training_rows(
    task: TaskConfig, examples: Sequence[TextExample], tokenizer: Tokenizer, length: int
) -> tuple[EncodedSplit, list[TextExample]]:
    """Returns the rows to train on and the example of each; unordered pairs in both orders.

    Source: the reference's `double_unordered`, for pairs whose order says nothing.
    """
    doubled = task.double_unordered
    pairs = [n for n, each in enumerate(examples) if doubled and each.text_b is not None]
    swapped = [
        dataclasses.replace(each, text_a=each.text_b or "", text_b=each.text_a)
        for each in (examples[number] for number in pairs)
    ]
    ordered, numbers = [*examples, *swapped], np.array([*range(len(examples)), *pairs], np.int64)
    rows = dataclasses.replace(text_rows(ordered, tokenizer, length), example=numbers)
    return rows, ordered


class TextKind(TaskKind[TextExample, PredictionT]):
    """Base of kinds with one row per text or pair, read at [CLS], and targets for each example."""

    example_type = TextExample
    plain_reader = "plain_texts"
    first_only = True
    any_length = True

    @abc.abstractmethod
    def targets(self, examples: Sequence[TextExample]) -> dict[str, np.ndarray]:
        """Returns the targets of the loss by name, [G, ...] each."""

    def encode(
        self, examples: Sequence[TextExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns one row per example; with `training`, the targets are among them."""
        if not training:
            return text_rows(examples, tokenizer, self.max_seq_length)
        rows, ordered = training_rows(self.task, examples, tokenizer, self.max_seq_length)
        return dataclasses.replace(rows, per_group=self.targets(ordered))


class LabelPrediction(NamedTuple):
    """The most probable label, and the probability of each in the task's order."""

    label: str
    probabilities: np.ndarray


class Classification(TextKind[LabelPrediction]):
    """One label of a list for each example."""

    submission_forms = ("labels",)
    has_probabilities = True
    head_form = HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("probabilities",),
        activation="softmax",
        takes_text=True,
        output_names=tuple,
    )

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        super().__init__(task, max_seq_length=max_seq_length)
        if len(task.labels.names) < 2:
            raise UserError(
                f"task {task.name} has {len(task.labels.names)} labels; give at least two"
            )

    @classmethod
    def metrics(cls, task: TaskConfig) -> tuple[str, ...]:
        """Returns the names of the scores; F1 is that of the last label of two."""
        f1 = ("f1",) if len(task.labels.names) == 2 else ()
        return ("accuracy", "macro_f1", "mcc", *f1)

    @classmethod
    def labels_from(cls, task: TaskConfig, seen: Sequence[str]) -> tuple[str, ...]:
        """Returns the labels of the training data.

        Raises:
          UserError: every example has its own label.
        """
        if len(set(seen)) == len(seen) >= _MANY:
            raise UserError(
                f"task {task.name}: each of the {len(seen):,} training examples has another label "
                f"({few(sorted(seen), 5)}): is it the right column? List the labels in the task "
                "file"
            )
        return super().labels_from(task, seen)

    def usual(self, example: TextExample, problems: BadExamples) -> TextExample:
        """Returns the example; a label of "1.0", as pandas writes 1, is read as "1"."""
        names, whole = self.task.labels.names, (example.label or "").removesuffix(".0")
        if example.label in names or whole not in names:
            return example
        problems.note('labels that end in ".0" are read without it')
        return dataclasses.replace(example, label=whole)

    def check_example(self, example: TextExample) -> None:
        """Checks that the label is in the list."""
        names = self.task.labels.names
        if example.label not in names:
            hint = did_you_mean(str(example.label), names)
            detail = f'"{example.label}"; allowed: {few(names, 12)}.{hint}'
            raise BadExampleError("label not in the list", detail)

    def targets(self, examples: Sequence[TextExample]) -> dict[str, np.ndarray]:
        """Returns `label` int32 [G]."""
        index = {name: number for number, name in enumerate(self.task.labels.names)}
        return {"label": np.array([index[str(each.label)] for each in examples], np.int32)}

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> PooledHead:
        """Returns the head, with a class for each label."""
        reference = self.task.head == "reference"
        classes = len(self.task.labels.names)
        return PooledHead(model, path, classes, seed=seed, reference=reference)

    def losses(self, head: PooledHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the cross-entropy, [G]."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(features["label"], head(hidden))

    def outputs(self, head: PooledHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns `probabilities` [G, C]."""
        del features
        return {"probabilities": tf.nn.softmax(head(hidden))}

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[TextExample]
    ) -> list[LabelPrediction]:
        """Returns the most probable label of each example."""
        assert rows.groups == len(examples)
        names = self.task.labels.names
        probabilities = outputs["probabilities"]
        best = probabilities.argmax(-1) if len(examples) else []
        return [LabelPrediction(names[i], p) for i, p in zip(best, probabilities, strict=True)]

    def scores(
        self, examples: Sequence[TextExample], predictions: Sequence[LabelPrediction]
    ) -> dict[str, float]:
        """Returns accuracy, macro F1 and Matthews correlation; F1 of the last label of two."""
        gold = [str(example.label) for example in examples]
        predicted = [prediction.label for prediction in predictions]
        names = self.task.labels.names
        found = {
            "accuracy": label_scores.accuracy(gold, predicted),
            "macro_f1": label_scores.mean_f1(gold, predicted),
            "mcc": label_scores.matthews(gold, predicted),
        }
        if len(names) == 2:
            found["f1"] = label_scores.mean_f1(gold, predicted, labels=names[1:])
        return found

    def one_answer(self, prediction: LabelPrediction) -> str:
        """Returns the label."""
        return self.task.labels.in_words(prediction.label)

    def probabilities(self, prediction: LabelPrediction) -> dict[str, float]:
        """Returns the probability of each label."""
        values = (round(float(value), 6) for value in prediction.probabilities)
        return dict(zip(self.task.labels.names, values, strict=True))

    def no_prediction(self) -> dict[str, Any]:
        """Returns the keys of a prediction, without values."""
        return {"label": None, "probability": None}

    def describe(self, example: TextExample, prediction: LabelPrediction) -> dict[str, Any]:
        """Returns the label, its description and its probability, and the gold label."""
        line: dict[str, Any] = {"label": prediction.label}
        labels = self.task.labels
        if labels.descriptions:
            line["label_name"] = labels.descriptions[labels.names.index(prediction.label)]
        probability = round(float(prediction.probabilities.max()), 6)
        return {**line, "probability": probability, "gold": example.label}

    def table(
        self, examples: Sequence[TextExample], predictions: Sequence[LabelPrediction]
    ) -> ErrorTable:
        """Returns the confusion matrix: for each gold label, the counts of the predicted labels."""
        names = self.task.labels.names
        gold = [str(example.label) for example in examples]
        counts = label_scores.confusion(gold, [each.label for each in predictions], names)
        rows = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
        return ErrorTable("confusion", ["gold \\ predicted", *names], rows)
