"""A run's tracker and its event files, by the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

from support.runner import PRETRAIN, Job, done, electra, with_changes

# Records the calls in a file next to itself.
FAKE = """
import json, pathlib

def _write(*call):
    with open(pathlib.Path(__file__).parent / "calls.jsonl", "a") as file:
        file.write(json.dumps(call) + "\\n")

class Run:
    def log(self, values, step):
        _write("log", step, values)

    def finish(self):
        _write("finish")

def init(**settings):
    _write("init", settings)
    return Run()
"""


def test_a_run_is_tracked_and_has_text_samples(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = tmp_path / "run"
    words = with_changes(PRETRAIN, "num_train_steps=4", "log_steps=2", "save_checkpoints_steps=4")
    done(electra(*words, "--output", str(run), "--track", "wandb", cwd=job.folder, fork=False))
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [call[0] for call in calls] == ["init", "log", "log", "log", "finish"]
    assert calls[0][1]["config"]["model.hidden_size"] == 32
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [call[1] for call in calls[1:4]] == [line["step"] for line in lines]
    assert calls[1][2]["train/loss"] == lines[0]["loss"]
    (path,) = (run / "tensorboard").iterdir()
    events = map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(path).as_numpy_iterator())
    values = {value.tag: value for event in events for value in event.summary.value}
    (text,) = tf.make_ndarray(values["eval/sample"].tensor).tolist()
    assert text.decode().startswith("[CLS] ")
    assert "(" in text.decode() or "**" in text.decode()
