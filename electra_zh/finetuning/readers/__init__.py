"""Readers of task files: one class per form, named as the task files name it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning.examples import (
    BadExampleError,
    BadExamples,
    ChoiceExample,
    ClozeExample,
    Example,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_zh.finetuning.readers.base import READERS, Reader
from electra_zh.finetuning.readers.streams import Record
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


def find_reader(name: str, task: TaskConfig) -> type[Reader[Any]]:
    """Returns a reader by its name.

    Raises:
      UsageError: the name is unknown, or the reader makes examples for another kind of task.
    """
    example_type = _EXAMPLE_TYPES[task.kind]
    allowed = [each for each in READERS if READERS[each].example_type is example_type]
    if name not in READERS:
        raise UsageError(
            f'task {task.name}: unknown reader "{name}".{did_you_mean(name, READERS)} '
            f"Allowed for {task.kind}: {', '.join(allowed)}"
        )
    if name not in allowed:
        raise UsageError(
            f'task {task.name}: reader "{name}" does not read examples for {task.kind}. '
            f"Allowed: {', '.join(allowed)}"
        )
    return READERS[name]


def read(
    path: str, task: TaskConfig, *, split: str, bad: BadExamples, name: str = ""
) -> Iterator[Any]:
    """Yields the examples of a file, streaming.

    Examples whose label the task drops are counted and skipped in train and dev; elsewhere they
    are examples without a label, so that a test set stays complete.

    Args:
      path: the file.
      task: its settings.
      split: `train` or `dev`, which need labels; `test`, whose labels are read if it has any; or
        `new`.
      bad: takes the bad examples.
      name: name of the reader; by default the task's.

    Raises:
      UserError: the file or one of its examples is bad.
    """
    reader = find_reader(name or task.reader, task)(path, task, split=split)
    dropped_labels = set(task.labels.drop)
    for number, record in enumerate(reader.records()):
        try:
            example = _example(reader, record, number)
        except BadExampleError as error:
            bad.add(error.place or record.place, error.reason, detail=error.detail)
            continue
        dropped = dropped_labels.intersection(example.label_names) if dropped_labels else ()
        if dropped and reader.labelled:
            bad.dropped[min(dropped)] += 1
            continue
        yield example.unlabelled() if dropped else example


def _example(reader: Reader[Any], record: Record, number: int) -> Example:
    if isinstance(record.value, BadExampleError):
        raise record.value
    example: Example = reader.example(record, number)
    if reader.labelled and not example.has_label:
        found = reader.found(record)
        raise BadExampleError(f"no {example.label_noun}: is this a test file?", found)
    return example
