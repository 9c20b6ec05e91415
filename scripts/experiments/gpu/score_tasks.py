r"""Scores the outputs of `run_tasks.py` with the scorers of the tasks.

    python scripts/experiments/gpu/score_tasks.py FOLDER RESULTS.jsonl... --data TASKS \
        --output SCORES.jsonl

FOLDER is that of `lower_tasks.py`. A trial's score is that of its best epoch by dev, as `electra-zh
finetune` keeps it. Prints a table: the mean over seeds, the standard deviation, and the seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from run_tasks import read_results, read_rows, unpack


def main() -> int:
    """Scores the trials and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--data", required=True, help="folder that contains the data sets")
    parser.add_argument("--output", type=Path, help="file of a line per trial")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.folder / "tasks.json").read_text())
    trials = [line for path in arguments.results for line in read_results(path)]
    lines = []
    for name in dict.fromkeys(line["task"] for line in trials):
        scorer = _Scorer(arguments.folder / name, manifest["tasks"][name], arguments.data)
        lines += [_scored(line, scorer) for line in trials if line["task"] == name]
    if arguments.output:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        arguments.output.write_text(text)
    _print(lines)
    return 0


class _Scorer:
    """The dev set of a task, with its kind."""

    def __init__(self, folder: Path, entry: dict[str, Any], data: str) -> None:
        from electra_zh.finetuning import dataset, locate
        from electra_zh.finetuning.tasks import TaskConfig

        task = TaskConfig.from_dict(entry["task"], where=str(folder))
        found = locate.find(task, locate.folders_below(data))
        if found is None or {k: list(v) for k, v in found.paths.items()} != entry["files"]:
            raise SystemExit(f"{task.name}: the files are not those of {folder}")
        loaded = dataset.load(task, found, max_position_embeddings=1 << 20, skip_bad=True)
        self._kind, self._examples = loaded.kind, loaded.splits["dev"]
        self._rows, self.metric = read_rows(folder / "dev.npz"), task.metric

    def scores(self, outputs: dict[str, Any]) -> dict[str, float]:
        """Returns the scores of an epoch's outputs."""
        arrays = {name: unpack(value) for name, value in outputs.items()}
        for name, value in arrays.items():
            if "probabilities" in name:  # the best label, as `run_tasks.py` keeps it
                one_hot = np.eye(int(value.max()) + 1)[value]
                arrays[name] = np.log(one_hot + 1e-9) if name.startswith("log") else one_hot
        predictions = self._kind.predictions(arrays, self._rows, self._examples)
        found: dict[str, float] = self._kind.scores(self._examples, predictions)
        return found


def _scored(line: dict[str, Any], scorer: _Scorer) -> dict[str, Any]:
    by_epoch = [scorer.scores(outputs) for outputs in line["outputs"]]
    best = max(range(len(by_epoch)), key=lambda epoch: by_epoch[epoch][scorer.metric])
    rest = {key: value for key, value in line.items() if key != "outputs"}
    return {
        **rest,
        "metric": scorer.metric,
        "score": by_epoch[best][scorer.metric],
        "best_epoch": best + 1,
        "by_epoch": [round(each[scorer.metric], 3) for each in by_epoch],
        "scores": by_epoch[best],
    }


def _print(lines: Sequence[dict[str, Any]]) -> None:
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    models = list(dict.fromkeys(line["model"] for line in lines))
    rows = [["model", *tasks]]
    for model in models:
        cells = []
        for task in tasks:
            values = [x["score"] for x in lines if (x["model"], x["task"]) == (model, task)]
            spread = f" ±{np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{spread} ({len(values)})" if values else "-")
        rows.append([model, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    raise SystemExit(main())
