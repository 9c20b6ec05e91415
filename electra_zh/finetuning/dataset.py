"""The data of a task in memory: files read once, labels complete, every example checked."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.kinds import kind_class, make_kind
from electra_zh.finetuning.kinds.base import TaskKind, with_labels
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.readers.label_files import read_labels
from electra_zh.finetuning.tasks import Split, TaskConfig

# What may separate labels that are written as one.
_PARTS = re.compile("[,，、;；|/]")


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

    def lines(self) -> list[str]:
        """Returns the notes, and the skipped examples of all splits."""
        bad = (line for problems in self.problems.values() for line in problems.lines())
        return [*self.notes, *bad]

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the labels, and of all examples as they were read."""
        assert self.source is not None
        found = hashlib.sha256(repr(self.task.labels.names).encode())
        for split, examples in self.source.splits.items():
            for each in examples:
                names = (field.name for field in dataclasses.fields(each) if field.name != "place")
                values = [split, *(getattr(each, name) for name in names)]
                found.update(repr(values).encode())
        return found.hexdigest()

    def with_config(self, task: TaskConfig) -> TaskData:
        """Returns the data of the same files for other settings, which may change the check.

        The files are read again only for settings that the readers use.
        """
        source = self.source
        assert source is not None
        if task == source.task:
            return self
        if _for_readers(task) == _for_readers(source.task):
            return _prepare(source._replace(task=task))
        limit, skip_bad = source.max_position_embeddings, source.skip_bad
        return load(task, source.found, max_position_embeddings=limit, skip_bad=skip_bad)


def _for_readers(task: TaskConfig) -> tuple[Any, ...]:
    """Returns the settings that decide what is read from the files."""
    return task.kind, task.reader, task.fields, task.labels


def read(task: TaskConfig, paths: Sequence[str], *, split: str, problems: BadExamples) -> list[Any]:
    """Reads the examples of the files of a split.

    Raises:
      UserError: a bad example that is not skipped, a missing or empty file, or no example at all.
    """
    readers.find_reader(task.reader, task, kind_class(task.kind).example_type)
    examples = list(readers.read(paths, task, split=split, bad=problems))
    problems.check_few(len(examples))
    if not examples:
        raise UserError(f"{', '.join(paths)}: no example could be read")
    _note_duplicates(examples, problems)
    if blank := sum(example.is_blank for example in examples):
        problems.note(f"{blank:,} of {len(examples):,} {split} examples have no text")
    return examples


def _note_duplicates(examples: Sequence[Any], problems: BadExamples) -> None:
    """Notes ids that several examples of a split have."""
    counts = Counter(json.dumps(example.id) for example in examples)
    several = [identity for identity, count in counts.items() if count > 1]
    if several:
        same = [each.place for each in examples if json.dumps(each.id) == several[0]]
        problems.note(
            f"{len(several):,} ids have more than one example, first {several[0]} at {same[0]} "
            f"and {same[1]}"
        )


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
    task, notes = _with_labels(source.task, found, splits["train"])
    kind = make_kind(task, max_position_embeddings=source.max_position_embeddings)
    notes += _notes(source.task, found, test)
    if same := same_labels(test):
        names = test[0].label_names
        is_label = names and all(map(kind.is_label, names))
        result = "is it a placeholder?" if is_label else "not a label of the task, so not scored"
        notes.append(f"all {len(test):,} test labels are {same}: {result}")
        if not is_label:
            splits["test"] = test = [example.unlabelled() for example in test]
    test_labelled = bool(test) and all(example.has_label for example in test)
    for split in splits:
        if split != "test" or test_labelled:
            splits[split] = kind.check(splits[split], problems[split])
            problems[split].check_few(len(splits[split]))
            if not splits[split]:
                raise UserError(f"{', '.join(found.paths[split])}: no valid example is left")
    _note_overlaps(splits, problems)
    most = task.training.max_train_examples
    if 0 < most < len(splits["train"]):
        chosen = np.random.default_rng(0).choice(len(splits["train"]), most, replace=False)
        splits["train"] = [splits["train"][index] for index in sorted(chosen)]
    return TaskData(task, kind, splits, test_labelled, problems, tuple(notes), source)


def same_labels(examples: Sequence[Any]) -> str:
    """Returns the label, or the labels, that all examples have; "" if they differ."""
    if not examples or not all(example.has_label for example in examples):
        return ""
    first = examples[0]
    if len({getattr(example, first.label_field, None) for example in examples}) > 1:
        return ""
    return ", ".join(first.label_names) or str(first.without_labels)


def _notes(task: TaskConfig, found: Found, test: Sequence[Any]) -> Iterator[str]:
    if task.labels.file and not found.labels and not task.labels.names:
        yield f"no {task.labels.file} in {found.folder}: the labels are those of the training set"
    if task.files.test and "test" not in found.paths:
        yield f"no {' or '.join(task.files.test)} in {found.folder}: the test is not scored"
    labelled = sum(example.has_label for example in test)
    if 0 < labelled < len(test):
        yield f"{labelled:,} of {len(test):,} test examples have a label: the test is not scored"


def _note_overlaps(
    splits: Mapping[Split, Sequence[Any]], problems: Mapping[Split, BadExamples]
) -> None:
    """Notes splits of which at least a hundredth is in the training set, too."""
    known = {_hash(each) for each in splits["train"] if not each.is_blank}
    for split, examples in splits.items():
        same = sum(_hash(each) in known for each in examples)
        if split != "train" and same and 100 * same >= len(examples):
            problems[split].note(
                f"{same:,} of {len(examples):,} {split} examples are in the training set, too: "
                "their scores say nothing about new texts"
            )


def _hash(example: Any) -> int:
    """Returns a hash of the texts of an example."""
    values = example.inputs.values()
    return hash(tuple(tuple(each) if isinstance(each, list) else each for each in values))


def _with_labels(
    task: TaskConfig, found: Found, train: Sequence[Any]
) -> tuple[TaskConfig, list[str]]:
    """Returns the task with its labels, and notes on them.

    They are those given, those of their file, or those of the training set.

    Raises:
      UserError: as `TaskKind.labels_from`.
    """
    kind = kind_class(task.kind)
    if task.labels.names:
        names = kind.usual_labels(task.labels.names)
        same = names == task.labels.names
        return task if same else with_labels(task, names), []
    seen = [name for example in train for name in example.label_names]
    if found.labels:
        listed = read_labels(found.labels, task.labels.field)
        chosen = listed.for_data(seen)
        swapped = chosen.names != listed.names
        notes = [f"the data has the numbers of the labels in {found.labels}"] if swapped else []
        names = kind.usual_labels(chosen.names)
        descriptions = chosen.descriptions if names == chosen.names else ()
        return with_labels(task, names, descriptions), notes
    names = kind.labels_from(task, seen)
    joined = [x for x in names if len(parts := _PARTS.split(x)) > 1 and {*parts} <= {*names}]
    notes = [
        f'{len(joined):,} of {len(names):,} labels join others, as "{each}": each is a label '
        "of its own; kind: multi_label splits them at the label_separator of its fields"
        for each in joined[:1]
    ]
    return with_labels(task, names), notes
