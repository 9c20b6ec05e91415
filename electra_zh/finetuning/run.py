"""One fine-tuning command: a flat list of trials; finished ones are skipped.

Layout of the output folder:

    results.json                    summary of everything below
    TASK/task.json                  the task's settings and the pretrained model
    TASK/[SETTING/]trial-SEED/      result.json, predictions, tables of errors, metrics.jsonl
    TASK/model/                     the best trial's model
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from electra_zh import files, locks, machine
from electra_zh.errors import UserError, counted, few
from electra_zh.finetuning import dataset, readers, registry, results
from electra_zh.finetuning.dataset import TaskData
from electra_zh.finetuning.pretrained import Pretrained, load_pretrained
from electra_zh.finetuning.request import ModelPlan, Request
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.finetuning.trials import Trials
from electra_zh.interrupts import RESUME, InterruptError, StopRequest
from electra_zh.runtime.device import CPU, Device
from electra_zh.settings import flat


class GridPoint(NamedTuple):
    """One combination of the grid's values, and the settings of all tasks with it."""

    values: Mapping[str, str]
    tasks: Mapping[str, TaskConfig]


class Job(NamedTuple):
    """One trial to run."""

    setting: GridPoint
    seed: int
    folder: str


class Prepared(NamedTuple):
    """A request that is checked and ready to be trained.

    Attributes:
      pretrained: the pretrained model.
      plans: the models to train.
      jobs: name of a model to its trials that are not finished.
      data: name of a model to the data of its tasks, for models with such trials.
    """

    pretrained: Pretrained
    plans: Sequence[ModelPlan]
    jobs: Mapping[str, Sequence[Job]]
    data: dict[str, dict[str, TaskData]]

    def lines(self) -> list[str]:
        """Returns the plan as lines."""
        lines = []
        for each in self.plans:
            number = len(self.jobs[each.name])
            left = f"{counted(number, 'trial')} to run" if number else "finished"
            lines.append(f"{each.name}: {left}")
            for task, found in each.found:
                paths = {split: ", ".join(paths) for split, paths in found.paths.items() if paths}
                lines += [f"  {task.name} {split}: {path}" for split, path in paths.items()]
                data = self.data.get(each.name, {}).get(task.name)
                lines += [f"  {task.name}: {line}" for line in data.lines()] if data else []
        return lines + [f"note: {note}" for note in self.pretrained.notes]


def prepare(request: Request, device: Device = CPU) -> Prepared:
    """Checks the settings, the model and every file of every unfinished task; writes nothing.

    Raises:
      UserError: settings, model or data do not fit.
    """
    pretrained = load_pretrained(
        request.model,
        checkpoint=request.checkpoint,
        from_scratch=request.from_scratch,
        attention_start=request.attention_start,
        hints=request.source_settings(),
    )
    auto = "bfloat16" if device.platform != "cpu" else machine.compute_type("auto")
    models, skipped = request.plan()
    for reason in skipped:
        logging.warning("Skipped: %s", reason)
    plans = [_with_precision(each, request.output, auto) for each in models]
    precisions = {task.name: task.training.precision for each in plans for task, _ in each.found}
    settings = [
        GridPoint(
            values, {t.name: _choose_precision(t, precisions.get(t.name, auto)) for t in tasks}
        )
        for values, tasks in request.settings_of_tasks()
    ]
    results.check_folder(request.output)
    for each in plans:
        _check_started(request, each, pretrained)
    _check_others(request.output, _start(request, pretrained))
    jobs = {each.name: list(_unfinished(request, each, settings)) for each in plans}
    load = functools.partial(
        dataset.load,
        max_position_embeddings=pretrained.model.max_position_embeddings,
        skip_bad=request.skip_bad,
    )
    data = {
        each.name: {task.name: load(task, place) for task, place in each.found}
        for each in plans
        if jobs[each.name]
    }
    for name, tasks in data.items():
        _check_data(files.join(request.output, name), tasks)
    return Prepared(pretrained, plans, jobs, data)


def finetune(request: Request, device: Device = CPU) -> None:
    """Trains all trials that are not finished.

    Raises:
      UserError: as in `prepare`; nothing has been written then.
      InterruptError: a signal came; finished trials and a checkpoint of the others are saved.
    """
    pretrained, plans, jobs, data = prepare(request, device)
    logging.info("Device: %s", device)
    total = sum(map(len, jobs.values()))
    numbers = (f"trial {number} of {total}" for number in range(1, total + 1))
    with locks.locked(request.output), StopRequest() as stop:
        for each in plans:
            if not jobs[each.name]:
                logging.info("%s is finished.", each.name)
            else:
                folder = files.join(request.output, each.name)
                files.make_dirs(folder)
                files.remove_unfinished(folder)
                digests = {task: found.digest for task, found in data[each.name].items()}
                identity = {**_identity(request, each, pretrained), "data": digests}
                files.write_json(files.join(folder, "task.json"), identity)
                trials = functools.partial(
                    Trials, pretrained, each.name, track=request.track, device=device
                )
                _train(jobs[each.name], folder, trials, data.pop(each.name), stop, numbers)
            results.summarise(request.output, pretrained)
            if stop.is_set:
                raise InterruptError(f"Finished trials and a checkpoint are saved; {RESUME}")


def _with_precision(each: ModelPlan, output: str, auto: str) -> ModelPlan:
    """Returns the plan with its compute type for `auto`: that of its folder's trials, if any.

    Otherwise it is the device's, `auto`.
    """
    path = files.join(output, each.name, "task.json")
    saved = {name: task.training.precision for name, task in _saved_tasks(path).items()}
    found = [(_choose_precision(t, saved.get(t.name, auto)), place) for t, place in each.found]
    return each._replace(found=tuple(found))


def _choose_precision(task: TaskConfig, known: str) -> TaskConfig:
    """Returns the task with `known` for the precision `auto`."""
    if task.training.precision != "auto":
        return task
    training = dataclasses.replace(task.training, precision=machine.compute_type(known))
    return dataclasses.replace(task, training=training)


def _unfinished(request: Request, each: ModelPlan, settings: Sequence[GridPoint]) -> Iterator[Job]:
    """Yields the trials without a result, those of one setting together.

    Settings that differ for other tasks alone are one setting.
    """
    names, unit = [task.name for task, _ in each.found], files.join(request.output, each.name)
    points: list[GridPoint] = []
    for values, tasks in settings:
        own = {key: value for key, value in values.items() if registry.is_for(key, names)}
        if own not in [point.values for point in points]:
            points.append(GridPoint(own, tasks))
    for point in points:
        place = _folder(unit, point.values)
        first = point.tasks[names[0]].training.seed
        for seed in range(first, first + request.trials):
            folder = files.join(place, f"trial-{seed}")
            if not files.exists(files.join(folder, "result.json")):
                yield Job(point, seed, folder)


def _folder(unit: str, values: Mapping[str, str]) -> str:
    """Returns the folder of a setting in that of its model; one with its keys in another order."""
    parts = [f"{key}={value}".replace("/", "_") for key, value in values.items()]
    names = files.list_dir(unit) if parts and files.exists(unit) else []
    same = (name for name in names if sorted(name.split(",")) == sorted(parts))
    return files.join(unit, *filter(None, [next(same, ",".join(parts))]))


def _start(request: Request, pretrained: Pretrained) -> dict[str, Any]:
    return {**pretrained.identity(), "from_scratch": request.from_scratch}


def _identity(request: Request, each: ModelPlan, pretrained: Pretrained) -> dict[str, Any]:
    return {
        "start": _start(request, pretrained),
        "tasks": {task.name: task.to_dict() for task, _ in each.found},
        "files": {
            task.name: {split: list(paths) for split, paths in place.paths.items()}
            for task, place in each.found
        },
        "skip_bad": request.skip_bad,
        **({} if request.lower_case is None else {"lower_case": request.lower_case}),
    }


def _check_started(request: Request, each: ModelPlan, pretrained: Pretrained) -> None:
    """Refuses to mix trials of other settings, or damaged ones, into a task's folder."""
    results.read_trials(files.join(request.output, each.name))
    path = files.join(request.output, each.name, "task.json")
    if not files.exists(path):
        return
    old = _comparable(files.read_json_object(path), _saved_tasks(path))
    identity = _identity(request, each, pretrained)
    new = _comparable(identity, {task.name: task for task, _ in each.found})
    if "start.weights" not in old:  # as in folders of former versions
        del new["start.weights"]
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if changed:
        shown = few(f"{key} {old.get(key)!r} (now {new.get(key)!r})" for key in changed)
        raise UserError(
            f"{files.join(request.output, each.name)} was started with other settings: {shown}. "
            "Use the same settings to resume, or choose another --output"
        )


def _check_others(output: str, start: Mapping[str, Any]) -> None:
    """Refuses a folder with tasks of another model: the tables of results name one."""
    for name in files.list_dir(output) if files.exists(output) else ():
        path = files.join(output, name, "task.json")
        found = files.read_json_object(path).get("start") if files.exists(path) else None
        old = flat(found) if isinstance(found, dict) else {}
        ignored = ("path", "checkpoint" if "weights" in old else "")
        if any(
            old.get(key, value) != value for key, value in flat(start).items() if key not in ignored
        ):
            raise UserError(
                f"{output} has results of another model, task {name} of {old.get('path')}. "
                "Choose another --output"
            )


def _check_data(folder: str, data: Mapping[str, TaskData]) -> None:
    """Refuses to mix trials of other data into a task's folder.

    Former versions saved no digest of it.
    """
    path = files.join(folder, "task.json")
    names = files.list_dir(folder) if files.exists(path) else []
    begun = any(name.startswith("trial-") or "=" in name for name in names)
    saved = files.read_json_object(path).get("data") if begun else None
    for task, digest in (saved if isinstance(saved, dict) else {}).items():
        if task in data and data[task].digest != digest:
            raise UserError(
                f"the examples or labels of {task} are not those that {folder} was started with. "
                "Restore the files to resume, or choose another --output"
            )


def _saved_tasks(path: str) -> dict[str, TaskConfig]:
    """Returns the tasks of a task.json by name; none where it is missing."""
    if not files.exists(path):
        return {}
    with files.explained_damage(path, "Choose another --output"):
        tasks = files.read_json(path)["tasks"].items()
        return {name: TaskConfig.from_dict(values, where=path) for name, values in tasks}


def _comparable(identity: Mapping[str, Any], settings: Mapping[str, TaskConfig]) -> dict[str, Any]:
    """Returns the values of an identity, the settings of the tasks in their present spelling.

    Those that no training depends on are omitted: later versions may have other ones.
    """
    tasks = {name: readers.resolve_fields(task).to_dict() for name, task in settings.items()}
    for values in tasks.values():
        for name in ("title", "folders", "submission", "published", "follows"):
            del values[name]
    others = {key: identity[key] for key in identity if key != "data"}
    return flat(json.loads(json.dumps({**others, "tasks": tasks})))


def _train(
    jobs: Sequence[Job],
    folder: str,
    make_trials: Callable[[Mapping[str, TaskData]], Trials],
    data: Mapping[str, TaskData],
    stop: StopRequest,
    numbers: Iterator[str],
) -> None:
    """Runs the trials of a model; returns early after a signal."""
    for setting, same in itertools.groupby(jobs, key=lambda job: job.setting):
        bound = {task: each.with_config(setting.tasks[task]) for task, each in data.items()}
        trials = make_trials(bound)
        for job in same:
            files.make_dirs(job.folder)
            result = trials.run(
                job.seed, job.folder, stop, setting=setting.values, number=next(numbers)
            )
            if result is None:
                return
            finished = [*results.read_trials(folder), {**result, "folder": job.folder}]
            if results.best_trial(finished)["folder"] == job.folder:
                trials.save_model(files.join(folder, "model"))
            files.write_json(files.join(job.folder, "result.json"), result)
            if files.exists(files.join(job.folder, "state")):
                files.remove_tree(files.join(job.folder, "state"))
