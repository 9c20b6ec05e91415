"""The reader of one form of file: splits it into records, and makes an example of each.

A form is registered by its class alone, in any module of this folder:

    class Poem(Reader[TextExample], name="poem"):
        example_type = TextExample

        def records(self): ...          # yields Record(value, place), streaming
        def example(self, record, number): ...  # returns the example, or raises BadExampleError
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar

from electra_zh.finetuning.examples import Example
from electra_zh.finetuning.readers.streams import Record
from electra_zh.finetuning.tasks import TaskConfig

ExampleT = TypeVar("ExampleT", bound=Example)
READERS: dict[str, type[Reader[Any]]] = {}
# Splits that need labels. Test files may have labels; new data is `new`.
_LABELLED = ("train", "dev")


class Reader(abc.ABC, Generic[ExampleT]):
    """Reads one file of one form.

    Attributes:
      example_type: the class of its examples; kinds of task with these examples can use it.
      name: the name in task files.
      path: the file.
      task: the settings of the task.
      split: `train`, `dev`, `test` or `new`.
      labelled: the split needs labels.
    """

    example_type: ClassVar[type[Example]]
    name: ClassVar[str]

    def __init_subclass__(cls, *, name: str = "") -> None:
        super().__init_subclass__()
        if name:
            assert name not in READERS, f"two readers are named {name}"
            cls.name = name
            READERS[name] = cls

    def __init__(self, path: str, task: TaskConfig, *, split: str) -> None:
        """Checks the task's `fields`.

        Raises:
          UserError: an unknown or missing field, or one of another type.
        """
        self.path, self.task, self.split = path, task, split
        self.labelled = split in _LABELLED

    @abc.abstractmethod
    def records(self) -> Iterator[Record]:
        """Yields the records of the file.

        Raises:
          UserError: the file is missing, or has another form.
        """

    @abc.abstractmethod
    def example(self, record: Record, number: int) -> ExampleT:
        """Returns the example of a record; without a label if the record has none.

        Args:
          record: whose value is not a `BadExampleError`.
          number: the record's number from 0, the id of an example without one.

        Raises:
          BadExampleError: the record cannot be used.
        """

    def found(self, record: Record) -> str:
        """Returns the parts of a record without a label, for the message."""
        del record
        return ""
