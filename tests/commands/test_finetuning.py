"""`tasks`: the list of tasks, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.commands.command import Call
from electra_zh.commands.finetuning import Tasks, tasks
from electra_zh.finetuning import registry


def _list(capsys: pytest.CaptureFixture[str], **settings: object) -> str:
    assert tasks(Call(Tasks(**settings), {}, dry_run=False)) == 0  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_tasks_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(_list(capsys, json=True))
    assert list(found["tasks"]) == registry.task_names()
    title = "TNEWS', headlines by section"
    tnews = {"title": title, "kind": "classification", "metric": "accuracy"}
    assert found["tasks"]["tnews"] == tnews
    assert found["groups"]["clue-reading"] == ["cmrc2018", "chid", "c3"]
    (tmp_path / "tnews").mkdir()
    path = tmp_path / "tnews" / "dev.json"
    path.touch()
    found = json.loads(_list(capsys, data=str(tmp_path), json=True))["tasks"]
    folder, files = str(tmp_path / "tnews"), {"dev": [str(path)]}
    assert found["tnews"] == {**tnews, "folder": folder, "files": files}
    assert (found["afqmc"]["folder"], found["afqmc"]["files"]) == (None, {})
    assert "tnews (no train file)" in _list(capsys, data=str(tmp_path))
