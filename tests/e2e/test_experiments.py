"""Experiments for an accelerator, on JAX's CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file

from support.runner import Job

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_SCRIPT = ROOT / "scripts/experiments/gpu/pretrain_runs.py"
_RECIPE = {
    "model": {
        "embedding_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    },
    "objective": "masked_lm",
    "attention_start": "local",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "learning_rate": 1e-3,
    "num_warmup_steps": 10,
    "num_train_steps": 100,
    "train_batch_size": 8,
    "max_seq_length": 64,
}
_PLAN: dict[str, Any] = {
    "seconds": 2,
    "programs": {"masked_lm": "masked_lm.yaml", "joint": "joint.yaml"},
    "runs": [
        {"name": "local", "programs": ["masked_lm"], "steps": 300},
        {"name": "both", "programs": ["masked_lm", "joint"], "start": "normal", "seed": 1},
    ],
}


def _script(*words: str | Path) -> None:
    command = [sys.executable, str(_SCRIPT), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_runs_of_a_plan_train_for_their_seconds_one_program_after_the_other(
    job: Job, tmp_path: Path
) -> None:
    for name, recipe in (("masked_lm", {}), ("joint", {"objective": "joint"})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(_RECIPE | recipe))
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(_PLAN))
    prepared, runs = tmp_path / "prepared", tmp_path / "runs"
    _script("prepare", tmp_path / "plan.yaml", "--vocab", job.vocab, "--output", prepared)
    _script("run", prepared, "--data", job.data, "--output", runs, "--device", "pjrt:cpu")
    lines = [*map(json.loads, (runs / "metrics.jsonl").read_text().splitlines())]
    local = [line["gen_loss"] for line in lines if line["run"] == "local"]
    assert local[-1] < local[0]
    assert [line["program"] for line in lines if line["run"] == "both"][-1] == "joint"
    found = load_file(runs / "both" / "model.safetensors")
    assert "rtd_head/output/kernel" in found
    assert found["encoder/layers/0/attention/query/kernel"].shape == (32, 32)
