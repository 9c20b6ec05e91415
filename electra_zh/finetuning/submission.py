"""The zip for the CLUE leaderboard, from the test predictions of a fine-tuning folder.

The test files are read again with the task's reader, and every prediction must fit the example in
its place. If those of one task do not, no zip is written.
"""

from __future__ import annotations

import datetime
import functools
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.finetuning.submission_writers import Content, make_content
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import load_recipe, recipe_names

_RESULTS = "results.json"
_PREDICTIONS = "predictions.test.jsonl"
_TEAM = re.compile(r"[A-Za-z0-9_-]+")
# The newer test sets in the names of the leaderboard's files; the older ones are 10.
_VERSION = re.compile(r"11(?=_predict\.)")
# The earliest time that a zip can hold: the same input gives the same bytes on every day.
_TIME = (1980, 1, 1, 0, 0, 0)


class SubmissionFile(NamedTuple):
    """One file of the zip.

    Attributes:
      name: the leaderboard's name.
      task: the name in results.json.
      lines: number of predictions.
    """

    name: str
    task: str
    lines: int


@dataclass(frozen=True)
class SubmissionReport:
    """The zip and its contents.

    Attributes:
      path: path of the zip.
      files: in the order of the zip.
      missing: tasks of the leaderboard that are not in the zip.
      unranked: tasks of the folder that the leaderboard does not have.
      warnings: about predictions that are valid but look wrong.
    """

    path: str
    files: tuple[SubmissionFile, ...]
    missing: tuple[str, ...] = ()
    unranked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns the report for the terminal."""
        shown = [f"{each.name}  {each.task}, {each.lines:,} predictions" for each in self.files]
        shown += [f"warning: {warning}" for warning in self.warnings]
        if self.missing:
            shown.append(f"not in the zip: {', '.join(self.missing)}")
        if self.unranked:
            shown.append(f"not for the leaderboard: {', '.join(self.unranked)}")
        return [*shown, f"Written: {self.path}"]


class _Entry(NamedTuple):
    """A task of the folder that the leaderboard has.

    Attributes:
      name: the name in results.json.
      task: the name of the task itself.
      unit: path of the folder that the task was trained in.
      base_file: the leaderboard's file in the task's settings.
      form: the form of that file.
      test_files: paths of the test files.
      predictions: path of the predictions for them.
    """

    name: str
    task: str
    unit: str
    base_file: str
    form: str
    test_files: tuple[str, ...]
    predictions: str

    @property
    def file(self) -> str:
        """The leaderboard's file for the version of the test set."""
        older = any("1.0" in _last(path) for path in self.test_files)
        return _VERSION.sub("10", self.base_file) if older else self.base_file


def submission(
    output: str,
    *,
    team: str,
    date: datetime.date | None = None,
    target: str | None = None,
    task_names: Sequence[str] = (),
) -> SubmissionReport:
    """Checks the test predictions of a fine-tuning folder and packs them for the leaderboard.

    Args:
      output: the folder of `electra-zh finetune`.
      team: the team's name: letters, digits, `-` and `_`.
      date: in the name of the zip; None: today.
      target: the zip to write, or a folder for it; None: `output`. An earlier zip is replaced.
      task_names: only these tasks; none: all that the leaderboard has.

    Raises:
      UsageError: a name is not allowed or not known.
      UserError: predictions of a task are missing or do not fit its test file. Nothing is written.
    """
    path = _target(output, team, date, target)
    results = files.join(output, _RESULTS)
    if not files.exists(results):
        raise UserError(f"{output} has no {_RESULTS}: give the folder of `electra-zh finetune`")
    found = files.read_json(results)["tasks"]
    entries = _entries(output, found, task_names)
    made = _contents(entries)
    packed = sorted(SubmissionFile(e.file, e.name, made[e.name].size) for e in entries)
    report = SubmissionReport(
        path,
        tuple(packed),
        missing=_missing({entry.base_file for entry in entries}),
        unranked=tuple(name for name, each in found.items() if not each["submission"]),
        warnings=tuple(
            f"task {name}: {warning}" for name in made for warning in made[name].warnings
        ),
    )
    with files.atomic_write(path) as file:
        file.write(_zip({each.name: made[each.task].text for each in packed}))
    return report


def _target(output: str, team: str, date: datetime.date | None, target: str | None) -> str:
    """Returns the path of the zip."""
    if not _TEAM.fullmatch(team):
        raise UsageError(f'--team "{team}": use letters, digits, - and _ only')
    name = f"submit_{team}_{date or datetime.date.today():%Y%m%d}.zip"
    if target is None:
        return files.join(output, name)
    if files.is_dir(target):
        return files.join(target, name)
    if not target.endswith(".zip"):
        raise UsageError(f"--output {target} is neither a name that ends in .zip nor a folder")
    parent = target.rpartition("/")[0]
    if parent and not files.is_remote(target) and not files.is_dir(parent):
        raise UserError(f"--output {target}: the folder {parent} does not exist")
    return target


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _entries(
    output: str, found: Mapping[str, Mapping[str, Any]], task_names: Sequence[str]
) -> list[_Entry]:
    """Returns the tasks to pack; a name means a task trained alone or jointly."""
    chosen = _chosen(output, found, task_names)
    entries: dict[str, _Entry] = {}
    for name in chosen:
        each = found[name]
        if not each["submission"]:
            if task_names:
                raise UserError(f"task {name}: the leaderboard does not have this task")
            continue
        entry = _Entry(
            name,
            task=_own_name(name, each),
            unit=files.join(output, each["best_trial"].partition("/")[0]),
            base_file=each["submission"]["file"],
            form=each["submission"]["form"],
            test_files=tuple(each["test_files"]),
            predictions=files.join(output, each["best_trial"], _PREDICTIONS),
        )
        if entry.file in entries:
            both = f"{entries[entry.file].name} and {name}"
            raise UserError(f"tasks {both} both make {entry.file}: choose one with --task")
        entries[entry.file] = entry
    if not entries:
        names = ", ".join(found) or "none"
        raise UserError(f"{output} has no task of the leaderboard; its tasks: {names}")
    return list(entries.values())


def _own_name(name: str, result: Mapping[str, Any]) -> str:
    """Returns the name of the task itself; earlier versions have it in `task (unit)` only."""
    return str(result.get("task", name.partition(" (")[0]))


def _chosen(
    output: str, found: Mapping[str, Mapping[str, Any]], task_names: Sequence[str]
) -> list[str]:
    own = {name: _own_name(name, each) for name, each in found.items()}
    chosen = set(found) if not task_names else set()
    for wanted in task_names:
        matching = [name for name in own if own[name] == wanted]
        if wanted not in own and not matching:
            hint = did_you_mean(wanted, own)
            raise UsageError(f'{output} has no task "{wanted}".{hint} It has: {", ".join(own)}')
        chosen.update([wanted] if wanted in own else matching)
    return [name for name in found if name in chosen]


def _missing(packed: Iterable[str]) -> tuple[str, ...]:
    taken = set(packed)
    return tuple(name for name, file in _leaderboard().items() if file not in taken)


@functools.cache
def _leaderboard() -> dict[str, str]:
    """Returns the shipped tasks of the leaderboard, each with its file."""
    recipes = {name: load_recipe(name, kind="finetune") for name in recipe_names("finetune")}
    return {
        name: each["submission"]["file"] for name, each in recipes.items() if each.get("submission")
    }


def _contents(entries: Sequence[_Entry]) -> dict[str, Content]:
    """Returns the contents of each task's file; the error names every task that does not fit."""
    made: dict[str, Content] = {}
    refused: dict[str, str] = {}
    for entry in entries:
        try:
            made[entry.name] = _content(entry)
        except UserError as error:
            refused[entry.name] = str(error)
    if refused:
        first, *others = refused
        more = f". Refused as well: {', '.join(others)}" if others else ""
        raise UserError(f"task {first}: {refused[first]}{more}")
    return made


def _content(entry: _Entry) -> Content:
    if not entry.test_files:
        raise UserError("it was trained without a test file; choose other tasks with --task")
    if not files.exists(entry.predictions):
        raise UserError(f"{entry.predictions} is missing; choose other tasks with --task")
    content = make_content(entry.form, _task_config(entry), entry.test_files, entry.predictions)
    return content._replace(warnings=[*_version_warnings(entry), *content.warnings])


def _task_config(entry: _Entry) -> TaskConfig:
    """Returns the settings of the task, with its labels if there is a model."""
    model = files.join(entry.unit, "model", "config.json")
    if files.exists(model):
        for values in files.read_json(model)["finetuned"]["tasks"]:
            if values["name"] == entry.task:
                return TaskConfig.from_dict(values, where=model)
    path = files.join(entry.unit, "task.json")
    if not files.exists(path):
        raise UserError(f"its settings are missing, neither {model} nor {path} exists")
    return TaskConfig.from_dict(files.read_json(path)["tasks"][entry.task], where=path)


def _version_warnings(entry: _Entry) -> list[str]:
    """Returns a warning if the file's name does not say which version of the test set it is."""
    for path in entry.test_files:
        name = _last(path)
        newer = f"{path[: len(path) - len(name)]}test1.1.json"
        if _VERSION.search(entry.file) and name == "test.json" and files.exists(newer):
            return [f"{path} counts as the 1.1 test set for {entry.file}, but {newer} exists too"]
    return []


def _zip(contents: Mapping[str, str]) -> bytes:
    """Returns a zip of the texts; equal texts make equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, on every machine.
            info.external_attr = 0o644 << 16
            archive.writestr(info, contents[name].encode("utf-8"))
    return buffer.getvalue()
