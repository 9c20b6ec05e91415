"""The kinds of task: each is one module of this package, registered by being here.

A kind's name is that of its module, and its class is the one `TaskKind` that the module defines.
Names are readable without TensorFlow; classes are imported when they are asked for.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from electra_zh.finetuning.tasks import TaskConfig, kind_names
from electra_zh.modules import load_module

if TYPE_CHECKING:
    from electra_zh.convert.task_heads import HeadForm
    from electra_zh.finetuning.kinds.base import TaskKind


def kind_class(name: str) -> type[TaskKind[Any, Any]]:
    """Returns the class of a kind of task.

    Args:
      name: one of `tasks.kind_names()`.
    """
    from electra_zh.finetuning.kinds.base import TaskKind

    module = load_module(__name__, name)
    (found,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, TaskKind)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    )
    return found


def head_form(name: str) -> HeadForm | None:
    """Returns the exported form of the heads of a kind; None for unknown kinds."""
    return kind_class(name).head_form if name in kind_names() else None


def make_kind(task: TaskConfig, *, max_position_embeddings: int) -> TaskKind[Any, Any]:
    """Returns the kind of a task, for a model with this number of positions.

    Raises:
      UserError: the task's metric, labels or settings do not fit its kind.
    """
    length = min(task.max_seq_length, max_position_embeddings)
    return kind_class(task.kind)(task, max_seq_length=length)
