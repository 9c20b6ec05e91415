"""The kinds of task by name."""

from __future__ import annotations

from typing import Any

from electra_zh.config import UserError
from electra_zh.finetuning.choice import Choice
from electra_zh.finetuning.classification import Classification, Regression
from electra_zh.finetuning.cloze import Cloze
from electra_zh.finetuning.kind import Kind
from electra_zh.finetuning.span import Span
from electra_zh.finetuning.tagging import Tagging
from electra_zh.finetuning.tasks import Task

KINDS: dict[str, type[Kind[Any, Any]]] = {
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "span": Span,
    "choice": Choice,
    "cloze": Cloze,
}


def make_kind(task: Task, *, max_position_embeddings: int) -> Kind[Any, Any]:
    """Returns the kind that a task is of, for a model with so many positions.

    Raises:
      UserError: a classification with fewer than two labels.
    """
    if task.kind == "classification" and len(task.labels.names) < 2:
        raise UserError(f"task {task.name} has {len(task.labels.names)} labels; it needs two")
    length = min(task.max_seq_length, max_position_embeddings)
    return KINDS[task.kind](task, max_seq_length=length)
