"""The package stays small: budgets of lines by room, of files by folder, of lines by function.

docs/architecture.md gives the reasons. A budget that proves wrong is changed there and here, not
met by moving lines to another room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "electra_zh"
LINES = {
    ("models", "training", "pretraining"): 4800,
    ("data",): 5250,
    ("text",): 3000,
    ("finetuning",): 7700,
    ("convert",): 2100,
    ("commands",): 900,
}
FILES = 15
FUNCTION_LINES = 50


def _count_lines(room: str) -> int:
    files = (PACKAGE / room).rglob("*.py")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


@pytest.mark.parametrize("rooms", LINES, ids="+".join)
def test_a_room_keeps_its_budget_of_lines(rooms: tuple[str, ...]) -> None:
    assert sum(map(_count_lines, rooms)) <= LINES[rooms]


@pytest.mark.parametrize("name", sorted({room for rooms in LINES for room in rooms}))
def test_every_budget_is_of_a_room_that_exists(name: str) -> None:
    assert _count_lines(name) > 0


def _folders() -> list[Path]:
    return [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]


@pytest.mark.parametrize("folder", _folders(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_has_few_files(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= FILES


def _long_functions() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}: {length} lines"


def test_no_function_is_long() -> None:
    assert list(_long_functions()) == []
