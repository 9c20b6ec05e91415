"""Regression: one number for a text or a pair of texts.

Shapes: G examples of a batch (one row each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, few
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import BadExampleError, TextExample
from electra_zh.finetuning.kinds.base import Features, Hidden, Outputs
from electra_zh.finetuning.kinds.classification import PooledHead, TextKind
from electra_zh.finetuning.scores import label_scores
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig


class Regression(TextKind[float]):
    """One number for each example; the task's two labels are the minimum and the maximum.

    Targets are scaled to 0 to 1 by that range (the reference divides by the maximum alone, which
    is the same only for ranges that begin at 0). The loss is the squared error.
    """

    metric_names = ("spearman", "pearson")
    head_form = HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("value",),
        takes_text=True,
        is_number=True,
        output_names=tuple,
    )

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        """Makes the kind; raises UserError if the labels are not a range."""
        super().__init__(task, max_seq_length=max_seq_length)
        limits = [_number(name) for name in task.labels.names]
        if not (len(limits) == 2 and -math.inf < limits[0] < limits[1] < math.inf):
            raise UserError(
                f"task {task.name}: labels of regression are a minimum and a maximum; received "
                f"{few(task.labels.names)}. Give them as labels: [1, 5]"
            )

    @classmethod
    def labels_from(cls, task: TaskConfig, seen: Sequence[str]) -> tuple[str, ...]:
        """Returns the minimum and the maximum of the training labels.

        Raises:
          UserError: a label is not a number, or all are equal.
        """
        values = {_number(label) for label in seen}
        if bad := next((label for label in seen if not math.isfinite(_number(label))), ""):
            raise UserError(f'task {task.name}: a training label is not a number: "{bad}"')
        if len(values) < 2:
            raise UserError(f"task {task.name}: the training labels are all the same number")
        # With all digits: the extremes themselves must be in the range.
        return str(min(values)).removesuffix(".0"), str(max(values)).removesuffix(".0")

    def _range(self) -> tuple[float, float]:
        low, high = (float(name) for name in self.task.labels.names)
        return low, high

    def check_example(self, example: TextExample) -> None:
        """Checks that the label is a number of the range."""
        low, high = self._range()
        if not self.is_label(example.label or ""):
            limits = "to allow others, set labels: [MINIMUM, MAXIMUM] in the task file"
            detail = f'"{example.label}"; allowed: a number from {low:g} to {high:g}; {limits}'
            raise BadExampleError("label is not a number of the range", detail)

    def targets(self, examples: Sequence[TextExample]) -> dict[str, np.ndarray]:
        """Returns `target` float32 [G] in 0 to 1."""
        low, high = self._range()
        numbers = np.array([example.label for example in examples], np.float64)
        return {"target": ((numbers - low) / (high - low)).astype(np.float32)}

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> PooledHead:
        """Returns the head, with one output."""
        return PooledHead(model, path, 1, seed=seed, reference=self.task.head == "reference")

    def losses(self, head: PooledHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the squared error, [G]."""
        return tf.square(tf.squeeze(head(hidden), -1) - features["target"])

    def outputs(self, head: PooledHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns `value` [G], scaled."""
        del features
        return {"value": tf.squeeze(head(hidden), -1)}

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[TextExample]
    ) -> list[float]:
        """Returns the number of each example, in the range of the labels or slightly outside."""
        assert rows.groups == len(examples)
        low, high = self._range()
        return [float(value) * (high - low) + low for value in outputs["value"]]

    def scores(
        self, examples: Sequence[TextExample], predictions: Sequence[float]
    ) -> dict[str, float]:
        """Returns Pearson's and Spearman's correlation."""
        gold = [_number(example.label) for example in examples]
        return {
            "spearman": label_scores.spearman(gold, predictions),
            "pearson": label_scores.pearson(gold, predictions),
        }

    def is_label(self, name: str) -> bool:
        """Returns whether it is a number of the range."""
        low, high = self._range()
        return low <= _number(name) <= high

    def one_answer(self, prediction: float) -> str:
        """Returns the number."""
        return f"{prediction:.3f}"

    def no_prediction(self) -> dict[str, Any]:
        """Returns the key of a prediction, without value."""
        return {"value": None}

    def describe(self, example: TextExample, prediction: float) -> dict[str, Any]:
        """Returns the value, and the gold value."""
        gold = _number(example.label)
        return {"value": round(prediction, 6), "gold": gold if math.isfinite(gold) else None}


def _number(label: str | None) -> float:
    """Returns a label as a number, NaN where it is not one."""
    try:
        return float(label or "nan")
    except ValueError:
        return math.nan
