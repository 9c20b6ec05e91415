r"""Compares pretraining settings at equal CPU seconds or equal steps.

    python scripts/experiments/compare.py scripts/experiments/proxy.yaml \\
        --data DATA --eval-data DATA/heldout --tasks CLUE --output OUT [--only joint,masked_lm]

The YAML file has the recipe (`config`), the budget (`cpu_seconds` or `steps`), `seeds`, `variants`
(name: settings) and what is compared. A variant may have `steps` of its own, and `init`: an earlier
variant, whose weights of the same seed it starts from. What is compared:

- `curves`: held-out metrics of `metrics.jsonl`, as [step, seconds, value] of each evaluation.
- `held_out`: evaluations (name: settings, such as `masking`), the same for all variants; the last
  checkpoint's `masked_lm_loss` and `masked_lm_accuracy` with each.
- `probes`: tasks of classification or tagging. Logistic regression on frozen features: the mean of
  the tokens' last layer, or each token's. Nothing of the network is trained.
- `finetune`: tasks, with `settings` and `trials`.

CPU seconds are those of the process. The seconds per step are measured first, by short runs, so
that each variant's schedule ends at its budget. All results are in OUT/results.json; what is there
is not computed again, and a stopped run is resumed. `fresh` is a variant without pretraining.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

_TIMED = 20  # steps of the shortest timed run
_FRESH = "fresh"


def main() -> int:
    """Runs the experiment and prints its table."""
    arguments = _arguments()
    plan = yaml.safe_load(Path(arguments.plan).read_text(encoding="utf-8"))
    results = Results(Path(arguments.output) / "results.json")
    for name in arguments.only or plan["variants"]:
        for seed in plan.get("seeds", [0]):
            run = Path(arguments.output) / f"{name}-{seed}"
            _compare(plan, name, seed, run, arguments, results)
            print(results.table(), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("plan", help="YAML file of the experiment")
    parser.add_argument("--data", required=True, help="folder of build-data")
    parser.add_argument("--eval-data", required=True, help="held-out data")
    parser.add_argument("--tasks", default="", help="folder of the tasks' data sets")
    parser.add_argument("--output", required=True, help="folder of the runs and results")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the variants")
    return parser.parse_args()


def _compare(
    plan: Mapping[str, Any],
    name: str,
    seed: int,
    run: Path,
    arguments: argparse.Namespace,
    results: Results,
) -> None:
    """Pretrains a variant and evaluates it in every way that the plan names."""
    label, is_fresh = run.name, name == _FRESH
    settings = {**(plan["variants"][name] or {}), "seed": seed}
    pretrain = ["pretrain", "--config", plan["config"], "--data", arguments.data]
    own_steps, first = settings.pop("steps", None), settings.pop("init", None)
    if first:
        pretrain += ["--init", str(run.with_name(f"{first}-{seed}"))]
    if not results.has(label, "steps"):
        steps = 1 if is_fresh else own_steps or _steps(plan, [*pretrain, *words(settings)])
        results.set(label, "steps", steps)
    steps = results.get(label, "steps")
    given = words({**_by_steps(plan, steps), **settings, "num_train_steps": steps})
    if is_fresh and not run.exists():
        # One step gives the folder of a run, whose weights are not used.
        electra(*pretrain, "--output", str(run), *given)
    if not is_fresh:
        _pretrain(plan, [*pretrain, *given], run, arguments.eval_data, results)
    for task in plan.get("probes", []):
        if not results.has(label, f"probe {task}"):
            score = probe(str(run), task, arguments.tasks, seed=seed, from_scratch=is_fresh)
            results.set(label, f"probe {task}", score)
    _finetune(plan.get("finetune"), run, arguments, results, from_scratch=is_fresh)


def _pretrain(
    plan: Mapping[str, Any], call: Sequence[str], run: Path, held_out: str, results: Results
) -> None:
    """Pretrains a run and evaluates it on held-out data."""
    if not results.has(run.name, "cpu_seconds"):
        seconds = electra(*call, "--eval-data", held_out, "--output", str(run))
        results.set(run.name, "cpu_seconds", seconds)
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        found = [line for line in map(json.loads, lines) if line["kind"] == "eval"]
        for metric in plan.get("curves", []):
            if metric in found[-1]:
                curve = [[line["step"], line["seconds"], line[metric]] for line in found]
                results.set(run.name, f"curve of {metric}", curve)
                results.set(run.name, metric, found[-1][metric])
    for name, changes in plan.get("held_out", {}).items():
        if not results.has(run.name, f"{name} masked_lm_loss"):
            for metric, value in _evaluate(run, held_out, changes).items():
                results.set(run.name, f"{name} {metric}", value)


def _steps(plan: Mapping[str, Any], call: Sequence[str]) -> int:
    """Returns the steps of a variant's budget."""
    if "steps" in plan:
        return int(plan["steps"])
    steps, shortest = _TIMED, _seconds(call, _TIMED)
    seconds = shortest
    # The cost of starting a run varies by seconds: the steps must outweigh it.
    while seconds < 1.5 * shortest:
        steps *= 4
        seconds = _seconds(call, steps)
    per_step = (seconds - shortest) / (steps - _TIMED)
    return max(1, int(plan["cpu_seconds"] / per_step))


def _seconds(call: Sequence[str], steps: int) -> float:
    """Returns the CPU seconds of a run of some steps, in a new folder: nothing is resumed."""
    with tempfile.TemporaryDirectory() as folder:
        more = [f"num_train_steps={steps}", "save_checkpoints_steps=1000000"]
        return electra(*call, "--output", str(Path(folder, "run")), *more)


def _by_steps(plan: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Returns the settings that depend on the number of steps: warm-up and evaluations."""
    return {
        "num_warmup_steps": min(int(plan.get("warmup_steps", 100)), max(1, steps // 3)),
        "save_checkpoints_steps": max(1, steps // int(plan.get("evaluations", 10))),
    }


def words(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings as words of a command."""
    return [f"{key}={value}" for key, value in settings.items()]


def electra(*command: str) -> float:
    """Runs a command and returns its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("electra-zh", *command, flush=True)
    subprocess.run([sys.executable, "-m", "electra_zh", *command], check=True, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _evaluate(run: Path, data: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """Returns the masked LM's loss and accuracy on held-out data with other settings."""
    from electra_zh.pretraining import folder
    from electra_zh.pretraining.evaluate import evaluate_run

    trained = folder.load(str(run))
    changed = dataclasses.replace(trained.config, **settings)
    found = evaluate_run(dataclasses.replace(trained, config=changed), [data], max_batches=100)
    return {metric: found[metric] for metric in ("masked_lm_loss", "masked_lm_accuracy")}


def _finetune(
    plan: Mapping[str, Any] | None,
    run: Path,
    arguments: argparse.Namespace,
    results: Results,
    *,
    from_scratch: bool,
) -> None:
    """Fine-tunes on every task of the plan and takes the mean and deviation of the dev scores."""
    for task in plan["tasks"] if plan else ():
        if results.has(run.name, f"finetune {task}"):
            continue
        output = f"{run}-{task}"
        flags = ["--from-scratch"] if from_scratch else []
        common = ["--model", str(run), "--task", task, "--data", arguments.tasks, *flags]
        trials = ["--output", output, "--trials", str(plan.get("trials", 1))]
        electra("finetune", *common, *trials, *words(plan.get("settings", {})))
        found = json.loads(Path(output, "results.json").read_text(encoding="utf-8"))
        (result,) = found["tasks"].values()
        scores = [trial["dev"][result["metric"]] for trial in result["trials"]]
        results.set(run.name, f"finetune {task}", scores)


def probe(run: str, task: str, data: str, *, seed: int, from_scratch: bool) -> float:
    """Returns the score of logistic regression on frozen features: accuracy, or macro F1 of tags.

    At most 6,000 training and 4,000 dev examples of a classification task are used, 1,200 and 800
    of a tagging task.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    (train_x, train_y), (dev_x, dev_y), is_tagging = _features(
        run, task, data, seed=seed, from_scratch=from_scratch
    )
    mean, deviation = train_x.mean(0), train_x.std(0) + 1e-6
    model = LogisticRegression(C=1.0 if is_tagging else 0.1, max_iter=200)
    model.fit((train_x - mean) / deviation, train_y)
    found = model.predict((dev_x - mean) / deviation)
    if not is_tagging:
        return 100 * float(accuracy_score(dev_y, found))
    tags = sorted(set(train_y.tolist()) - {0})  # 0 is outside
    return 100 * float(f1_score(dev_y, found, labels=tags, average="macro", zero_division=0))


def _features(
    run: str, task: str, data: str, *, seed: int, from_scratch: bool
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], bool]:
    """Returns features and labels of the train and dev split, and whether it is tagging."""
    from electra_zh.finetuning import dataset, locate, registry
    from electra_zh.finetuning.model import TaskModel
    from electra_zh.finetuning.pretrained import load_pretrained

    (config,) = registry.load([task])
    found = locate.find(config, locate.folders_below(data))
    if found is None or found.missing_splits():
        raise SystemExit(f"{task}: {locate.why_missing(config, found, data)}")
    start = load_pretrained(run, from_scratch=from_scratch)
    most = start.model.max_position_embeddings
    loaded = dataset.load(config, found, max_position_embeddings=most, skip_bad=True)
    encoder = TaskModel(start, {task: loaded.kind}, seed=seed).encoder
    is_tagging = loaded.task.kind == "tagging"
    chosen = np.random.default_rng(0).permutation(len(loaded.splits["train"]))
    sizes = (1200, 800) if is_tagging else (6000, 4000)
    train = [loaded.splits["train"][index] for index in chosen[: sizes[0]]]
    parts = []
    for examples in (train, loaded.splits["dev"][: sizes[1]]):
        rows = loaded.kind.encode(examples, start.make_tokenizer(), training=True)
        states = _states(encoder, rows)
        if is_tagging:
            used = rows.per_token["label_mask"] > 0
            parts.append((states[used], rows.per_token["label"][used]))
        else:
            starts = np.concatenate([[0], rows.ends[:-1]])
            sums = np.add.reduceat(states, starts, 0)
            parts.append((sums / (rows.ends - starts)[:, None], rows.per_group["label"]))
    return parts[0], parts[1], is_tagging


def _states(encoder: Any, rows: Any) -> np.ndarray:
    """Returns the last layer's output at every token of all rows, [T, D]."""
    import tensorflow as tf

    lengths = np.diff(rows.ends, prepend=0)
    width = int(-(-lengths.max() // 16) * 16)
    step = tf.function(encoder, autograph=False)
    found = []
    for first in range(0, len(lengths), 64):
        batch = np.zeros([3, 64, width], np.int32)
        for row, index in enumerate(range(first, min(first + 64, len(lengths)))):
            part = slice(rows.ends[index] - lengths[index], rows.ends[index])
            batch[0, row, : lengths[index]] = rows.ids[part]
            batch[1, row, : lengths[index]] = 1
            batch[2, row, : lengths[index]] = rows.segments[part]
        states = step(*map(tf.constant, batch)).numpy()
        found.append(states[batch[1].reshape(-1) > 0])
    return np.concatenate(found)


class Results:
    """The results of all runs, in a file that is written after each of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._values = json.loads(path.read_text(encoding="utf-8"))

    def has(self, run: str, name: str) -> bool:
        """Returns whether a run has a result."""
        return name in self._values.get(run, {})

    def get(self, run: str, name: str) -> Any:
        """Returns a result of a run."""
        return self._values[run][name]

    def set(self, run: str, name: str, value: Any) -> None:
        """Adds a result of a run and writes the file."""
        self._values.setdefault(run, {})[name] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._values, indent=1) + "\n", encoding="utf-8")

    def table(self) -> str:
        """Returns the results as a Markdown table, a row per run."""
        names = dict.fromkeys(name for run in self._values.values() for name in run)
        names = [name for name in names if not name.startswith("curve of ")]
        lines = [f"| run | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for run, values in self._values.items():
            cells = (_shown(values[name]) if name in values else "-" for name in names)
            lines.append(f"| {run} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{np.mean(value):.2f} +- {np.std(value, ddof=len(value) > 1):.2f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
