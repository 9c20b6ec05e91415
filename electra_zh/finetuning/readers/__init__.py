"""Readers of task files: one class per form, named as the task files name it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning.examples import BadExamples, Example
from electra_zh.finetuning.readers.base import READERS, ExampleReader
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.modules import load_module, module_names

for _name in module_names(__name__):
    load_module(__name__, _name)


def read(
    paths: str | Sequence[str], task: TaskConfig, *, split: str, bad: BadExamples
) -> Iterator[Any]:
    """Yields the examples of a file or the files of a split, see `ExampleReader.read`.

    Examples without an id are numbered over all files.
    """
    end = 0
    for path in [paths] if isinstance(paths, str) else paths:
        reader = find_reader(task.reader, task)(path, task, split=split)
        yield from reader.read(bad, first=end)
        end = reader.end


def find_reader(
    name: str, task: TaskConfig, example_type: type[Example] | None = None
) -> type[ExampleReader]:
    """Returns the reader of this name, which must make examples of this type or of its base.

    Raises:
      UsageError: it makes others, or does not exist; the message lists those that do.
    """
    allowed = sorted(
        each
        for each in READERS
        if example_type is None or issubclass(example_type, READERS[each].example_type)
    )
    if name not in allowed:
        what = "makes examples for other kinds of task." if name in READERS else "does not exist."
        raise UsageError(
            f'task {task.name}: reader "{name}" {what}{did_you_mean(name, allowed)} '
            f"Allowed{f' for {task.kind}' if example_type else ''}: {', '.join(allowed)}"
        )
    return READERS[name]


def resolve_fields(task: TaskConfig) -> TaskConfig:
    """Returns the task with all fields of its reader, the same for every spelling of them."""
    fields_type = find_reader(task.reader, task).fields_type
    if fields_type is None:
        return task
    return dataclasses.replace(task, fields=dataclasses.asdict(fields_type.of(task)))
