"""The reader of one form of file: splits it into records, and makes an example of each.

A form is registered by its class alone, in any module of this folder:

    class Poem(Reader[TextExample], name="poem"):
        example_type = TextExample

        def _example(self, record, number):  # a JSON object per line, see `Reader._records`
            return TextExample(number, record.value["text"], None, None, record.place)
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar

from electra_zh.finetuning.examples import BadExampleError, BadExamples, Example
from electra_zh.finetuning.readers.streams import Record, read_json_lines
from electra_zh.finetuning.tasks import TaskConfig

ExampleT = TypeVar("ExampleT", bound=Example)
READERS: dict[str, type[Reader[Any]]] = {}
# Splits that need labels. The others are test, whose labels are read if it has any, and new.
LABELLED = ("train", "dev")


class Reader(abc.ABC, Generic[ExampleT]):
    """Reads one file of one form.

    Attributes:
      example_type: the class of its examples; kinds of task with these examples can use it.
      path: the file.
      task: the settings of the task; `task.fields` are checked when the reader is made.
      split: `train`, `dev`, `test` or `new`.
      labelled: the split needs labels.
    """

    example_type: ClassVar[type[Example]]

    def __init_subclass__(cls, *, name: str = "") -> None:
        super().__init_subclass__()
        if name:
            assert name not in READERS, f"two readers are named {name}"
            READERS[name] = cls

    def __init__(self, path: str, task: TaskConfig, *, split: str) -> None:
        self.path, self.task, self.split = path, task, split
        self.labelled = split in LABELLED

    def read(self, bad: BadExamples) -> Iterator[ExampleT]:
        """Yields the examples of the file, streaming; bad ones go to `bad`.

        Examples whose label the task drops are counted and skipped in train and dev; elsewhere they
        are examples without a label, so that a test set stays complete.

        Raises:
          UserError: the file is missing or has another form, or an example is bad.
        """
        drop = set(self.task.labels.drop)
        for number, record in enumerate(self._records()):
            try:
                example = self._checked(record, number)
            except BadExampleError as error:
                bad.add(error.place or record.place, error.reason, detail=error.detail)
                continue
            dropped = drop.intersection(example.label_names) if drop else ()
            if dropped and self.labelled:
                bad.dropped[min(dropped)] += 1
                continue
            yield example.unlabelled() if dropped else example

    def _checked(self, record: Record, number: int) -> ExampleT:
        if isinstance(record.value, BadExampleError):
            raise record.value
        example = self._example(record, number)
        if self.labelled and not example.has_label:
            reason = f"no {example.label_noun}: is this a test file?"
            raise BadExampleError(reason, self._found(record))
        return example

    def _records(self) -> Iterator[Record]:
        """Yields the records of the file; by default each line as a JSON object.

        Raises:
          UserError: the file is missing, or has another form.
        """
        return read_json_lines(self.path)

    @abc.abstractmethod
    def _example(self, record: Record, number: int) -> ExampleT:
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
