r"""Fine-tunes variants of settings with the same seeds, and prints dev scores and training losses.

    python scripts/experiments/finetune.py scripts/experiments/fresh-starts.yaml --vocab VOCAB \\
        --data CLUE --output OUT [--only local_05,normal_05]
    python scripts/experiments/finetune.py scripts/experiments/csl-rates.yaml --model RUN \\
        --data CLUE --output OUT

The YAML file has `tasks` (task: settings), `settings` for all, `trials` (seeds) and `variants`
(name: settings). A plan with `network`, the name of a model size, trains from scratch: a variant
may have `initializer_range` and `attention_start`. Others start from --model.

For each variant and task: the dev scores of the best epochs, the mean training loss of each epoch,
and CPU seconds of the process. All results are in OUT/results.json; what is there is not computed
again, and a stopped trial is resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from compare import Results, electra, words

from electra_zh.models.config import ModelConfig
from electra_zh.settings import load_recipe

_OF_THE_START = ("initializer_range", "attention_start")


def main() -> int:
    """Runs the experiment and prints its table."""
    arguments = _arguments()
    plan = yaml.safe_load(Path(arguments.plan).read_text(encoding="utf-8"))
    output = Path(arguments.output)
    results = Results(output / "results.json")
    for name in arguments.only or plan["variants"]:
        variant = {**plan.get("settings", {}), **(plan["variants"][name] or {})}
        start = [variant.pop(key, None) for key in _OF_THE_START]
        if "network" in plan:
            network = output / "networks" / name
            _write_network(network, plan["network"], arguments.vocab, initializer_range=start[0])
            model = ["--model", str(network), "--from-scratch"]
            model += ["--attention-start", start[1] or "normal"]
        else:
            model = ["--model", arguments.model]
        for task, settings in plan["tasks"].items():
            if not results.has(name, task):
                call = [*model, "--task", task, "--data", arguments.data]
                call += ["--trials", str(plan.get("trials", 1)), *words({**settings, **variant})]
                _finetune(call, name, task, output, results)
                print(results.table(), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("plan", help="YAML file of the experiment")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--model", help="run or model to start from")
    start.add_argument("--vocab", help="vocabulary of a network without pretraining")
    parser.add_argument("--data", required=True, help="folder of the tasks' data sets")
    parser.add_argument("--output", required=True, help="folder of the trials and results")
    parser.add_argument("--only", type=lambda text: text.split(","), help="some of the variants")
    return parser.parse_args()


def _write_network(folder: Path, size: str, vocab: str, *, initializer_range: float | None) -> None:
    """Writes the settings and the vocabulary of a network, without weights."""
    lines = Path(vocab).read_text(encoding="utf-8").splitlines()
    values = {**load_recipe(size, kind="model"), "vocab_size": len(lines)}
    if initializer_range is not None:
        values["initializer_range"] = initializer_range
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "electra", **dataclasses.asdict(ModelConfig(**values))}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _finetune(call: Sequence[str], variant: str, task: str, output: Path, results: Results) -> None:
    """Fine-tunes a variant on a task and takes the results of its trials."""
    folder = output / f"{variant}-{task}"
    seconds = electra("finetune", *call, "--output", str(folder))
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["tasks"][task]
    trials = sorted(found["trials"], key=lambda trial: int(trial["seed"]))
    results.set(variant, task, [100 * trial["dev"][found["metric"]] for trial in trials])
    for trial in trials:
        losses = _losses(folder / trial["folder"])
        results.set(variant, f"curve of {task}, seed {trial['seed']}", losses)
    last = [results.get(variant, f"curve of {task}, seed {trial['seed']}")[-1] for trial in trials]
    results.set(variant, f"{task}, last loss", last)
    results.set(variant, f"{task}, CPU seconds", seconds)


def _losses(folder: Path) -> list[float]:
    """Returns the mean training loss of each epoch of a trial."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
    return [line["loss"] for line in found if line["kind"] == "train"]


if __name__ == "__main__":
    sys.exit(main())
