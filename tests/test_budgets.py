"""The package stays small: budgets of lines by room, of files by folder, of lines by function.

The table in docs/architecture.md has the budgets and their reasons. A budget that proves wrong
is changed there, not met by moving lines to another room.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "electra_zh"
FILES = 15
FUNCTION_LINES = 50


def _read_budgets() -> dict[tuple[str, ...], int]:
    """Returns the lines of each group of rooms, the sum of its rows of the table."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.partition("\n## Budgets\n")[2].partition("\n## ")[0]
    budgets: Counter[tuple[str, ...]] = Counter()
    for rooms, lines in re.findall(r"^\| ([a-z, ]+) \| ([\d,]+) \|", section, re.MULTILINE):
        budgets[tuple(rooms.split(", "))] += int(lines.replace(",", ""))
    return dict(budgets)


LINES = _read_budgets()


def test_every_large_room_has_a_budget() -> None:
    named = {room for rooms in LINES for room in rooms}
    assert named == {
        *("models", "training", "pretraining", "data", "text", "finetuning", "convert"),
        *("commands", "report", "runtime"),
    }


def _count_lines(room: str) -> int:
    assert (PACKAGE / room).is_dir()
    files = (PACKAGE / room).rglob("*.py")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


@pytest.mark.parametrize("rooms", LINES, ids="+".join)
def test_a_room_keeps_its_budget_of_lines(rooms: tuple[str, ...]) -> None:
    assert sum(map(_count_lines, rooms)) <= LINES[rooms]


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
