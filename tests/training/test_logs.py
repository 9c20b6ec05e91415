"""metrics.jsonl of a resumed run is that of a run that was never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import tensorflow as tf

from electra_zh.training import logs


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


def test_tensorboard_reads_the_scalars(tmp_path: Path) -> None:
    logs.MetricsLog(str(tmp_path), resume_step=0).write(10, "eval", {"loss": 2.5})
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = [
        tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(path)
    ]
    values = [value for event in events for value in event.summary.value]
    assert [value.tag for value in values] == ["eval/loss"]
    assert values[0].metadata.plugin_data.plugin_name == "scalars"
    assert tf.make_ndarray(values[0].tensor) == 2.5
