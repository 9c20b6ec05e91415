"""One fine-tuning command: tasks, settings of a grid, trials; what is finished is not done again.

Layout of the output folder:

    results.json                    everything below, summed up
    TASK/task.json                  the task's settings and what it was started from
    TASK/[SETTING/]trial-SEED/      result.json, predictions, tables of errors, metrics.jsonl
    TASK/model/                     the best trial's model
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from electra_zh import files, locks
from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import locate, registry, results, splits, store
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.pretrained import Pretrained, load_pretrained
from electra_zh.finetuning.splits import TaskData
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.finetuning.trials import Trials
from electra_zh.training.loop import Interrupt


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
      model: folder of a pretraining run or of a fine-tuned model.
      tasks: names of tasks and groups, or paths of YAML files.
      data: the folder below which the data sets are.
      output: the folder to write.
      overrides: `key=value`, and `task.key=value` for one task.
      grid: key to its values; every combination is trained.
      trials: seeds of each setting.
      joint: train all tasks in one model.
      from_scratch: start from random weights.
      checkpoint: step of the run's checkpoint to start from; None: the newest.
      skip_bad: leave bad examples out and count them.
    """

    model: str
    tasks: Sequence[str]
    data: str
    output: str
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    grid: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    trials: int = 1
    joint: bool = False
    from_scratch: bool = False
    checkpoint: int | None = None
    skip_bad: bool = False


@dataclasses.dataclass(frozen=True)
class Unit:
    """What one model is trained for: one task, or several jointly.

    Attributes:
      name: of its folder.
      found: each task with its files.
    """

    name: str
    found: tuple[tuple[TaskConfig, Found], ...]


def finetune(request: Request) -> bool:
    """Trains what is asked for and is not finished yet; returns False after a signal.

    Every file of every task is read and checked before anything is trained.

    Raises:
      UserError: settings, model or data that do not fit; nothing has been written then.
    """
    if request.trials < 1:
        raise UserError(f"--trials must be at least 1; received {request.trials}")
    settings = [
        dict(zip(request.grid, values, strict=True))
        for values in itertools.product(*request.grid.values())
    ]
    for setting in settings:
        registry.load(request.tasks, {**request.overrides, **setting})
    start = load_pretrained(
        request.model, checkpoint=request.checkpoint, from_scratch=request.from_scratch
    )
    units = plan(request)
    results.check_folder(request.output)
    for unit in units:
        _check_started(request, unit, start)
        _load(unit, start, skip_bad=request.skip_bad)
    with locks.locked(request.output), Interrupt() as interrupt:
        for unit in units:
            _Runner(request, unit, start, settings, interrupt).run()
            if interrupt.signal_name is not None:
                logging.info(
                    "%s: saved. The same command goes on from there.", interrupt.signal_name
                )
                return False
    return True


def plan(request: Request) -> list[Unit]:
    """Returns the units of a request; tasks of a group without files are left out with a warning.

    Raises:
      UserError: a task that was asked for by its own name has no files, or none has.
    """
    found: list[tuple[TaskConfig, Found]] = []
    missing: list[str] = []
    folders, own = locate.folders_below(request.data), registry.own_names(request.tasks)
    for task in registry.load(request.tasks, request.overrides):
        place = locate.find(task, folders)
        lack = locate.lack(task, place, request.data)
        if place is not None and not lack:
            found.append((task, place))
            continue
        if task.name in own:
            raise UserError(f"task {task.name}: {lack}")
        missing.append(f"{task.name} ({lack})")
    if not found:
        raise UserError(f"no data of any task: {'; '.join(missing)}")
    for each in missing:
        logging.warning("Left out: %s", each)
    if not request.joint:
        return [Unit(task.name, ((task, place),)) for task, place in found]
    _check_joint(request, [task.name for task, _ in found])
    return [Unit("+".join(task.name for task, _ in found), tuple(found))]


def _check_joint(request: Request, names: Sequence[str]) -> None:
    """Refuses settings of the training for any but the first task: there is one training."""
    for key in (*request.overrides, *request.grid):
        task, _, setting = key.rpartition(".")
        if task in names[1:] and setting in registry.JOINT_KEYS:
            raise UsageError(
                f'"{key}": tasks trained jointly share their training; write {setting}= for all '
                f"(unset ones are those of {names[0]}, the first task)"
            )


def _load(unit: Unit, start: Pretrained, *, skip_bad: bool) -> dict[str, TaskData]:
    limit = start.model.max_position_embeddings
    return {
        task.name: splits.load(task, place, max_position_embeddings=limit, skip_bad=skip_bad)
        for task, place in unit.found
    }


def _identity(request: Request, unit: Unit, start: Pretrained) -> dict[str, Any]:
    return {
        "start": {**start.identity(), "from_scratch": request.from_scratch},
        "tasks": {task.name: task.to_dict() for task, _ in unit.found},
        "files": {
            task.name: {split: list(paths) for split, paths in place.paths.items()}
            for task, place in unit.found
        },
        "skip_bad": request.skip_bad,
    }


def _check_started(request: Request, unit: Unit, start: Pretrained) -> None:
    """Refuses to mix trials of other settings into a task's folder."""
    path = files.join(request.output, unit.name, "task.json")
    if not files.exists(path):
        return
    old = _flat(files.read_json(path))
    new = _flat(json.loads(json.dumps(_identity(request, unit, start))))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if changed:
        shown = "; ".join(f"{key} {old.get(key)!r} (now {new.get(key)!r})" for key in changed[:3])
        raise UserError(
            f"{files.join(request.output, unit.name)} was started with other settings: {shown}. "
            "Use the same to go on, or choose another --output"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: leaf
        for name, item in value.items()
        for key, leaf in _flat(item, f"{prefix}.{name}" if prefix else str(name)).items()
    }


class _Runner:
    """Runs the settings and trials of one unit."""

    def __init__(
        self,
        request: Request,
        unit: Unit,
        start: Pretrained,
        settings: Sequence[Mapping[str, str]],
        interrupt: Interrupt,
    ) -> None:
        self._request, self._unit, self._start = request, unit, start
        self._settings, self._interrupt = settings, interrupt
        self._folder = files.join(request.output, unit.name)

    def run(self) -> None:
        """Runs what is not finished, and sums up."""
        request = self._request
        left = [
            (setting, seed)
            for setting in self._settings
            for seed in self._seeds(setting)
            if not files.exists(files.join(self._trial_folder(setting, seed), "result.json"))
        ]
        if not left:
            logging.info("%s is finished.", self._unit.name)
        else:
            files.make_dirs(self._folder)
            identity = _identity(request, self._unit, self._start)
            files.write_json(files.join(self._folder, "task.json"), identity)
            self._train(left)
        results.summarise(request.output, self._start)

    def _tasks(self, setting: Mapping[str, str]) -> dict[str, TaskConfig]:
        loaded = registry.load(self._request.tasks, {**self._request.overrides, **setting})
        names = {task.name for task, _ in self._unit.found}
        return {task.name: task for task in loaded if task.name in names}

    def _seeds(self, setting: Mapping[str, str]) -> range:
        first = next(iter(self._tasks(setting).values())).training.seed
        return range(first, first + self._request.trials)

    def _trial_folder(self, setting: Mapping[str, str], seed: int) -> str:
        name = ",".join(f"{key}={value}" for key, value in setting.items())
        parts = [part for part in (name.replace("/", "_"), f"trial-{seed}") if part]
        return files.join(self._folder, *parts)

    def _train(self, left: Sequence[tuple[Mapping[str, str], int]]) -> None:
        for setting, group in itertools.groupby(left, key=lambda pair: pair[0]):
            unit = dataclasses.replace(
                self._unit,
                found=tuple(
                    (self._tasks(setting)[task.name], place) for task, place in self._unit.found
                ),
            )
            data = _load(unit, self._start, skip_bad=self._request.skip_bad)
            trials = Trials(self._start, self._unit.name, data)
            for _, seed in group:
                folder = self._trial_folder(setting, seed)
                files.make_dirs(folder)
                result = trials.run(seed, folder, self._interrupt, setting=setting)
                if result is None:
                    return
                if self._is_best({**result, "folder": folder}):
                    kinds = {name: each.kind for name, each in data.items()}
                    model = files.join(self._folder, "model")
                    store.save(model, trials.start, kinds, trials.trainer.model)
                files.write_json(files.join(folder, "result.json"), result)
                if files.exists(files.join(folder, "state")):
                    files.remove_tree(files.join(folder, "state"))

    def _is_best(self, result: Mapping[str, Any]) -> bool:
        finished = results.read_trials(self._folder)
        return bool(results.best_trial([*finished, result])["folder"] == result["folder"])
