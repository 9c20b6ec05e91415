"""Classification with any number of labels for each text or pair of texts.

Shapes: G examples of a batch (one row each), C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, did_you_mean, few
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import BadExampleError, LabelsExample, TextExample
from electra_zh.finetuning.kinds.base import ErrorTable, Features, Hidden, Outputs
from electra_zh.finetuning.kinds.classification import PooledHead, TextKind
from electra_zh.finetuning.scores.entity_scores import EntityScores, TypeScore, set_scores
from electra_zh.finetuning.scores.label_scores import percent
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig

# A label is predicted from this probability on, as pipelines of transformers are usually read.
_THRESHOLD = 0.5


class LabelsPrediction(NamedTuple):
    """The labels that are more probable than not, and the probability of each of the task's."""

    labels: tuple[str, ...]
    probabilities: np.ndarray


class MultiLabel(TextKind[LabelsPrediction]):
    """Each label of a list is true or false for an example, independently of the others.

    The loss is the mean of the labels' binary cross-entropies, as that of transformers'
    `multi_label_classification`.
    """

    example_type = LabelsExample  # or a text with one label
    metric_names = ("f1", "macro_f1", "precision", "recall", "accuracy")
    has_probabilities = True
    head_form = HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("probabilities",),
        activation="sigmoid",
        takes_text=True,
        output_names=tuple,
    )

    @classmethod
    def labels_from(cls, task: TaskConfig, seen: Sequence[str]) -> tuple[str, ...]:
        """Returns the labels of the training data.

        Raises:
          UserError: no example has a label.
        """
        if not seen:
            raise UserError(f"task {task.name}: no training example has a label")
        return super().labels_from(task, seen)

    def check_example(self, example: TextExample) -> None:
        """Checks that the labels are in the list."""
        names = self.task.labels.names
        for label in example.label_names:
            if label not in names:
                detail = f'"{label}"; allowed: {few(names, 12)}.{did_you_mean(label, names)}'
                raise BadExampleError("label not in the list", detail)

    def targets(self, examples: Sequence[TextExample]) -> dict[str, np.ndarray]:
        """Returns `labels` float32 [G, C], 1 and 0."""
        names, known = self.task.labels.names, [{*each.label_names} for each in examples]
        return {
            "labels": np.array([[name in each for name in names] for each in known], np.float32)
        }

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> PooledHead:
        """Returns the head, with an output for each label."""
        reference = self.task.head == "reference"
        outputs = len(self.task.labels.names)
        return PooledHead(model, path, outputs, seed=seed, reference=reference)

    def losses(self, head: PooledHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the mean of the binary cross-entropies, [G]."""
        logits = head(hidden)
        # Not TensorFlow's own: its derivative is a sum of three terms, which has no fixed order.
        each = tf.nn.softplus(logits) - logits * features["labels"]
        return tf.reduce_mean(each, -1)

    def outputs(self, head: PooledHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns `probabilities` [G, C]."""
        del features
        return {"probabilities": tf.sigmoid(head(hidden))}

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[TextExample]
    ) -> list[LabelsPrediction]:
        """Returns the labels of each example whose probability is at least 0.5."""
        assert rows.groups == len(examples)
        names = np.array(self.task.labels.names)
        return [
            LabelsPrediction(tuple(names[each >= _THRESHOLD].tolist()), each)
            for each in outputs["probabilities"]
        ]

    def scores(
        self, examples: Sequence[TextExample], predictions: Sequence[LabelsPrediction]
    ) -> dict[str, float]:
        """Returns the scores of the labels of all examples together, and two means.

        `f1`, `precision` and `recall` count all pairs of example and label, `macro_f1` is the mean
        F1 of the labels that are gold or predicted somewhere, `accuracy` the examples whose labels
        are all correct.
        """
        found = self._scores(examples, predictions)
        pairs = zip(examples, predictions, strict=True)
        correct = sum({*example.label_names} == {*each.labels} for example, each in pairs)
        return {
            "f1": found.micro.f1,
            "macro_f1": found.macro_f1,
            "precision": found.micro.precision,
            "recall": found.micro.recall,
            "accuracy": percent(correct, len(examples)),
        }

    def _scores(
        self, examples: Sequence[TextExample], predictions: Sequence[LabelsPrediction]
    ) -> EntityScores:
        return set_scores(
            [{(name, name) for name in example.label_names} for example in examples],
            [{(name, name) for name in prediction.labels} for prediction in predictions],
        )

    def one_answer(self, prediction: LabelsPrediction) -> str:
        """Returns the labels."""
        return ", ".join(map(self.task.labels.in_words, prediction.labels)) or "without labels"

    def probabilities(self, prediction: LabelsPrediction) -> dict[str, float]:
        """Returns the probability of each label."""
        values = (round(float(value), 6) for value in prediction.probabilities)
        return dict(zip(self.task.labels.names, values, strict=True))

    def no_prediction(self) -> dict[str, Any]:
        """Returns the key of a prediction, without value."""
        return {"labels": None}

    def describe(self, example: TextExample, prediction: LabelsPrediction) -> dict[str, Any]:
        """Returns the labels, their descriptions, and the gold labels."""
        line: dict[str, Any] = {"labels": list(prediction.labels)}
        if described := self.task.labels.descriptions:
            words = dict(zip(self.task.labels.names, described, strict=True))
            line["label_names"] = [words[name] for name in prediction.labels]
        return {**line, "gold": list(example.label_names) if example.has_label else None}

    def table(
        self, examples: Sequence[TextExample], predictions: Sequence[LabelsPrediction]
    ) -> ErrorTable:
        """Returns precision, recall, F1 and counts, one row per label."""
        types = self._scores(examples, predictions).types
        return ErrorTable("types", TypeScore._fields, [each.cells() for each in types])
