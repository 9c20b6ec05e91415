"""Runs below a folder: which, in which state, at which step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from electra_zh import cli, locks
from electra_zh.commands import load_command
from electra_zh.errors import UserError
from electra_zh.report import runs
from support.reports import write_run


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=100, done=100)
    write_run(tmp_path / "deep" / "b", steps=100, done=40, recipe="tiny-hours")
    write_run(tmp_path / "c", steps=100, done=0)
    rows = {Path(row["run"]).name: row for row in runs.run_rows(str(tmp_path))}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "finished",
        "b": "interrupted",
        "c": "not begun",
    }
    assert (rows["b"]["step"], rows["b"]["steps"], rows["b"]["recipe"]) == (40, 100, "tiny-hours")
    assert rows["a"]["loss"] == pytest.approx(runs.read_run(str(tmp_path / "a")).last("loss"))
    assert rows["a"]["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file()
    )


def test_a_run_that_is_written_to_is_running(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=100, done=100)
    with locks.locked(str(tmp_path / "a")):
        assert runs.read_run(str(tmp_path / "a")).state == "running"
    assert runs.read_run(str(tmp_path / "a")).state == "finished"


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=100, done=100)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("{")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    (tmp_path / "c" / "metrics.jsonl").write_text('{"kind": "train"}\n{"step": 1}\n')
    shutil.copytree(tmp_path / "a", tmp_path / "d")
    (tmp_path / "d" / "metrics.jsonl").write_text('{"step": 1, "kind": "train", "loss": []}\n')
    rows = runs.run_rows(str(tmp_path))
    assert [row["state"] for row in rows] == ["finished", "damaged", "damaged", "damaged"]
    for note in runs.run_table(rows).notes[1:]:
        assert "metrics.jsonl:1 is not a line of metrics" in note


def test_data_of_the_present_folder_is_shown_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"run": "r", "state": "finished", "bytes": 1, "data": [f"{tmp_path}/data:3", "/d"]}
    assert runs.run_table([row]).rows[0][-1] == "data:3, /d"


def test_a_line_that_is_being_written_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "kind": "train", "loss": 2.0}\n{"step": 2, "ki')
    assert [line["step"] for line in runs.read_metrics(str(path))] == [1]


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12 B"), (1234, "1.2 kB"), (5.6e9, "5.6 GB"), (3e15, "3000.0 TB")]
)
def test_bytes_are_shown_in_their_largest_unit(count: float, shown: str) -> None:
    assert runs.show_bytes(count) == shown


def test_the_command_lists_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], call: Callable[..., str]
) -> None:
    write_run(tmp_path / "a", steps=1200, done=1200)
    shown = call("runs", str(tmp_path))
    assert shown.splitlines()[0].split("  ")[0] == "run"
    assert "1,200 of 1,200" in shown
    (row,) = json.loads(call("runs", str(tmp_path), "--json"))
    assert row["recipe"] == "nano"
    assert "contains no pretraining runs" in call("runs", str(tmp_path / "a" / "checkpoints"))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing does not exist"):
        load_command("runs").run(cli.parse("runs", [str(tmp_path / "missing")]))
