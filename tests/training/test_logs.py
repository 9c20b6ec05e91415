"""metrics.jsonl of a resumed run is that of a run that was never stopped."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.training import logs


def test_a_log_does_not_load_tensorflow(tmp_path: Path) -> None:
    """A program that JAX trains logs without it, where it is installed too."""
    code = (
        "import sys; from electra_zh.training import logs; "
        f"logs.MetricsLog({str(tmp_path)!r}, resume_step=0).write(1, 'train', {{'loss': 1.0}}); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 1.0
    assert not (tmp_path / "tensorboard").exists()


def test_lines_after_the_resume_step_are_dropped(tmp_path: Path) -> None:
    log = logs.MetricsLog(str(tmp_path), resume_step=0)
    for step in (10, 20, 30):
        log.write(step, "train", {"loss": step / 10})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4')  # a killed process's last line
    log = logs.MetricsLog(str(tmp_path), resume_step=20)
    log.write(30, "train", {"loss": 7.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(10, 1.0), (20, 2.0), (30, 7.0)]


def test_a_clock_that_jumps_back_changes_times_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    for resumed in (0, 20):
        log = logs.MetricsLog(str(tmp_path), resume_step=resumed)
        for step in (resumed + 10, resumed + 20):
            log.write(step, "train", {"loss": step / 10})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [
        *((10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0))
    ]
    assert lines[0]["time"] > lines[-1]["time"]


def test_a_line_is_found_by_its_step_and_kind(tmp_path: Path) -> None:
    assert not logs.has_line(str(tmp_path), 10, "eval")
    logs.MetricsLog(str(tmp_path), resume_step=0).write(10, "train", {"loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "kind": "eval", "lo')
    found = [(s, k) for s in (10, 20) for k in ("train", "eval")]
    assert [each for each in found if logs.has_line(str(tmp_path), *each)] == [(10, "train")]


def test_tensorboard_has_the_values_of_the_lines(tmp_path: Path) -> None:
    log = logs.MetricsLog(
        str(tmp_path),
        resume_step=0,
        context=lambda step: {"phase": "long", "tokens": step * 64, "learning_rate": 1e-4},
    )
    log.write(10, "eval", {"loss": 2.5})
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = [
        tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)
    ]
    values = {value.tag: value for event in events for value in event.summary.value}
    scalars = {
        tag.removeprefix("eval/"): tf.make_ndarray(value.tensor).item()
        for tag, value in values.items()
        if value.metadata.plugin_data.plugin_name == "scalars"
    }
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert scalars.keys() == line.keys() - {"step", "kind", "time", "seconds", "phase"}
    assert scalars == {name: np.float32(line[name]) for name in scalars}
    assert values["eval/phase"].metadata.plugin_data.plugin_name == "text"
    assert tf.make_ndarray(values["eval/phase"].tensor).tolist() == [b"long"]


@pytest.mark.parametrize(
    "line",
    [
        *("", "5", "[]", "{}", '{"step": 4', '{"step": 1}', "[" * 100_000),
        '{"step": 1e999, "kind": "train"}',
        '{"step": 1, "kind": "train", "loss": []}',
        '{"step": 1, "kind": "train", "seconds": "x"}',
    ],
)
def test_a_line_that_is_not_one_of_metrics_is_dropped(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert logs.parse_line(line) is None
    log = logs.MetricsLog(str(tmp_path), resume_step=0)
    log.write(1, "train", {"loss": 1.0})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(f"{line}\n")
    assert [row["loss"] for row in logs.MetricsLog(str(tmp_path), resume_step=9).read()] == [1.0]
    assert ("damaged lines: 1." in caplog.text) == bool(line)
