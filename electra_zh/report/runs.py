"""Pretraining runs as their folders record them: settings, lines of metrics, state, size."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from electra_zh import files, locks
from electra_zh.convert import model_folder
from electra_zh.errors import UserError, did_you_mean
from electra_zh.models.config import size_name
from electra_zh.pretraining import folder as run_folders
from electra_zh.pretraining.folder import Run
from electra_zh.report.tables import ReportTable
from electra_zh.training import checkpoints
from electra_zh.training.logs import parse_line

METRICS = "metrics.jsonl"
_DEPTH = 4
_UNITS = ("B", "kB", "MB", "GB", "TB")


class RunLog(NamedTuple):
    """A pretraining run and its metrics."""

    name: str  # the folder's name, in legends
    run: Run
    lines: Sequence[Mapping[str, Any]]  # of metrics.jsonl
    state: str  # running, finished, interrupted, or not begun

    @property
    def step(self) -> int:
        """Steps done, by the checkpoints and the metrics."""
        newest = 0
        if not checkpoints.is_empty(self.run.checkpoints):
            newest = checkpoints.step_of(checkpoints.find(self.run.checkpoints))
        return max([newest, *(int(line["step"]) for line in self.lines[-1:])])

    @property
    def recipe(self) -> str:
        """The recipe, or the size of the model, and the objective."""
        size = size_name(self.run.config.model) or f"width {self.run.config.model.hidden_size}"
        objective = self.run.config.objective
        return " ".join([self.run.recipe or size, *([] if objective == "electra" else [objective])])

    def last(self, name: str, kind: str = "") -> float | None:
        """Returns the last value of a metric, in lines of a kind (`train`, `eval`) or in all."""
        for line in reversed(self.lines):
            if name in line and kind in ("", line["kind"]):
                return float(line[name])
        return None


class Reference(NamedTuple):
    """A curve that comes with the package."""

    name: str
    lines: Sequence[Mapping[str, Any]]


HasLines = RunLog | Reference


def read_references(names: Iterable[str]) -> list[HasLines]:
    """Returns the runs at paths, and the curves of the package by their names.

    Raises:
      UserError: a name is neither.
    """
    paths = list(names)
    shipped = _shipped()
    unknown = [each for each in paths if each not in shipped and not files.exists(each)]
    if unknown:
        raise UserError(
            f"--reference {unknown[0]} is neither a run nor a curve of the package: "
            f"{', '.join(shipped)}.{did_you_mean(unknown[0], shipped)}"
        )
    runs = iter(read_runs(each for each in paths if files.exists(each)))
    return [next(runs) if files.exists(each) else shipped[each] for each in paths]


def _shipped() -> dict[str, Reference]:
    text = importlib.resources.files(__package__).joinpath("references.yaml").read_text("utf-8")
    found: dict[str, Reference] = {}
    for name, curve in yaml.safe_load(text).items():
        lines = [
            {
                **dict(zip(curve[kind], values, strict=True)),
                "kind": kind,
                "tokens": values[0] * curve["tokens_per_step"],
                "seconds": values[0] * curve["seconds_per_step"],
            }
            for kind in ("train", "eval")
            if kind in curve
            for values in zip(*curve[kind].values(), strict=True)
        ]
        found[name] = Reference(curve["title"], lines)
    return found


def read_run(path: str) -> RunLog:
    """Reads a run's folder.

    Raises:
      UserError: it is not a run's, or its files are damaged.
    """
    run = run_folders.load(path)
    name = path if files.is_remote(path) else os.path.basename(os.path.abspath(path))
    log = RunLog(name, run, read_metrics(files.join(path, METRICS)), "")
    return log._replace(state=_state(log))


def read_runs(paths: Iterable[str]) -> list[RunLog]:
    """Reads the folders of runs, which get names that differ."""
    found = [read_run(path) for path in paths]
    names = [each.name for each in found]
    return [
        each._replace(name=each.run.folder.strip("/")) if names.count(each.name) > 1 else each
        for each in found
    ]


def read_metrics(path: str) -> list[dict[str, Any]]:
    """Returns the lines of a metrics.jsonl in the order of their steps.

    A missing file has no lines. A last line that is cut short is one being written, or was cut by
    a killed process; it is skipped.

    Raises:
      UserError: another line is not one of metrics.
    """
    lines = files.read_text(path).split("\n") if files.exists(path) else []
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        values = parse_line(line)
        if values is not None:
            found.append(values)
        elif line and number < len(lines):
            raise UserError(f"{path}:{number} is not a line of metrics. Remove the line")
    return found


def _state(log: RunLog) -> str:
    if locks.is_locked(log.run.folder):
        return "running"
    if log.step >= log.run.last_step:
        return "finished"
    return "interrupted" if log.step else "not begun"


def find_runs(path: str) -> list[str]:
    """Returns the folders of runs at a path and below, sorted.

    Raises:
      UserError: the path is missing.
    """
    if not files.is_dir(path):
        what = "is a file" if files.exists(path) else "does not exist"
        raise UserError(f"{path} {what}. Name a folder that contains runs")
    return list(_below(path, _DEPTH))


def _below(path: str, depth: int) -> Iterator[str]:
    names = files.list_dir(path)
    if "config.json" in names:
        try:
            if model_folder.is_run(path):
                yield path
        except UserError:  # the row of the run will say so
            yield path
    elif depth:
        for name in names:
            below = files.join(path, name)
            if not name.startswith(".") and files.is_dir(below):
                yield from _below(below, depth - 1)


def folder_bytes(folder: str) -> int:
    """Returns the bytes of all files in a folder."""
    total = 0
    for path in files.walk(folder):
        try:
            total += files.size(path)
        except FileNotFoundError:
            continue  # a checkpoint that a running process has removed
    return total


def show_bytes(count: float) -> str:
    """Returns a number of bytes in its largest unit."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def run_rows(root: str) -> list[dict[str, Any]]:
    """Returns the runs below a folder as plain values; a damaged one has an `error`."""
    rows: list[dict[str, Any]] = []
    for path in find_runs(root):
        size = folder_bytes(path)
        try:
            log = read_run(path)
        except UserError as error:
            rows.append({"run": path, "state": "damaged", "bytes": size, "error": str(error)})
            continue
        rows.append(
            {
                "run": path,
                "recipe": log.recipe,
                "step": log.step,
                "steps": log.run.last_step,
                "loss": log.last("loss", "train"),
                "state": log.state,
                "bytes": size,
                "data": list(log.run.train_data),
            }
        )
    return rows


def run_table(rows: Sequence[Mapping[str, Any]]) -> ReportTable:
    """Returns the table of `run_rows`; data in the present folder has its path from there."""
    here = f"{os.getcwd()}/"
    cells = tuple(
        (
            each["run"],
            each.get("recipe", "-"),
            f"{each['step']:,} of {each['steps']:,}" if "step" in each else "-",
            "-" if each.get("loss") is None else f"{each['loss']:.3f}",
            each["state"],
            show_bytes(each["bytes"]),
            ", ".join(folder.removeprefix(here) for folder in each.get("data", ())) or "-",
        )
        for each in rows
    )
    header = ("run", "recipe", "steps", "last loss", "state", "size", "data")
    notes = tuple(each["error"] for each in rows if "error" in each)
    return ReportTable("runs", "Pretraining runs", header, cells, notes)
