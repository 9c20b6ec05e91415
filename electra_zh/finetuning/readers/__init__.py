"""Readers of task files: one class per form, named as the task files name it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning.examples import BadExamples, Example
from electra_zh.finetuning.readers.base import READERS
from electra_zh.finetuning.tasks import TaskConfig

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def read(
    path: str, task: TaskConfig, *, split: str, bad: BadExamples, name: str = ""
) -> Iterator[Any]:
    """Yields the examples of a file, streaming.

    Args:
      path: the file.
      task: its settings.
      split: `train` or `dev`, which need labels; `test`, whose labels are read if it has any; or
        `new`.
      bad: takes the bad examples.
      name: name of the reader; by default the task's.

    Raises:
      UsageError: the reader does not exist.
      UserError: the file or one of its examples is bad.
    """
    name = name or task.reader
    if name not in READERS:
        hint = did_you_mean(name, READERS)
        raise UsageError(f'task {task.name}: reader "{name}" does not exist.{hint}')
    return READERS[name](path, task, split=split).read(bad)


def check_reader(name: str, task: TaskConfig, example_type: type[Example]) -> None:
    """Checks that a reader makes the examples that a task needs.

    Raises:
      UsageError: it makes others, or does not exist; the message lists those that do.
    """
    allowed = sorted(each for each in READERS if READERS[each].example_type is example_type)
    if name not in allowed:
        what = "makes examples for other kinds of task." if name in READERS else "does not exist."
        raise UsageError(
            f'task {task.name}: reader "{name}" {what}{did_you_mean(name, allowed)} '
            f"Allowed for {task.kind}: {', '.join(allowed)}"
        )
