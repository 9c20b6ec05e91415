"""Files to examples: one function a file form, named as the tasks' YAML files name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.readers import (
    choices,
    cluener,
    columns,
    idioms,
    plain,
    questions,
    tables,
    wsc,
)
from electra_zh.finetuning.tasks import TaskConfig


class Reader(Protocol):
    """Yields the examples of a file; what is wrong with one goes to `problems`.

    `split` is train or dev (labels required), test (labels taken where there are any), or new.
    """

    def __call__(
        self, path: str, task: TaskConfig, *, split: str, problems: BadExamples
    ) -> Iterator[Any]: ...


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "json_lines": tables.json_lines,
        "table": tables.table,
        "wsc": wsc.wsc,
        "plain_texts": plain.plain_texts,
        "plain_sentences": columns.plain_sentences,
        "columns": columns.columns,
        "cluener": cluener.cluener,
        "squad": questions.squad,
        "cjrc": questions.cjrc,
        "mrqa": questions.mrqa,
        "c3": choices.c3,
        "chid": idioms.chid,
        "chid_fewclue": idioms.chid_fewclue,
    }
)
# The reader of new data that is plain lines, for kinds of task that can be given so.
PLAIN_READERS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "plain_texts",
        "regression": "plain_texts",
        "tagging": "plain_sentences",
    }
)
# Kind of task to the readers that make its examples.
_TEXTS = ("json_lines", "table", "wsc", "plain_texts")
_OF_KIND: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "classification": _TEXTS,
        "regression": _TEXTS,
        "tagging": ("cluener", "columns", "plain_sentences"),
        "span": ("squad", "cjrc", "mrqa"),
        "choice": ("c3",),
        "cloze": ("chid", "chid_fewclue"),
    }
)


def find_reader(name: str, task: TaskConfig) -> Reader:
    """Returns a reader by its name.

    Raises:
      UsageError: there is none of this name, or it makes examples of another kind of task.
    """
    allowed = _OF_KIND[task.kind]
    if name not in READERS:
        raise UsageError(
            f'task {task.name}: no reader is named "{name}".{did_you_mean(name, READERS)} '
            f"Allowed for {task.kind}: {', '.join(allowed)}"
        )
    if name not in allowed:
        raise UsageError(
            f'task {task.name}: reader "{name}" does not read examples for {task.kind}. '
            f"Allowed: {', '.join(allowed)}"
        )
    return READERS[name]
