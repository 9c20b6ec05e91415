"""Small task files in the forms of the public data sets, under `tests/data/tasks/NAME/`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TASKS = Path(__file__).parents[1] / "data" / "tasks"
CLUE = (
    *("afqmc", "tnews", "iflytek", "cmnli", "ocnli", "cluewsc2020", "csl", "cmrc2018", "drcd"),
    *("chid", "chid_fewclue", "c3", "c3_original", "cluener", "clue_diagnostics"),
)


def copy_tasks(folder: Path, *names: str) -> Path:
    """Copies the files of tasks into folders of their names; returns the folder."""
    for name in names:
        shutil.copytree(TASKS / name, folder / name, dirs_exist_ok=True)
    return folder


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON lines file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object per line, in a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_bytes("".join(lines).encode())


def write_json(path: Path, value: Any) -> None:
    """Writes one JSON value, in a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
