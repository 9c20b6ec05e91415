r"""Fine-tunes variants of settings with the same seeds, and prints dev scores and training losses.

    python scripts/experiments/finetune.py scripts/experiments/fresh-starts.yaml --vocab VOCAB \\
        --data CLUE --output OUT [--only local_05,normal_05]
    python scripts/experiments/finetune.py scripts/experiments/csl-rates.yaml --model RUN \\
        --data CLUE --output OUT

The YAML file has `tasks` (task: settings), `settings` for all, `trials` (seeds; a task may have its
own) and `variants` (name: settings). They start from --model, or else from scratch as `network`, a
recipe; a variant may then have `initializer_range` and `attention_start`.

For each variant and task: the dev scores of the best epochs, the mean training loss of each epoch,
and CPU seconds of the process. All results are in OUT/results.json; what is there is not computed
again, and a stopped trial is resumed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from compare import Results, electra, words

from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.phases import resolve_phases
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary

_OF_THE_START = ("initializer_range", "attention_start")


def main() -> int:
    """Runs the experiment and prints its table."""
    arguments = _arguments()
    plan = yaml.safe_load(Path(arguments.plan).read_text(encoding="utf-8"))
    output = Path(arguments.output)
    results = Results(output / "results.json")
    for task, settings in plan["tasks"].items():
        for name in arguments.only or plan["variants"]:
            if results.has(name, task):
                continue
            given = {**plan.get("settings", {}), **settings, **(plan["variants"][name] or {})}
            start = {key: given.pop(key) for key in _OF_THE_START if key in given}
            model = ["--model", arguments.model]
            if arguments.model is None:
                network = output / "networks" / name
                _write_network(network, plan["network"], arguments.vocab, start)
                model = ["--model", str(network), "--from-scratch"]
            trials = ["--trials", str(given.pop("trials", plan.get("trials", 1)))]
            call = [*model, "--task", task, "--data", arguments.data, *trials, *words(given)]
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


def _write_network(folder: Path, recipe: str, vocab: str, settings: Mapping[str, Any]) -> None:
    """Writes the folder of a run, without weights."""
    vocabulary = Vocabulary.load(vocab)
    (resolved,) = resolve_phases(recipe, settings, vocab_size=vocabulary.size).values()
    Run(str(folder), resolved.settings, vocabulary, TokenizerSettings(), "").save()


def _finetune(call: Sequence[str], variant: str, task: str, output: Path, results: Results) -> None:
    """Fine-tunes a variant on a task and takes the results of its trials."""
    folder = output / f"{variant}-{task}"
    seconds = electra("finetune", *call, "--output", str(folder))
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["tasks"][task]
    trials = sorted(found["trials"], key=lambda trial: int(trial["seed"]))
    results.set(variant, task, [trial["dev"][found["metric"]] for trial in trials])
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
