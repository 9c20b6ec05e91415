"""A form of file is one class in one file of readers/, and the loop around it is shared."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import electra_zh
from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.readers.base import READERS, ExampleReader
from electra_zh.finetuning.readers.streams import Record
from electra_zh.finetuning.tasks import TaskConfig

PACKAGE = Path(electra_zh.__file__).parent
TASK = TaskConfig("made", "classification", "exclaimed", "accuracy")


@pytest.mark.parametrize("name", list(READERS))
def test_a_form_is_registered_by_its_own_file_alone(name: str) -> None:
    naming = [
        path
        for path in (PACKAGE / "finetuning" / "readers").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and getattr(node.value, "value", None) == name
    ]
    module = READERS[name].__module__.replace(".", "/")
    assert naming == [PACKAGE.parent / f"{module}.py"]


@pytest.fixture
def exclaimed() -> Iterator[None]:
    class Exclaimed(ExampleReader, name="exclaimed"):
        example_type = TextExample

        def _records(self) -> Iterator[Record]:
            return self.file.lines()

        def _example(self, record: Record, number: int) -> TextExample:
            text, _, label = record.value.partition("|")
            return TextExample(number, text, None, label or None, record.place)

    yield
    del READERS["exclaimed"]


def test_a_class_is_all_that_a_form_needs(exclaimed: None, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("好!|1\n坏!\n", encoding="utf-8")
    found = list(readers.read(str(path), TASK, split="test", bad=BadExamples(skip=False)))
    assert [(each.text_a, each.label) for each in found] == [("好!", "1"), ("坏!", None)]
    with pytest.raises(UserError, match=r"data, line 2: no label: is this a test file\?"):
        list(readers.read(str(path), TASK, split="train", bad=BadExamples(skip=False)))
