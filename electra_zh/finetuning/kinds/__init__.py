"""The kinds of task by name."""

from __future__ import annotations

from typing import Any

from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.kinds.choice import Choice
from electra_zh.finetuning.kinds.classification import Classification, Regression
from electra_zh.finetuning.kinds.cloze import Cloze
from electra_zh.finetuning.kinds.span import Span
from electra_zh.finetuning.kinds.tagging import Tagging
from electra_zh.finetuning.tasks import TaskConfig

KINDS: dict[str, type[TaskKind[Any, Any]]] = {
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "span": Span,
    "choice": Choice,
    "cloze": Cloze,
}

# What the scores of each kind are called; span extraction checks its own, by their scripts.
_METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "mcc", "f1"),
    "regression": ("spearman", "pearson"),
    "tagging": ("f1", "precision", "recall", "macro_f1"),
    "choice": ("accuracy",),
    "cloze": ("accuracy", "accuracy_independent"),
}


def make_kind(task: TaskConfig, *, max_position_embeddings: int) -> TaskKind[Any, Any]:
    """Returns the kind that a task is of, for a model with so many positions.

    Raises:
      UserError: a metric that the kind does not have, or fewer than two labels to choose from.
    """
    metrics = _METRICS.get(task.kind, (task.metric,))
    if task.kind == "classification" and len(task.labels.names) != 2:
        metrics = metrics[:-1]  # F1 is that of one of two labels.
    if task.metric not in metrics:
        raise UserError(
            f'task {task.name}: metric "{task.metric}" is none of this task.'
            f"{did_you_mean(task.metric, metrics)} Allowed: {', '.join(metrics)}"
        )
    if task.kind == "classification" and len(task.labels.names) < 2:
        raise UserError(f"task {task.name} has {len(task.labels.names)} labels; it needs two")
    length = min(task.max_seq_length, max_position_embeddings)
    return KINDS[task.kind](task, max_seq_length=length)
