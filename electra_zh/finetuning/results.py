"""Results on disk: predictions, confusion tables, results.json."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from electra_zh import __version__, files, locks
from electra_zh.errors import UserError
from electra_zh.finetuning.tasks import Split
from electra_zh.models.config import size_name

if TYPE_CHECKING:
    from electra_zh.finetuning.dataset import TaskData
    from electra_zh.finetuning.pretrained import Pretrained

RESULTS = "results.json"
# Types of the values of results.json, of its tasks, their splits and their trials.
_NUMBER, _SPLITS = int | float, {"dev": dict | None, "test": dict | None}
_OF_RESULTS = {"tasks": dict, "notes": list, "size": str | None}
_OF_TASK = {
    **{"task": str, "metric": str, "setting": dict, "published": dict, "submission": dict | None},
    **{"best_trial": str, "test_files": list, "warnings": list, "trials": list, **_SPLITS},
}
_OF_SPREAD = {"max": _NUMBER, "mean": _NUMBER, "std": _NUMBER, "trials": int}
_OF_SUBMISSION = {"file": str, "form": str}
_OF_TRIAL = {"folder": str, "setting": dict, "seed": int, "best_epoch": int, **_SPLITS}
# The same of the result.json of a trial.
_OF_RESULT = {
    **{"setting": dict, "seed": int, "best_epoch": int, "dev_score": _NUMBER, "tasks": dict},
    "examples_per_second": _NUMBER,
}


def check_folder(output: str) -> None:
    """Refuses a folder that contains anything but fine-tuning results.

    Raises:
      UserError: the folder is not empty and contains no results of this tool.
    """
    if not files.exists(output):
        return
    if not files.is_dir(output):
        raise UserError(f"--output {output} is a file; give a folder")
    names = set(files.list_dir(output)) - {locks.LOCK}
    ours = RESULTS in names or any(
        files.exists(files.join(output, name, "task.json")) for name in names
    )
    # A process may have been stopped before it wrote the first task.json.
    others = [name for name in names if not _is_unfinished(files.join(output, name))]
    if others and not ours:
        raise UserError(f"{output} exists and is not a fine-tuning folder. Choose another --output")


def _is_unfinished(path: str) -> bool:
    """Returns whether a path is a file or folder of a process that had not finished any file."""
    if files.is_dir(path):
        return all(map(files.is_partial, files.list_dir(path)))
    return files.is_partial(path)


def read_summary(output: str, *, needed: Sequence[str]) -> dict[str, Any]:
    """Reads the results.json of a folder, whose tasks have the needed values.

    Raises:
      UserError: it is missing or damaged.
    """
    path = files.join(output, RESULTS)
    if not files.exists(path):
        raise UserError(f"{output} holds no {RESULTS}. Name an --output of finetune")
    found = files.read_json_object(path)
    with files.explained_damage(path, "Run finetune again"):
        _check(found, _OF_RESULTS, ("tasks",), "")
        for name, task in found["tasks"].items():
            _check(task, _OF_TASK, needed, name)
            parts: list[tuple[Any, Mapping[str, Any]]] = [
                *((task.get(split), _OF_SPREAD) for split in _SPLITS),
                (task.get("submission"), _OF_SUBMISSION),
            ]
            for trial in task.get("trials", ()):
                scores = {task["metric"]: _NUMBER}
                parts += [(trial, _OF_TRIAL), *((trial.get(split), scores) for split in _SPLITS)]
            for scores in task.get("published", {}).values():
                parts.append((scores, dict.fromkeys(scores, _NUMBER)))
            for values, types in parts:
                if values:
                    _check(values, types, types, name)
    return found


def _check(values: Any, types: Mapping[str, Any], needed: Iterable[str], where: str) -> None:
    """Raises an error for values that are missing, or not of their types."""
    for name in needed:
        values[name]
    for name in types.keys() & values.keys():
        if not isinstance(values[name], types[name]):
            raise ValueError(f"{where}: {name} is {values[name]!r}".removeprefix(": "))


def write_predictions(
    folder: str, split: Split, data: TaskData, predictions: Sequence[Any]
) -> None:
    """Writes `predictions.SPLIT.jsonl`, in the order of the file, and the kind's table."""
    examples = data.splits[split]
    kind = data.kind
    lines = (
        json.dumps(kind.to_json(example, prediction), ensure_ascii=False) + "\n"
        for example, prediction in zip(examples, predictions, strict=True)
    )
    files.write_text(files.join(folder, f"predictions.{split}.jsonl"), "".join(lines))
    if split == "test" and not data.test_labelled:
        return
    table = kind.table(examples, predictions)
    if table is not None:
        text = "".join("\t".join(row) + "\n" for row in (table.header, *table.rows))
        files.write_text(files.join(folder, f"{table.name}.{split}.tsv"), text)


def _trial_folders(folder: str) -> Iterator[str]:
    for name in files.list_dir(folder):
        path = files.join(folder, name)
        if name.startswith("trial-"):
            if files.exists(files.join(path, "result.json")):
                yield path
        elif "=" in name:
            yield from _trial_folders(path)


def read_trials(folder: str, metrics: Mapping[str, str] = {}) -> list[dict[str, Any]]:
    """Returns the results of a model's finished trials, each with its `folder`.

    `metrics` are those that the trials must have, by task. Of equal settings and random seeds, as
    where the keys of a grid were in another order, the first trial counts.

    Raises:
      UserError: one is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _trial_folders(folder) if files.exists(folder) else ():
        file = files.join(path, "result.json")
        result = files.read_json_object(file)
        with files.explained_damage(file, "Remove it to train the trial again"):
            _check(result, _OF_RESULT, _OF_RESULT, "")
            for task in {**result["tasks"], **metrics}:
                splits = result["tasks"][task]
                _check(splits, _SPLITS, ["dev"] if task in metrics else [], task)
                for scores in filter(None, map(splits.get, _SPLITS)):
                    needed = filter(None, [metrics.get(task)])
                    _check(scores, dict.fromkeys(scores, _NUMBER), needed, task)
        key = json.dumps([result["setting"], result["seed"]], sort_keys=True)
        found.setdefault(key, {**result, "folder": path})
    return list(found.values())


def best_trial(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the trial whose model is kept: the highest dev score, the first folder of equal ones.

    Args:
      trials: results of trials, at least one, with `dev_score` and `folder`.
    """
    ordered = sorted(trials, key=lambda trial: str(trial["folder"]))
    return max(ordered, key=lambda trial: float(trial["dev_score"]))


def summarise(output: str, pretrained: Pretrained) -> dict[str, Any]:
    """Writes results.json from all finished trials below `output` and returns it."""
    found: dict[str, Any] = {}
    for name in files.list_dir(output):
        path = files.join(output, name, "task.json")
        if not files.exists(path):
            continue
        unit = files.read_json_object(path)
        with files.explained_damage(path, "Choose another --output"):
            metrics = {task: settings["metric"] for task, settings in unit["tasks"].items()}
        trials = read_trials(files.join(output, name), metrics)
        with files.explained_damage(path, "Choose another --output"):
            for task, settings in unit["tasks"].items():
                if trials:
                    key = task if len(unit["tasks"]) == 1 else f"{task} ({name})"
                    summary = _summary(task, settings, unit, trials, output)
                    found[key] = {"task": task, **summary}
    result = {
        "version": __version__,
        "model": pretrained.path,
        "size": size_name(pretrained.model),
        "from_scratch": not pretrained.checkpoint,
        "notes": list(pretrained.notes),
        "tasks": found,
    }
    files.write_json(files.join(output, RESULTS), result)
    return result


def _summary(
    task: str,
    settings: Mapping[str, Any],
    unit: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    output: str,
) -> dict[str, Any]:
    metric = settings["metric"]
    joint = len(unit["tasks"]) > 1

    def folder_of(trial: Mapping[str, Any]) -> str:
        path = str(trial["folder"])[len(output) :].lstrip("/")
        return f"{path}/{task}" if joint else path

    listed = [
        {
            "folder": folder_of(trial),
            "setting": trial["setting"],
            "seed": trial["seed"],
            "best_epoch": trial["best_epoch"],
            "examples_per_second": trial["examples_per_second"],
            **{split: trial["tasks"][task].get(split) for split in ("dev", "test")},
        }
        for trial in trials
    ]
    best = best_trial(trials)
    alike = [trial for trial in listed if trial["setting"] == best["setting"]]
    return {
        "title": settings["title"],
        "kind": settings["kind"],
        "metric": metric,
        "setting": best["setting"],
        "dev": _spread(alike, "dev", metric),
        "test": _spread(alike, "test", metric),
        "best_trial": folder_of(best),
        "warnings": best["tasks"][task].get("warnings", []),
        "published": settings["published"],
        "submission": settings["submission"],
        "test_files": unit["files"][task].get("test", []),
        "trials": listed,
    }


def _spread(
    trials: Sequence[Mapping[str, Any]], split: str, metric: str
) -> dict[str, float] | None:
    values = [trial[split][metric] for trial in trials if trial[split]]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "max": round(max(values), 3),
        "mean": round(statistics.fmean(values), 3),
        "std": round(deviation, 3),
        "trials": len(values),
    }
