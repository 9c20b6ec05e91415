"""Experiments for an accelerator, on JAX's CPU."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from support.runner import Job
from support.task_files import copy_tasks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_SCRIPTS = ROOT / "scripts/experiments/gpu"
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


def _script(name: str, *words: str | Path) -> str:
    command = [sys.executable, str(_SCRIPTS / f"{name}.py"), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_runs_of_a_plan_train_for_their_seconds_one_program_after_the_other(
    job: Job, tmp_path: Path
) -> None:
    for name, recipe in (("masked_lm", {}), ("joint", {"objective": "joint"})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(_RECIPE | recipe))
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(_PLAN))
    prepared, runs = tmp_path / "prepared", tmp_path / "runs"
    plan = ("prepare", tmp_path / "plan.yaml", "--vocab", job.vocab, "--output", prepared)
    _script("pretrain_runs", *plan)
    run = ("run", prepared, "--data", job.data, "--output", runs, "--device", "pjrt:cpu")
    _script("pretrain_runs", *run)
    lines = [*map(json.loads, (runs / "metrics.jsonl").read_text().splitlines())]
    local = [line["gen_loss"] for line in lines if line["run"] == "local"]
    assert local[-1] < local[0]
    assert [line["program"] for line in lines if line["run"] == "both"][-1] == "joint"
    found = load_file(runs / "both" / "model.safetensors")
    assert "rtd_head/output/kernel" in found
    assert found["encoder/layers/0/attention/query/kernel"].shape == (32, 32)


def test_workers_share_the_trials_of_seeds_that_have_weights(job: Job, tmp_path: Path) -> None:
    data = copy_tasks(tmp_path / "data", "tnews", "csl")
    tasks, results = tmp_path / "tasks", tmp_path / "results.jsonl"
    names = ("--data", data, "--tasks", "tnews,csl", "--output", tasks, "num_train_epochs=1")
    _script("lower_tasks", "--model", "nano", "--vocab", job.vocab, *names)
    fresh = json.loads((tasks / "tasks.json").read_text())["fresh"]
    weights = {name: np.full(shape, 0.01, np.float32) for name, (shape, *_) in fresh.items()}
    (tmp_path / "run-1").mkdir()
    save_file(weights, tmp_path / "run-1" / "model.safetensors")
    models = ("--models", "fresh", f"run={tmp_path}/run-{{seed}}", "--seeds", "0,1")
    options = ("--output", results, "--device", "cpu", "--workers", "2", "--steps", "2")
    printed = _script("run_tasks", tasks, *models, *options)
    assert "run: no weights of seed 0" in printed
    lines = [*map(json.loads, results.read_text().splitlines())]
    found = {(line["model"], line["task"], line["seed"]) for line in lines}
    assert found == {
        (model, task, seed)
        for task in ("tnews", "csl")
        for model, seed in (("fresh", 0), ("fresh", 1), ("run", 1))
    }
    assert len(lines) == len(found)
    table = _script("score_tasks", tasks, results, "--data", data)
    assert table.count("(2)") == 2
    assert table.count("(1)") == 2


def test_variants_are_pretrained_for_equal_steps_after_the_same_start(
    job: Job, tmp_path: Path
) -> None:
    data, output = copy_tasks(tmp_path / "data", "tnews", "cluener"), tmp_path / "runs"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(_RECIPE))
    variants = {"fresh": {}, "start": {"steps": 10}, "more": {"init": "start"}}
    plan = {
        "config": str(tmp_path / "recipe.yaml"),
        "steps": 20,
        "variants": variants,
        "curves": ["masked_lm_loss"],
        "held_out": {"few": {"mask_prob": 0.1}, "many": {"mask_prob": 0.3}},
        "probes": ["tnews", "cluener2020"],
        "finetune": {"tasks": ["tnews"], "settings": {"num_train_epochs": 1}},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    script = str(ROOT / "scripts/experiments/compare.py")
    call = [sys.executable, script, str(tmp_path / "plan.yaml"), "--data", str(job.data)]
    call += ["--eval-data", str(job.data), "--tasks", str(data), "--output", str(output)]
    subprocess.run(call, check=True)
    found = json.loads((output / "results.json").read_text())
    assert [values["steps"] for values in found.values()] == [1, 10, 20]
    for name, values in found.items():
        assert 0 <= values["probe tnews"] <= 100
        assert 0 <= values["probe cluener2020"] <= 100
        assert len(values["finetune tnews"]) == 1
        for kind in ("few", "many"):
            assert (f"{kind} masked_lm_loss" in values) == (name != "fresh-0")
    first, second = found["start-0"], found["more-0"]
    assert second["curve of masked_lm_loss"][0][2] < first["curve of masked_lm_loss"][0][2]
    assert "electra-zh" not in subprocess.run(call, check=True, capture_output=True).stdout.decode()


@pytest.mark.parametrize("noise", [0.0, -4.0])
def test_a_budget_of_seconds_is_measured_until_the_steps_cost_enough(
    monkeypatch: pytest.MonkeyPatch, noise: float
) -> None:
    compare = runpy.run_path(str(ROOT / "scripts/experiments/compare.py"))
    timed: list[int] = []

    def electra(*command: str) -> float:
        (steps,) = (word.partition("=")[2] for word in command if word.startswith("num_train"))
        timed.append(int(steps))
        # The second run starts faster than the first.
        return 16 + 0.05 * timed[-1] + (noise if len(timed) == 2 else 0)

    steps = compare["_steps"]
    monkeypatch.setitem(steps.__globals__, "electra", electra)
    assert steps({"cpu_seconds": 300}, ["pretrain"]) == pytest.approx(6000, abs=1)
    assert timed == [20, 80, 320]


def test_variants_are_fine_tuned_from_scratch_with_the_same_seeds(job: Job, tmp_path: Path) -> None:
    data, output = copy_tasks(tmp_path / "data", "tnews"), tmp_path / "variants"
    variants = {
        "local": {"initializer_range": 0.05, "attention_start": "local"},
        "slow": {"learning_rate": 1e-5},
    }
    tasks = {"tnews": {"num_train_epochs": 2, "max_seq_length": 16}}
    plan = {"network": "nano", "trials": 2, "variants": variants, "tasks": tasks}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    script = str(ROOT / "scripts/experiments/finetune.py")
    call = [sys.executable, script, str(tmp_path / "plan.yaml"), "--vocab", str(job.vocab)]
    call += ["--data", str(data), "--output", str(output)]
    subprocess.run(call, check=True)
    found = json.loads((output / "results.json").read_text())
    assert list(found) == ["local", "slow"]
    for name, values in found.items():
        assert len(values["tnews"]) == len(values["tnews, last loss"]) == 2
        assert [len(values[f"curve of tnews, seed {seed}"]) for seed in (0, 1)] == [2, 2]
        config = json.loads((output / "networks" / name / "config.json").read_text())
        assert ("local" in json.dumps(config)) == (name == "local")
    assert subprocess.run(call, check=True, capture_output=True, text=True).stdout == ""
