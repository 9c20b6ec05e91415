"""Tasks by name: the shipped tasks and groups, your own YAML files, and overrides.

A group's YAML file has one key besides its title: `tasks`, a list of names.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import Resolved, load_recipe, recipe_names
from electra_zh.settings.resolution import find_spellings


def task_names() -> list[str]:
    """Returns the names of the shipped tasks, without groups."""
    return [name for name in recipe_names("finetune") if not _is_group(name)]


def group_names() -> list[str]:
    """Returns the names of the shipped groups."""
    return [name for name in recipe_names("finetune") if _is_group(name)]


def _is_group(name: str) -> bool:
    return set(load_recipe(name, kind="finetune")) <= {"tasks", "title"}


def load(names: Sequence[str], overrides: Mapping[str, str] | None = None) -> list[TaskConfig]:
    """Loads tasks by name, group or YAML path, each once, in the order given.

    Args:
      names: names or paths, as on the command line.
      overrides: any spelling of a setting (`Training`, `SpanConfig`, the task itself) to its value
        for every task; `task.key` for one.

    Raises:
      UsageError: an unknown task or key; the message names the nearest.
      UserError: a value that is not allowed; two tasks with the same name.
    """
    overrides = overrides or {}
    found: dict[str, TaskConfig] = {}
    sources: dict[str, str] = {}
    for name in names:
        for each in _members(name, chain=()):
            task = resolve_task(each, overrides).settings
            found.setdefault(task.name, task)
            if sources.setdefault(task.name, each) != each:
                both = f"{sources[task.name]} and {each}"
                raise UserError(f'{both} are both named "{task.name}": rename one of them')
    _check_prefixes(overrides, found)
    return list(found.values())


def own_names(names: Sequence[str]) -> set[str]:
    """Returns the names of the tasks that are given by name or path, not as part of a group."""
    recipes = {name: _recipe(name) for name in names}
    return {_task_name(name, each) for name, each in recipes.items() if "tasks" not in each}


def _members(name: str, chain: tuple[str, ...]) -> list[str]:
    if name in chain:
        raise UserError(f"group {name} contains itself: {' -> '.join(chain)}")
    values = _recipe(name)
    if "tasks" not in values:
        return [name]
    members = values["tasks"]
    if not isinstance(members, list) or not members:
        raise UserError(f"group {name}: tasks must be a list of names; received {members!r}")
    return [task for member in members for task in _members(str(member), (*chain, name))]


def _recipe(name: str) -> dict[str, Any]:
    if not name.endswith((".yaml", ".yml")):
        known = recipe_names("finetune")
        if name not in known:
            raise UsageError(
                f'Unknown task "{name}".{did_you_mean(name, known)} '
                "`electra-zh tasks` lists them; or give the path of a .yaml file."
            )
    return load_recipe(name, kind="finetune")


def _task_name(name: str, values: Mapping[str, Any]) -> str:
    return str(values.get("name", pathlib.PurePosixPath(name).stem))


def resolve_task(name: str, overrides: Mapping[str, Any]) -> Resolved[TaskConfig]:
    """Resolves one task by name or YAML path, with overrides as `load` takes them.

    With another metric than the task's own it has no published scores.

    Raises:
      UserError: an unknown task or key, or a value that is not allowed.
    """
    values = _recipe(name)
    values["name"] = _task_name(name, values)
    prefix = f"{values['name']}."
    for_all = {key: overrides[key] for key in overrides if _is_for_all(key)}
    own = {
        key.removeprefix(prefix): overrides[key]
        for key in overrides
        if key.startswith(prefix) and not _is_for_all(key)
    }
    if {**for_all, **own}.get("metric", values.get("metric")) != values.get("metric"):
        values["published"] = {}
    return TaskConfig.resolve(values, for_all, own, where=f"task {values['name']}")


def _is_for_all(key: str) -> bool:
    return key in _SPELLINGS or "." not in key


# Every name of a setting.
_SPELLINGS = find_spellings(TaskConfig)
# Settings that tasks trained jointly share.
JOINT_KEYS = tuple(
    name
    for name, key in _SPELLINGS.items()
    if key.startswith("training.") and key != "training.max_train_examples"
)
# Settings that trials which are compared must share.
NOT_IN_GRID = (
    "metric",
    *(name for name, key in _SPELLINGS.items() if key.startswith("files.")),
)


def is_for(key: str, names: Collection[str]) -> bool:
    """Returns whether a setting is for all tasks, or for one of these."""
    return _is_for_all(key) or key.partition(".")[0] in names


def _check_prefixes(overrides: Mapping[str, str], found: Mapping[str, TaskConfig]) -> None:
    for key in overrides:
        if not is_for(key, found):
            task = key.partition(".")[0]
            hint = did_you_mean(task, found)
            raise UsageError(f'"{key}": task "{task}" is not among those given.{hint}')
