"""The reader of one form of file: splits it into records, and makes an example of each.

A form is registered by its class alone, in any module of this folder:

    class Poem(ExampleReader, name="poem"):
        example_type = TextExample

        def _example(self, record, number):  # a JSON object, see `ExampleReader._records`
            return TextExample(number, record.value["text"], None, None, record.place)
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from electra_zh.finetuning.examples import BadExampleError, BadExamples, Example
from electra_zh.finetuning.readers.columnar import columnar_records
from electra_zh.finetuning.readers.streams import Record, TaskFile, json_records
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import Settings, build_settings

READERS: dict[str, type[ExampleReader]] = {}
# Splits that need labels. The others are test, whose labels are read if it has any, and new.
LABELLED = ("train", "dev")


@dataclasses.dataclass(frozen=True)
class ReaderFields(Settings):
    """Base of the settings that a reader takes from the `fields` of a task."""

    @classmethod
    def of(cls, task: TaskConfig) -> Self:
        """Returns the fields of a task.

        Raises:
          UserError: an unknown key, or a value that is not allowed.
        """
        return build_settings(cls, cls._plain(task.fields), where=f"task {task.name}: fields")

    @classmethod
    def _plain(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the fields in their present spelling."""
        return fields


class ExampleReader(abc.ABC):
    """Reads one file of one form.

    Attributes:
      example_type: the class of its examples; kinds of task with these examples can use it.
      fields_type: the class of its settings, None for a reader without.
      objects: its files are usually JSON, so one that begins as JSON has no other form.
      path: the file.
      task: the settings of the task.
      split: `train`, `dev`, `test` or `new`.
      labelled: the split needs labels.
      bad: receives bad examples and notes, from `read` on.
      first: the number of its first record.
      end: the number after that of the last record that was read.
    """

    example_type: ClassVar[type[Example]]
    fields_type: ClassVar[type[ReaderFields] | None] = None
    objects: ClassVar[bool] = False

    def __init_subclass__(cls, *, name: str = "") -> None:
        super().__init_subclass__()
        if name:
            assert name not in READERS, f"two readers are named {name}"
            READERS[name] = cls

    def __init__(
        self, path: str, task: TaskConfig, *, split: str, file: TaskFile | None = None
    ) -> None:
        """Makes the reader of a file, which may be open already."""
        self.path, self.task, self.split, self._opened = path, task, split, file
        self.labelled = split in LABELLED
        self.bad = BadExamples(skip=False)
        self.fields: Any = self.fields_type.of(task) if self.fields_type else None

    @functools.cached_property
    def file(self) -> TaskFile:
        """The file, opened when it is first used.

        Raises:
          UserError: it is missing, or is not text.
        """
        return self._opened or TaskFile(self.path)

    def read(self, bad: BadExamples, *, first: int = 0) -> Iterator[Any]:
        """Yields the examples of the file, streaming; bad ones go to `bad`.

        Examples without an id get the numbers from `first` on.

        Examples whose label the task drops are counted and skipped in train and dev; elsewhere they
        are examples without a label, so that a test set stays complete.

        Raises:
          UserError: the file is missing or has another form, or an example is bad.
        """
        drop = set(self.task.labels.drop)
        self.bad = bad
        self.first = self.end = first
        for record in self._records():
            number, self.end = self.end, self.end + 1
            try:
                example = self._checked(record, number)
            except BadExampleError as error:
                bad.add(error, record.place)
                continue
            dropped = drop.intersection(example.label_names) if drop else ()
            if dropped and self.labelled:
                bad.dropped[min(dropped)] += 1
                continue
            yield example.unlabelled() if dropped else example

    def _checked(self, record: Record, number: int) -> Example:
        if isinstance(record.value, BadExampleError):
            raise record.value
        example = self._example(record, number)
        if self.labelled and not example.has_label:
            reason = f"no {example.label_noun}: is this a test file?"
            raise BadExampleError(reason, self._found(record))
        return example

    def _records(self) -> Iterator[Record]:
        """Yields the records of the file; by default JSON objects, as lines or in an array.

        Raises:
          UserError: the file is missing, or has another form.
        """
        return self._objects()

    def _has_objects(self) -> bool:
        """Returns whether the file is JSON, Parquet or Arrow; a damaged first line is JSON, too."""
        begins = self.objects and self.file.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in b"{["
        return self.file.is_json or self.file.is_columnar or begins

    def _objects(self, *, blank_lines: bool = False) -> Iterator[Record]:
        """Yields the objects of a file of JSON, Parquet or Arrow, see `json_records`."""
        if self.file.is_columnar:
            labels = self.task.labels
            return columnar_records(self.file, (*labels.names, *labels.drop))
        return json_records(self.file, blank_lines=blank_lines)

    @abc.abstractmethod
    def _example(self, record: Record, number: int) -> Example:
        """Returns the example of a record; without a label if the record has none.

        Args:
          record: whose value is not a `BadExampleError`.
          number: the record's number from 0, the id of an example without one.

        Raises:
          BadExampleError: the record cannot be used.
        """

    def _found(self, record: Record) -> str:
        """Returns the parts of a record without a label, for the message."""
        return f"found {', '.join(record.value)}" if isinstance(record.value, dict) else ""
