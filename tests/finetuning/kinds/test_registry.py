"""The kinds of task are the modules of their package, and everything of a kind is in its module."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from electra_zh.finetuning import kinds
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.readers import READERS
from electra_zh.finetuning.submission_writers import WRITERS
from electra_zh.finetuning.tasks import kind_names

PACKAGE = Path(kinds.__file__).parent.parent
NAMES = ("choice", "classification", "cloze", "regression", "span", "tagging")


def test_names_are_those_of_the_modules() -> None:
    assert kind_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_declares_its_data(name: str) -> None:
    found = kinds.kind_class(name)
    assert issubclass(found, TaskKind)
    assert inspect.isclass(found.example_type)
    fitting = [key for key, reader in READERS.items() if reader.example_type is found.example_type]
    assert fitting
    assert found.plain_reader in ("", *fitting)
    assert {*found.submission_forms} <= {*WRITERS}
