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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UsageError, UserError, counted, did_you_mean
from electra_zh.finetuning.request import SubmissionRequest
from electra_zh.finetuning.results import read_summary
from electra_zh.finetuning.submission_writers import Content, make_content
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import load_recipe, recipe_names

_TEAM = re.compile(r"[A-Za-z0-9_-]+")
# The newer test sets in the names of the leaderboard's files; the older ones are 10.
_VERSION = re.compile(r"11(?=_predict\.)")
# The earliest time that a zip can hold: the same input gives the same bytes on every day.
_TIME = (1980, 1, 1, 0, 0, 0)


class SubmissionFile(NamedTuple):
    """One file of the zip: its name, the task in results.json, the number of predictions."""

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
        width = max((len(each.name) for each in self.files), default=0)
        shown = [
            f"{each.name:{width}s}  {each.task}, {counted(each.lines, 'prediction')}"
            for each in self.files
        ]
        shown += [f"warning: {warning}" for warning in self.warnings]
        if self.missing:
            shown.append(f"not in the zip: {', '.join(self.missing)}")
        if self.unranked:
            shown.append(f"not for the leaderboard: {', '.join(self.unranked)}")
        return [*shown, f"Written: {self.path}"]


@dataclass(frozen=True, eq=False)
class _Entry:
    """A task of the folder: its name in results.json, and its results."""

    name: str
    output: str
    results: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The name of the task itself; earlier versions have it in `task (unit)` only."""
        return str(self.results.get("task", self.name.partition(" (")[0]))

    @property
    def base_file(self) -> str:
        """The leaderboard's file in the task's settings; "" for a task that it does not have."""
        return self.results["submission"]["file"] if self.results["submission"] else ""

    @property
    def file(self) -> str:
        """The leaderboard's file for the version of the test set."""
        older = any("1.0" in _last(path) for path in self.results["test_files"])
        return _VERSION.sub("10", self.base_file) if older else self.base_file

    def content(self) -> Content:
        """Returns the content of the file."""
        form, tests = self.results["submission"]["form"], self.results["test_files"]
        predictions = files.join(self.output, self.results["best_trial"], "predictions.test.jsonl")
        if not tests:
            raise UserError("it was trained without a test file")
        if not files.exists(predictions):
            raise UserError(f"{predictions} is missing")
        content = make_content(form, self._config(), tests, predictions)
        expected = self.results["submission"].get("examples", 0)
        if expected not in (0, content.size) and self.file == self.base_file:
            count = f"{content.size:,} predictions; the leaderboard's test set has {expected:,}"
            content = content._replace(warnings=[count, *content.warnings])
        for path in tests:
            newer = f"{path.removesuffix('test.json')}test1.1.json"
            if _VERSION.search(self.file) and _last(path) == "test.json" and files.exists(newer):
                warning = f"{path} counts as the 1.1 test set for {self.file}, but {newer} exists"
                return content._replace(warnings=[f"{warning} too", *content.warnings])
        return content

    def _config(self) -> TaskConfig:
        """Returns the settings of the task, with its labels if there is a model."""
        folder = files.join(self.output, self.results["best_trial"].partition("/")[0])
        model, path = files.join(folder, "model", "config.json"), files.join(folder, "task.json")
        if files.exists(model):
            with files.explained_damage(model, "Run finetune again"):
                for values in files.read_json(model)["finetuned"]["tasks"]:
                    if values["name"] == self.task:
                        return TaskConfig.from_dict(values, where=model)
        if not files.exists(path):
            raise UserError(f"its settings are missing: neither {model} nor {path} exists")
        with files.explained_damage(path, "Run finetune again"):
            return TaskConfig.from_dict(files.read_json(path)["tasks"][self.task], where=path)


def submission(
    request: SubmissionRequest, *, date: datetime.date | None = None
) -> SubmissionReport:
    """Checks the test predictions of a fine-tuning folder and packs them for the leaderboard.

    Args:
      request: results, team, tasks and target, which may be a folder; an earlier zip is replaced.
      date: in the name of the zip; None: today.

    Raises:
      UsageError: a name is not allowed or not known.
      UserError: predictions of a task are missing or do not fit its test file. Nothing is written.
    """
    output, task_names = request.results, [name for name in request.task.split(",") if name]
    path = _target(output, request.team, date, request.output)
    found = read_summary(output, needed=("submission", "test_files", "best_trial"))["tasks"].items()
    entries = [_Entry(name, output, each) for name, each in found]
    packed = _choose(output, entries, task_names)
    made = _contents(packed)
    taken = {each.base_file for each in packed}
    report = SubmissionReport(
        path,
        tuple(sorted(SubmissionFile(e.file, e.name, made[e.file].size) for e in packed)),
        missing=tuple(name for name, file in _leaderboard().items() if file not in taken),
        unranked=tuple(each.name for each in entries if not each.base_file),
        warnings=tuple(f"task {e.name}: {line}" for e in packed for line in made[e.file].warnings),
    )
    with files.atomic_write(path) as file:
        file.write(_zip({name: content.text for name, content in made.items()}))
    return report


def _target(output: str, team: str, date: datetime.date | None, target: str | None) -> str:
    """Returns the path of the zip."""
    if not _TEAM.fullmatch(team):
        raise UsageError(f'--team "{team}": use letters, digits, - and _ only')
    name = f"submit_{team}_{date or datetime.date.today():%Y%m%d}.zip"
    if target is None or files.is_dir(target):
        return files.join(target or output, name)
    if not target.endswith(".zip"):
        raise UsageError(f"--output {target} is neither a name that ends in .zip nor a folder")
    parent = target.rpartition("/")[0]
    if parent and not files.is_remote(target) and not files.is_dir(parent):
        raise UserError(f"--output {target}: the folder {parent} does not exist")
    return target


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _choose(output: str, entries: Sequence[_Entry], task_names: Sequence[str]) -> list[_Entry]:
    """Returns the tasks to pack; a name means a task trained alone or jointly."""
    names = {each.name: each.task for each in entries}
    wanted: set[str] = set() if task_names else {each.name for each in entries if each.base_file}
    for name in task_names:
        matching = [name] if name in names else [key for key in names if names[key] == name]
        if not matching:
            hint = did_you_mean(name, names)
            raise UsageError(f'{output} has no task "{name}".{hint} It has: {", ".join(names)}')
        wanted.update(matching)
    chosen: dict[str, _Entry] = {}
    for entry in (each for each in entries if each.name in wanted):
        if not entry.base_file:
            raise UserError(f"task {entry.name}: the leaderboard does not have this task")
        other = chosen.setdefault(entry.file, entry)
        if other is not entry:
            both = f"{other.name} and {entry.name}"
            raise UserError(f"tasks {both} both make {entry.file}: choose one with --task")
    if not chosen:
        tasks = ", ".join(names) or "none"
        raise UserError(f"{output} has no leaderboard task; its tasks: {tasks}")
    return list(chosen.values())


@functools.cache
def _leaderboard() -> dict[str, str]:
    """Returns the shipped tasks of the leaderboard, each with its file."""
    recipes = {name: load_recipe(name, kind="finetune") for name in recipe_names("finetune")}
    return {
        name: each["submission"]["file"] for name, each in recipes.items() if each.get("submission")
    }


def _contents(entries: Sequence[_Entry]) -> dict[str, Content]:
    """Returns the content of each file; the error names every task that does not fit."""
    made: dict[str, Content] = {}
    refused: dict[str, str] = {}
    for entry in entries:
        try:
            made[entry.file] = entry.content()
        except UserError as error:
            refused[entry.name] = str(error)
    if refused:
        first, *others = refused
        more = f". Refused as well: {', '.join(others)}" if others else ""
        rest = "" if len(refused) == len(entries) else ". --task packs others without it"
        raise UserError(f"task {first}: {refused[first]}{more}{rest}")
    return made


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
