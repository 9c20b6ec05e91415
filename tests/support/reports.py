"""Folders of runs and results as the commands write them, without any training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_zh import files
from electra_zh.finetuning import registry
from electra_zh.pretraining.folder import Run
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.networks import tiny

LOG_STEPS, EVAL_STEPS = 10, 20


def write_run(
    folder: Path, *, steps: int, done: int, recipe: str = "nano", **settings: Any
) -> None:
    """Writes a run of which `done` steps are done, with its metrics, without checkpoints."""
    vocabulary = Vocabulary((*SPECIAL_TOKENS, *"天地玄黄"))
    config = tiny(model={"vocab_size": vocabulary.size}, num_train_steps=steps, **settings)
    counts = {"documents": 3, "tokens": 4000, "examples": 120, "files": "corpus.txt"}
    run = Run(
        str(folder),
        config,
        vocabulary,
        TokenizerSettings(),
        "made",
        train_data=("data",),
        data=counts,
        recipe=recipe,
    )
    run.save()
    (folder / "checkpoints").mkdir()
    lines = [
        json.dumps(line) for step in range(LOG_STEPS, done + 1, LOG_STEPS) for line in _lines(step)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _lines(step: int) -> Sequence[Mapping[str, Any]]:
    """Returns the lines of metrics after a step."""
    level = math.exp(-step / 50)
    base = {
        "step": step,
        "time": 1.7e9 + step,
        "seconds": step * 36.0,
        "tokens": step * 1024,
        "learning_rate": 1e-4 * min(step / 20, 1),
    }
    train = {
        "loss": 20 + 5 * level,
        "gen_loss": 5 + 3 * level,
        "disc_loss": 0.3 + 0.1 * level,
        "disc_auc_real": 0.7 - 0.1 * level,
        "gradient_norm": 1 + level,
        "tokens_per_second": 3000.0 + step,
    }
    measures = {
        "effective_rank": 40 - 20 * level,
        "neighbour_attention": 0.2,
        "masked_lm_gain": 1 - level,
        "copy_accuracy": 0.9,
        "unigram_entropy": 6.0,
    }
    lines: list[Mapping[str, Any]] = [{**base, "kind": "train", **train}]
    if step % EVAL_STEPS == 0:
        held_out = {
            "masked_lm_loss": 5.1 + 3 * level,
            "masked_lm_accuracy": 0.3 - 0.2 * level,
            "sampled_masked_lm_accuracy": 0.2 - 0.1 * level,
            "disc_loss": 0.31 + 0.1 * level,
            "disc_auc_real": 0.68 - 0.1 * level,
            "disc_precision": 0.6,
            "disc_recall": 0.3 - 0.2 * level,
        }
        lines.append({**base, "kind": "eval", **held_out, **measures})
    return lines


def write_results(
    folder: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    size: str = "small",
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Writes the results.json of tasks with these dev scores of their trials."""
    tasks = {}
    for task, values in scores.items():
        metric = registry.load([task])[0].metric if task in registry.task_names() else "accuracy"
        trials = [
            {
                "folder": f"{task}/trial-{seed}",
                "setting": {},
                "seed": seed,
                "best_epoch": 2,
                "examples_per_second": 10.0,
                "dev": {metric: value},
                "test": None,
            }
            for seed, value in enumerate(values)
        ]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
        spread = {"max": max(values), "mean": mean, "std": deviation, "trials": len(values)}
        tasks[task] = {
            "task": task,
            "title": task,
            "kind": "classification",
            "metric": metric,
            "setting": {},
            "dev": spread,
            "test": None,
            "best_trial": f"{task}/trial-{values.index(max(values))}",
            "warnings": [],
            "published": {size: (published or {}).get(task, {})},
            "submission": None,
            "test_files": [],
            "trials": trials,
        }
    summary = {
        "version": "0.1.0",
        "model": "run",
        "size": size,
        "from_scratch": False,
        "notes": [],
        "tasks": tasks,
    }
    files.make_dirs(str(folder))
    files.write_json(str(folder / "results.json"), summary)
