"""Tables of fine-tuning scores, from the results.json of one folder or of several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning import registry
from electra_zh.finetuning.results import RESULTS, read_summary
from electra_zh.report.tables import ReportTable, to_text

_NEEDED = ("metric", "setting", "published", "trials", "dev", "test")
# The group whose mean is shown, and the name of the mean.
_GROUP, _MEAN = "clue-leaderboard", "CLUE mean"
_DEPTH = 3


class Results(NamedTuple):
    """The results of one call of `finetune`."""

    folder: str  # its output
    name: str  # the folder's name, in tables of several
    summary: Mapping[str, Any]  # contents of results.json

    @property
    def title(self) -> str:
        """The folder, the model and its size."""
        model = self.summary.get("model") or "random weights"
        size = self.summary.get("size")
        start = "random weights of " if self.summary.get("from_scratch") else ""
        return f"{self.name}: {start}{model}{f', {size}' if size else ''}"


def read_results(folder: str) -> Results:
    """Reads the results.json of a folder of `finetune`.

    Raises:
      UserError: it is missing or damaged.
    """
    summary = read_summary(folder, needed=_NEEDED)
    name = os.path.basename(os.path.abspath(folder)) if not files.is_remote(folder) else folder
    return Results(folder, name, summary)


def holds_results(path: str) -> bool:
    """Returns whether a path is a folder of results, or contains some."""
    return files.is_dir(path) and any(_folders(path, _DEPTH))


def find_results(paths: Iterable[str]) -> list[Results]:
    """Reads the results of folders of `finetune`, and of folders that contain such folders.

    Raises:
      UserError: a path has none.
    """
    found = []
    for path in paths:
        folders = list(_folders(path, _DEPTH)) if files.is_dir(path) else []
        if not folders:
            what = f"holds no {RESULTS}" if files.exists(path) else "does not exist"
            raise UserError(f"{path} {what}. Name an --output of finetune")
        found += [read_results(folder) for folder in folders]
    return _with_names(found)


def _folders(path: str, depth: int) -> Iterator[str]:
    names = files.list_dir(path)
    if RESULTS in names:
        yield path
    elif depth:
        below = (files.join(path, name) for name in names if not name.startswith("."))
        for folder in filter(files.is_dir, below):
            yield from _folders(folder, depth - 1)


def _with_names(results: Sequence[Results]) -> list[Results]:
    """Returns the results with names that differ: longer paths for equal last names."""
    if not results:
        return []
    names = [each.name for each in results]
    short = files.short_names([files.join(each.folder, RESULTS) for each in results])
    return [
        each._replace(name=os.path.dirname(short(files.join(each.folder, RESULTS))) or each.folder)
        if names.count(each.name) > 1
        else each
        for each in results
    ]


def report(output: str) -> list[str]:
    """Returns the lines for the terminal: trials, the table, warnings, the place of the files."""
    if not files.exists(files.join(output, RESULTS)):
        return []
    found = read_results(output)
    if not found.summary["tasks"]:
        return []
    return [
        *trial_lines(found.summary),
        *to_text(score_table(found)).splitlines(),
        *warnings(found),
        f"Everything is in {output}/, summary in {RESULTS}",
    ]


def warnings(results: Results) -> list[str]:
    """Returns the warnings on tasks, and the notes on the model."""
    summary = results.summary
    tasks = summary["tasks"].items()
    return [f"{name}: {line}" for name, each in tasks for line in each.get("warnings", [])] + [
        f"note: {note}" for note in summary.get("notes", ())
    ]


def score_table(results: Results) -> ReportTable:
    """Returns the table: task, metric, setting of a grid, dev, test, published scores of the size.

    Columns of settings and of published scores are omitted where there are none. The setting is
    that of the best trial. Scores of its trials are shown as max (mean ± standard deviation), as
    in the published tables of ten runs. The last row is the mean over CLUE's leaderboard.
    """
    size = results.summary.get("size")
    rows: list[tuple[str, ...]] = [
        (
            name,
            each["metric"],
            _words(each["setting"]) or "-",
            _show(each["dev"]),
            _show(each["test"]),
            ", ".join(f"{who} {score:g}" for who, score in published(results, each).items()) or "-",
        )
        for name, each in results.summary["tasks"].items()
    ]
    group = list(_of_group(results).values())
    if len(group) > 1:
        means = (_show(_mean([each[split] for each in group])) for split in ("dev", "test"))
        rows.append((_mean_name(len(group)), "", "-", *means, "-"))
    header: tuple[str, ...] = ("task", "metric", "setting", "dev", "test", f"published ({size})")
    for column in (-1, 2):
        if all(row[column] == "-" for row in rows):
            header, *rows = ((*row[:column], *row[column:][1:]) for row in (header, *rows))
    return ReportTable(f"scores_{file_name(results.name)}", results.title, header, tuple(rows))


def _words(setting: Mapping[str, Any]) -> str:
    """Returns the values of a grid's setting."""
    return " ".join(f"{key}={value}" for key, value in setting.items())


def file_name(name: str) -> str:
    """Returns a name for a file, without separators of folders."""
    return name.strip("/.").replace("/", "_") or "results"


def published(results: Results, task: Mapping[str, Any]) -> dict[str, float]:
    """Returns the published scores of a task for the model's size, by model or paper."""
    return dict(task["published"].get(results.summary.get("size"), {}))


def _group() -> dict[str, str]:
    """Returns the leaderboard's tasks with their metrics."""
    return {task.name: task.metric for task in registry.load([_GROUP])}


def _mean_name(count: int) -> str:
    """Returns the name of the mean, which says how many of the leaderboard's tasks are in it."""
    total = len(_group())
    return _MEAN if count == total else f"{_MEAN} ({count} of {total} tasks)"


def _of_group(results: Results) -> dict[str, Mapping[str, Any]]:
    """Returns the leaderboard's tasks of results; one that was trained twice counts once."""
    found = {(each["task"], each["metric"]): each for each in results.summary["tasks"].values()}
    return {key[0]: found[key] for key in _group().items() if key in found and found[key]["dev"]}


def _mean(spreads: Sequence[Mapping[str, float] | None]) -> dict[str, float] | None:
    """Returns the means over tasks of the trials' maximum and mean; None if a score is missing."""
    known = [each for each in spreads if each is not None]
    if len(known) < len(spreads):
        return None
    means = {name: fmean([each[name] for each in known]) for name in ("max", "mean")}
    return {**means, "trials": max(each["trials"] for each in known)}


def comparison(found: Sequence[Results], *, split: str = "dev") -> ReportTable | None:
    """Returns a table with a row per model and a column per task and metric; None without any.

    The rows of published models follow those of the results. A mean is over the tasks of CLUE's
    leaderboard that every row of the results has.
    """
    columns: dict[str, None] = {}
    rows: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, float]] = {}
    for results in found:
        row = rows.setdefault(results.name, {})
        for name, each in results.summary["tasks"].items():
            if each[split]:
                column = f"{name} ({each['metric']})"
                columns[column] = None
                row[column] = each[split]["mean" if each[split]["trials"] > 1 else "max"]
                for who, score in published(results, each).items():
                    sources.setdefault(f"published: {who}", {})[column] = score
    if not columns:
        return None
    rows |= sources
    group = [f"{name} ({metric})" for name, metric in _group().items()]
    common = [each for each in group if all(each in rows[results.name] for results in found)]
    if len(common) > 1:
        mean = _mean_name(len(common))
        columns[mean] = None
        for row in rows.values():
            if all(each in row for each in common):
                row[mean] = fmean([row[each] for each in common])
    cells = tuple(
        (name, *(f"{row[key]:.2f}" if key in row else "-" for key in columns))
        for name, row in rows.items()
    )
    shown = [each[split] for results in found for each in results.summary["tasks"].values()]
    several = any(scores["trials"] > 1 for scores in shown if scores)
    notes = ("Several random seeds: their mean.",) if several else ()
    return ReportTable(
        f"comparison_{split}", f"Scores on {split}", ("model", *columns), cells, notes
    )


def trial_lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns one line per trial of tasks with several trials."""
    lines = []
    for name, each in summary["tasks"].items():
        if len(each["trials"]) < 2:
            continue
        for trial in each["trials"]:
            setting = _words(trial["setting"])
            scores = ", ".join(
                f"{split} {trial[split][each['metric']]:.2f}"
                for split in ("dev", "test")
                if trial[split]
            )
            lines.append(
                f"{name}  {setting + '  ' if setting else ''}seed {trial['seed']}  "
                f"epoch {trial['best_epoch']}  {scores}"
            )
    return lines


def _show(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return "-"
    if spread["trials"] == 1:
        return f"{spread['max']:.2f}"
    deviation = f" ± {spread['std']:.2f}" if "std" in spread else ""
    return f"{spread['max']:.2f} ({spread['mean']:.2f}{deviation})"
