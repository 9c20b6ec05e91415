"""Commands to be tortured: their words, and the outcome that no kill may change."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_zh.training import checkpoints
from support.runner import PRETRAIN, done, electra, with_changes
from support.task_files import copy_tasks

Outcome = dict[str, str]
# What differs between two runs with the same numbers: times, speeds, folders, and the event files
# of TensorBoard, which have times, too.
_TIMES = {"time", "seconds", "steps_per_second", "tokens_per_second", "examples_per_second"}
_TIMES |= {"minutes", "train_seconds", "eval_seconds", "created", "date"}
_QUICK = [
    *("max_seq_length=32", "bucket_by_length=false", "num_train_epochs=2", "train_batch_size=8"),
    *("eval_batch_size=8", "--trials", "2"),
]


class Subject(NamedTuple):
    """A series of commands, each started again until it is done."""

    name: str
    commands: Sequence[Sequence[str]]  # run in one folder; the job's folder is `../job`
    outcome: Callable[[Path], Outcome]
    rounds: int  # of the short mode


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def files_of(folder: Path) -> Outcome:
    """Returns the digests of all files but locks and event files, by path."""
    return {
        str(path.relative_to(folder)): _digest(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "tensorboard" not in path.parts
    }


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(v) for name, v in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [_without_times(each) for each in value]
    return value


def _lines(path: Path) -> str:
    lines = [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    return json.dumps(lines, sort_keys=True)


def run_outcome(run: Path) -> Outcome:
    """Returns the last checkpoint's tensors, the steps that have one, and the metrics."""
    newest = checkpoints.read(checkpoints.find(str(run / "checkpoints")))
    tensors = {**newest.model, **newest.optimizer}
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    found = {name: _digest(value.tobytes()) for name, value in tensors.items()}
    return {**found, "last": kept[-1], "metrics": _lines(run / "metrics.jsonl")}


def tuned_outcome(folder: Path) -> Outcome:
    """Returns predictions and weights by their digests, results and metrics without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name.startswith("predictions") or path.name.endswith(".safetensors"):
            found[name] = _digest(path.read_bytes())
        elif path.name in ("result.json", "results.json"):
            found[name] = json.dumps(_without_times(json.loads(path.read_text())), sort_keys=True)
        elif path.name == "metrics.jsonl":
            found[name] = _lines(path)
    return found


def make_corpus(folder: Path) -> None:
    """Makes the corpus and its vocabulary, in a new folder."""
    folder.mkdir(parents=True)
    sample = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    (folder / "corpus.txt").write_bytes(sample.read_bytes())
    words = ["build-vocab", "corpus.txt", "--output", "vocab.txt", "--size", "2000"]
    done(electra(*words, cwd=folder))


def make_data(folder: Path) -> None:
    """Makes the pretraining data and the task files."""
    words = ["--vocab", "vocab.txt", "--output", "data", "--max-seq-length", "64"]
    done(electra("build-data", "corpus.txt", *words, "--holdout-every", "10", cwd=folder))
    copy_tasks(folder / "tasks", "tnews", "afqmc")


def train_run(folder: Path) -> None:
    """Trains the run that convert and finetune start from."""
    changes = ["--output", "run", "num_train_steps=4", "save_checkpoints_steps=4"]
    words = with_changes(PRETRAIN, *changes)
    done(electra(*words, cwd=folder))


_BUILD = [
    *("build-data", "../job/corpus.txt", "--vocab", "../job/vocab.txt", "--output", "out"),
    *("--max-seq-length", "64", "--holdout-every", "10", "--num-shards", "3"),
]
_DATA = ["--data", "../job/data", "--eval-data", "../job/data/heldout"]
_FREQUENT = [
    *("save_checkpoints_steps=4", "log_steps=2", "num_train_steps=16", "iterations_per_loop=1"),
]
_RUN = with_changes(PRETRAIN, *_DATA, *_FREQUENT)
_TUNE = [
    *("finetune", "--model", "../job/run", "--task", "tnews,afqmc", "--data", "../job/tasks"),
    *("--output", "out", *_QUICK),
]


def _out(folder: Path) -> Outcome:
    return files_of(folder / "out")


def _run_out(folder: Path) -> Outcome:
    return run_outcome(folder / "out")


def _tuned_out(folder: Path) -> Outcome:
    return tuned_outcome(folder / "out")


def _program_out(folder: Path) -> Outcome:
    """Returns the exported program's outcome; its bytes hold paths of the process."""
    made = checkpoints.read(checkpoints.find(str(folder / "program" / "checkpoints")))
    found = {name: _digest(value.tobytes()) for name, value in made.model.items()}
    described = json.loads((folder / "program" / "program" / "program.json").read_text())
    del described["exported"], described["sha256"]
    return {**found, "program": json.dumps(described), **_run_out(folder)}


def subjects() -> list[Subject]:
    """Returns all subjects, the cheapest first."""
    clean = ["clean", "../job/corpus.txt", "--output", "out", "--near-duplicates", "0.8"]
    parts = [[*_BUILD, "--part", each] for each in ("1/2", "2/2", "1/2", "2/2")]
    settings = [word for word in _RUN if "=" in word]
    export = ["export-step", "--config", "nano", *_DATA[:2], *settings]
    train = ["pretrain", "--program", "program", "--data", "../job/data", "--output", "out"]
    return [
        Subject("build-data", [[*_BUILD, "--processes", "1"]], _out, 45),
        Subject("build-data, 2 processes", [[*_BUILD, "--processes", "2"]], _out, 6),
        Subject("build-data, parts", [*parts, _BUILD], _out, 3),
        Subject("clean", [[*clean, "--processes", "1"]], _out, 12),
        Subject(
            "convert",
            [["convert", "../job/run", "--to", "huggingface", "--output", "out"]],
            _out,
            3,
        ),
        Subject("pretrain", [[*_RUN, "--output", "out"]], _run_out, 3),
        # Its checkpoints are written while it computes.
        Subject(
            "pretrain, devices", [[*_RUN, "--output", "out", "--device", "pjrt:cpu"]], _run_out, 3
        ),
        Subject("finetune", [_TUNE], _tuned_out, 2),
        Subject(
            "export-step, pretrain", [[*export, "--output", "program"], train], _program_out, 1
        ),
        Subject("build-data, dask", [[*_BUILD, "--runner", "dask", "--processes", "2"]], _out, 3),
    ]
