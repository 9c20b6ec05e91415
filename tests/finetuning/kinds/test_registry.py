"""The kinds of task are the modules of their package, and everything of a kind is in its module."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from electra_zh.finetuning import kinds
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.readers import READERS
from electra_zh.finetuning.submission_writers import WRITERS
from electra_zh.finetuning.tasks import kind_names

PACKAGE = Path(kinds.__file__).parent.parent
NAMES = ("choice", "classification", "cloze", "multi_label", "regression", "span", "tagging")


def test_names_are_those_of_the_modules() -> None:
    assert kind_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_declares_its_data(name: str) -> None:
    found = kinds.kind_class(name)
    assert issubclass(found, TaskKind)
    assert inspect.isclass(found.example_type)
    types = {key: reader.example_type for key, reader in READERS.items()}
    assert found.example_type in types.values()
    fitting = [key for key in types if issubclass(found.example_type, types[key])]
    assert found.plain_reader in ("", *fitting)
    assert {*found.submission_forms} <= {*WRITERS}


# Other meanings of the words: keys of the files of C3 and CLUEWSC, a task type of transformers.
# The reader of tables recognizes columns of numbers.
ELSEWHERE = {
    "convert/task_heads.py": {"regression"},
    "finetuning/readers/choices.py": {"choice"},
    "finetuning/readers/tables.py": {"regression"},
    "finetuning/readers/wsc.py": {"span"},
    "finetuning/submission_writers.py": {"choice"},
}


def test_nothing_else_names_a_kind() -> None:
    found: dict[str, set[str]] = {}
    root = PACKAGE.parent
    for path in root.rglob("*.py"):
        if path.parent == PACKAGE / "kinds":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in NAMES:
                found.setdefault(str(path.relative_to(root)), set()).add(str(node.value))
    assert found == ELSEWHERE
