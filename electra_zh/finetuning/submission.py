"""The zip that the CLUE leaderboard takes, from the test predictions of a fine-tuning folder.

What is written goes by the test files themselves: they are read here once more, in their raw form
and without the tasks' readers, and every prediction has to fit the line, question or blank that
stands at its place. A task that does not fit is refused, and no zip is written.
"""

from __future__ import annotations

import datetime
import functools
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.finetuning import submission_forms
from electra_zh.settings import load_recipe, recipe_names

_RESULTS = "results.json"
_PREDICTIONS = "predictions.test.jsonl"
_TEAM = re.compile(r"[A-Za-z0-9_-]+")
# As the newer test sets are called in the names of the leaderboard's files; the older ones are 10.
_VERSION = re.compile(r"11(?=_predict\.)")
# The earliest time that a zip can hold: the same input gives the same bytes on every day.
_TIME = (1980, 1, 1, 0, 0, 0)


class SubmissionFile(NamedTuple):
    """One file of the zip.

    Attributes:
      name: as the leaderboard calls it.
      task: as results.json calls it.
      lines: predictions in it.
    """

    name: str
    task: str
    lines: int


@dataclass(frozen=True)
class SubmissionReport:
    """What was written, and what was not.

    Attributes:
      path: of the zip.
      files: in the order of the zip.
      missing: tasks that the leaderboard takes and that are not in the zip.
      unranked: tasks of the folder that it does not take.
      warnings: about predictions that are valid but look wrong.
    """

    path: str
    files: tuple[SubmissionFile, ...]
    missing: tuple[str, ...] = ()
    unranked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns what the terminal shows."""
        shown = [f"{each.name}  {each.task}, {each.lines:,} predictions" for each in self.files]
        shown += [f"warning: {warning}" for warning in self.warnings]
        if self.missing:
            shown.append(f"not in the zip: {', '.join(self.missing)}")
        if self.unranked:
            shown.append(f"not for the leaderboard: {', '.join(self.unranked)}")
        return [*shown, f"Written: {self.path}"]


@dataclass(frozen=True)
class _Entry:
    """A task of the folder that has a file of the leaderboard.

    Attributes:
      name: as results.json calls it.
      task: the task's own name.
      unit: path of the folder that the task was trained in.
      base_file: the leaderboard's file, as the task's settings have it.
      form: how predictions are written in it.
      test_files: paths of the raw test files.
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
        """Returns the leaderboard's file for the version of the test set."""
        older = any("1.0" in _last(path) for path in self.test_files)
        return _VERSION.sub("10", self.base_file) if older else self.base_file


class _Content(NamedTuple):
    """The text of a file of the zip, the number of predictions in it, and warnings."""

    text: str
    size: int
    warnings: list[str]


def submission(
    output: str,
    *,
    team: str,
    date: str | None,
    target: str | None = None,
    task_names: Sequence[str] = (),
) -> SubmissionReport:
    """Checks the test predictions of a fine-tuning folder and packs them for the leaderboard.

    Args:
      output: the folder of `electra-zh finetune`.
      team: the team's name: letters, digits, `-` and `_`.
      date: YYYYMMDD; None: today.
      target: the zip to write, or a folder for it; None: `output`. An earlier zip is replaced.
      task_names: only these tasks; none: all that the leaderboard takes.

    Raises:
      UsageError: a name that is not allowed or not known.
      UserError: predictions of a task are missing or do not fit its test file. Nothing is written.
    """
    path = _target(output, team, date, target)
    results = files.join(output, _RESULTS)
    if not files.exists(results):
        raise UserError(f"{output} holds no {_RESULTS}: give the folder of `electra-zh finetune`")
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


def _target(output: str, team: str, date: str | None, target: str | None) -> str:
    """Returns the path of the zip."""
    if not _TEAM.fullmatch(team):
        raise UsageError(f'--team "{team}": letters, digits, - and _ only')
    if date is None:
        date = datetime.date.today().strftime("%Y%m%d")
    try:
        if len(date) != len("YYYYMMDD"):
            raise ValueError
        datetime.datetime.strptime(date, "%Y%m%d")
    except ValueError:
        raise UsageError(f'date "{date}": a day as YYYYMMDD is needed') from None
    name = f"submit_{team}_{date}.zip"
    if target is None:
        return files.join(output, name)
    if files.is_dir(target):
        return files.join(target, name)
    if not target.endswith(".zip"):
        raise UsageError(f"--output {target}: the name of a zip or an existing folder is needed")
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
    own = {name: name.partition(" (")[0] for name in found}
    chosen = set(task_names)
    for wanted in task_names:
        if wanted not in own and wanted not in own.values():
            hint = did_you_mean(wanted, own)
            raise UsageError(f'{output} has no task "{wanted}".{hint} It has: {", ".join(own)}')
        if wanted not in own:
            chosen.update(name for name in own if own[name] == wanted)
    entries: dict[str, _Entry] = {}
    for name, each in found.items():
        if task_names and name not in chosen:
            continue
        if not each["submission"]:
            if task_names:
                raise UserError(f"task {name}: the leaderboard has no file for it")
            continue
        entry = _Entry(
            name,
            task=own[name],
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
        raise UserError(f"{output} has no task that the leaderboard takes; its tasks: {names}")
    return list(entries.values())


def _missing(packed: Iterable[str]) -> tuple[str, ...]:
    taken = set(packed)
    return tuple(name for name, file in _leaderboard().items() if file not in taken)


@functools.cache
def _leaderboard() -> dict[str, str]:
    """Returns the shipped tasks that have a file of the leaderboard, each with its file."""
    recipes = {name: load_recipe(name, kind="finetune") for name in recipe_names("finetune")}
    return {
        name: each["submission"]["file"] for name, each in recipes.items() if each.get("submission")
    }


def _contents(entries: Sequence[_Entry]) -> dict[str, _Content]:
    """Returns what each task's file holds; the first task that does not fit is the error."""
    made: dict[str, _Content] = {}
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


def _content(entry: _Entry) -> _Content:
    if not entry.test_files:
        raise UserError("it was trained without a test file; --task leaves it out")
    if not files.exists(entry.predictions):
        raise UserError(f"{entry.predictions} is missing; --task leaves the task out")
    form = submission_forms.FORMS[entry.form]
    warnings = _version_warnings(entry)
    labels = _labels(entry) if form.labelled else ()
    made = []
    for item, line in submission_forms.pairs(form, entry.test_files, entry.predictions):
        try:
            made.append(form.check(item, line.value, labels))
        except UserError as error:
            raise UserError(f"{line.place}: {error} ({item.place})") from None
    if not form.whole:
        lines = [json.dumps(value, ensure_ascii=False) for value in made]
        return _Content("".join(f"{line}\n" for line in lines), len(lines), warnings)
    merged: dict[str, Any] = {}
    for value in made:
        for key in value:
            if key in merged:
                raise UserError(f"{', '.join(entry.test_files)}: {key} stands there twice")
        merged.update(value)
    empty = [key for key, value in merged.items() if value == ""]
    if empty:
        warnings.append(f"{len(empty):,} of {len(merged):,} answers are empty, first {empty[0]}")
    return _Content(f"{json.dumps(merged, ensure_ascii=False)}\n", len(merged), warnings)


def _version_warnings(entry: _Entry) -> list[str]:
    """Returns a warning where the file's name does not tell which version of the test set it is."""
    for path in entry.test_files:
        name = _last(path)
        newer = f"{path[: len(path) - len(name)]}test1.1.json"
        if _VERSION.search(entry.file) and name == "test.json" and files.exists(newer):
            return [f"{path} counts as the 1.1 test set for {entry.file}, but {newer} is there too"]
    return []


def _labels(entry: _Entry) -> tuple[str, ...]:
    """Returns the task's labels: those of its model, which may come from a file of labels."""
    model = files.join(entry.unit, "model", "config.json")
    settings = files.join(entry.unit, "task.json")
    listed: list[Mapping[str, Any]] = []
    if files.exists(model):
        listed += files.read_json(model)["finetuned"]["tasks"]
    if files.exists(settings):
        listed += files.read_json(settings)["tasks"].values()
    for each in listed:
        if each["name"] == entry.task and each["labels"]["names"]:
            return tuple(each["labels"]["names"])
    raise UserError(f"its labels are not known: they are in neither {model} nor {settings}")


def _zip(contents: Mapping[str, str]) -> bytes:
    """Returns a zip of the texts; equal texts make equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, wherever it is written.
            info.external_attr = 0o644 << 16
            archive.writestr(info, contents[name].encode("utf-8"))
    return buffer.getvalue()
