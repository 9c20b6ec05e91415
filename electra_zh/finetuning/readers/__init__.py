"""Readers of task files: one class per form, named as the task files name it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning.examples import (
    BadExamples,
    ChoiceExample,
    ClozeExample,
    Example,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_zh.finetuning.readers.base import READERS, Reader
from electra_zh.finetuning.tasks import TaskConfig

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

_EXAMPLE_TYPES: Mapping[str, type[Example]] = MappingProxyType(
    {
        "classification": TextExample,
        "regression": TextExample,
        "tagging": TaggedExample,
        "span": QuestionExample,
        "choice": ChoiceExample,
        "cloze": ClozeExample,
    }
)
# Readers of new data as plain lines.
PLAIN_READERS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "plain_texts",
        "regression": "plain_texts",
        "tagging": "plain_sentences",
    }
)


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
      UsageError: the reader does not exist or makes examples for another kind of task.
      UserError: the file or one of its examples is bad.
    """
    return _find(name or task.reader, task)(path, task, split=split).read(bad)


def _find(name: str, task: TaskConfig) -> type[Reader[Any]]:
    example_type = _EXAMPLE_TYPES[task.kind]
    allowed = sorted(each for each in READERS if READERS[each].example_type is example_type)
    if name in allowed:
        return READERS[name]
    what = f'"{name}" does not read examples for {task.kind}.'
    if name not in READERS:
        what = f'"{name}" does not exist.{did_you_mean(name, READERS)}'
    raise UsageError(f"task {task.name}: reader {what} Allowed: {', '.join(allowed)}")
