"""Predictions of a fine-tuned model for new data, streaming."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from electra_zh import files, progress
from electra_zh.errors import UsageError, did_you_mean
from electra_zh.finetuning import store
from electra_zh.finetuning.evaluate import Predictor
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.readers import check_reader, read
from electra_zh.finetuning.readers.plain import looks_labelled

# Examples that are sorted by length together; also what is held in memory.
_BLOCK = 2048
_STANDARD_INPUT = "/dev/stdin"


def predict(
    model: str,
    source: str,
    output: str,
    *,
    task: str | None = None,
    reader: str | None = None,
    batch_size: int = 64,
    skip_bad: bool = False,
) -> tuple[int, BadExamples]:
    """Writes one JSON line for each example of a file, in its order.

    Args:
      model: folder of a fine-tuned model.
      source: file in the task's own form, or of plain lines (.txt); `-` for standard input.
      output: file of JSON lines to write; `-` for standard output.
      task: which head, for models of several tasks.
      reader: name of the form, if neither the task's own nor plain lines.
      batch_size: examples computed at once.
      skip_bad: leave bad examples out and count them.

    Returns:
      The number of predictions, and the bad examples.

    Raises:
      UserError: the model or the input cannot be read.
    """
    tuned = store.load(model)
    kind = _choose(tuned.kinds, task)
    problems = BadExamples(skip=skip_bad)
    path = _STANDARD_INPUT if source == "-" else source
    name = reader or _reader_name(kind, source)
    check_reader(name, kind.task, kind.example_type)
    examples = read(path, kind.task, split="new", bad=problems, name=name)
    tokenizer = tuned.start.make_tokenizer()
    predictor = Predictor(tuned.model, kind, batch_size=batch_size)
    count = 0
    with _open_output(output) as file, _bar(output) as bar:
        while block := list(itertools.islice(examples, _BLOCK)):
            rows = kind.encode(block, tokenizer, training=False)
            for example, prediction in zip(block, predictor.predict(rows, block), strict=True):
                line = json.dumps(kind.to_json(example, prediction), ensure_ascii=False)
                file.write(f"{line}\n".encode())
            file.flush()
            count += len(block)
            bar.update(len(block))
    return count, problems


def _choose(kinds: Mapping[str, TaskKind[Any, Any]], task: str | None) -> TaskKind[Any, Any]:
    names = ", ".join(kinds)
    if task is None:
        if len(kinds) > 1:
            raise UsageError(f"the model has several tasks: give --task, one of {names}")
        return next(iter(kinds.values()))
    if task not in kinds:
        hint = did_you_mean(task, kinds)
        raise UsageError(f'the model has no task "{task}".{hint} It has: {names}')
    return kinds[task]


def _reader_name(kind: TaskKind[Any, Any], source: str) -> str:
    task = kind.task
    plain = source == "-" or source.endswith(".txt")
    if not plain or (source != "-" and looks_labelled(source, task)):
        return task.reader
    return kind.plain_reader or task.reader


@contextmanager
def _open_output(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdout.buffer
        return
    with files.atomic_write(path) as file:
        yield file


@contextmanager
def _bar(output: str) -> Iterator[progress.Bar]:
    """Shows examples done; how many there will be is not known of a stream."""
    show = progress.silent if output == "-" else progress.show
    with show("predict", total=0, unit="example") as bar:
        yield bar
