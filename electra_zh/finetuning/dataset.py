"""The data of a task in memory: files read once, labels complete, every example checked."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.kinds import kind_class, make_kind
from electra_zh.finetuning.kinds.base import TaskKind, with_labels
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.readers.fields import read_label_names
from electra_zh.finetuning.tasks import Split, TaskConfig


class Source(NamedTuple):
    """The files of a task as they were read, before any check of the readable examples."""

    task: TaskConfig
    found: Found
    splits: Mapping[Split, list[Any]]
    problems: Mapping[Split, BadExamples]
    max_position_embeddings: int
    skip_bad: bool


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The examples that one task is trained on and scored by.

    Attributes:
      task: with complete labels.
      splits: split to examples; `train` and `dev`, and `test` if there is such a file.
      test_labelled: the test examples have labels, so they are scored.
      problems: split to the skipped examples.
      notes: further lines about the files, for the log.
    """

    task: TaskConfig
    kind: TaskKind[Any, Any]
    splits: Mapping[Split, list[Any]]
    test_labelled: bool
    problems: Mapping[Split, BadExamples]
    notes: tuple[str, ...]
    source: Source | None = None

    def with_config(self, task: TaskConfig) -> TaskData:
        """Returns the data of the same files for other settings, which may change the check.

        The files are read again only for another reader.
        """
        source = self.source
        assert source is not None
        if task == source.task:
            return self
        if task.reader == source.task.reader:
            return _prepare(source._replace(task=task))
        limit, skip_bad = source.max_position_embeddings, source.skip_bad
        return load(task, source.found, max_position_embeddings=limit, skip_bad=skip_bad)


def read(task: TaskConfig, paths: Sequence[str], *, split: str, problems: BadExamples) -> list[Any]:
    """Reads the examples of the files of a split.

    Raises:
      UserError: a bad example that is not skipped, a missing or empty file, or no example at all.
    """
    reader = readers.find_reader(task.reader, task, kind_class(task.kind).example_type)
    examples = [
        example for path in paths for example in reader(path, task, split=split).read(problems)
    ]
    if not examples:
        raise UserError(f"{', '.join(paths)}: no example could be read")
    return examples


def load(
    task: TaskConfig, found: Found, *, max_position_embeddings: int, skip_bad: bool
) -> TaskData:
    """Reads and checks all splits of a task; train and dev must be among the files.

    Raises:
      UserError: bad examples that are not skipped, or a split without any good one.
    """
    assert not found.missing_splits()
    problems = {split: BadExamples(skip=skip_bad) for split in found.paths}
    splits = {
        split: read(task, paths, split=split, problems=problems[split])
        for split, paths in found.paths.items()
    }
    return _prepare(Source(task, found, splits, problems, max_position_embeddings, skip_bad))


def _prepare(source: Source) -> TaskData:
    """Completes the labels, checks the examples and chooses `max_train_examples` of them."""
    found, splits, problems = source.found, dict(source.splits), copy.deepcopy(source.problems)
    test = splits.get("test", [])
    task = _with_labels(source.task, found, splits["train"])
    kind = make_kind(task, max_position_embeddings=source.max_position_embeddings)
    test_labelled = bool(test) and all(example.has_label for example in test)
    for split in splits:
        if split != "test" or test_labelled:
            splits[split] = kind.check(splits[split], problems[split])
            if not splits[split]:
                raise UserError(f"{', '.join(found.paths[split])}: no valid example is left")
    most = task.training.max_train_examples
    if 0 < most < len(splits["train"]):
        chosen = np.random.default_rng(0).choice(len(splits["train"]), most, replace=False)
        splits["train"] = [splits["train"][index] for index in sorted(chosen)]
    notes = tuple(_notes(source.task, found, test))
    return TaskData(task, kind, splits, test_labelled, problems, notes, source)


def _notes(task: TaskConfig, found: Found, test: Sequence[Any]) -> Iterator[str]:
    if task.labels.file and not found.labels and not task.labels.names:
        yield f"no {task.labels.file} in {found.folder}: the labels are those of the training set"
    labelled = sum(example.has_label for example in test)
    if 0 < labelled < len(test):
        yield f"{labelled:,} of {len(test):,} test examples have a label: the test is not scored"


def _with_labels(task: TaskConfig, found: Found, train: Sequence[Any]) -> TaskConfig:
    """Returns the task with its labels: as given, from their file, or those of the training set."""
    if task.labels.names:
        return task
    if found.labels:
        return with_labels(task, read_label_names(found.labels, task.labels.field))
    seen = {name for example in train for name in example.label_names}
    return with_labels(task, kind_class(task.kind).labels_from(task, seen))
