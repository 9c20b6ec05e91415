"""Commands for tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from electra_zh.commands.command import INTERRUPTED, Call, Command, print_plan
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import Settings, setting
from electra_zh.settings.command_line import parse_overrides
from electra_zh.settings.resolution import short_key

if TYPE_CHECKING:
    from electra_zh.finetuning.locate import Found


@dataclasses.dataclass(frozen=True)
class Tasks(Settings):
    """Settings of `electra-zh tasks`."""

    data: str | None = setting(None, "folder that contains the data sets", metavar="DIR")


def tasks(call: Call[Tasks]) -> int:
    """Lists the shipped tasks and groups."""
    from electra_zh.finetuning import locate, registry

    data = call.settings.data
    rows = [("task", "kind", "metric", "data" if data else "", "title")]
    folders = locate.folders_below(data) if data else []
    for name in registry.task_names():
        task = registry.load([name])[0]
        place = _place(locate.find(task, folders)) if data else ""
        rows.append((name, task.kind, task.metric, place, task.title))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True) if width]
        print("  ".join([*cells, row[4]]))
    print("\ngroups")
    for name in registry.group_names():
        print(f"{name}: {', '.join(task.name for task in registry.load([name]))}")
    return 0


def _place(found: Found | None) -> str:
    """Returns the folder of a task's files, with the splits that are missing for training."""
    if found is None:
        return "-"
    missing = found.lacks()
    return f"{found.folder} (no {' and no '.join(missing)} file)" if missing else found.folder


@dataclasses.dataclass(frozen=True)
class Finetune(Settings):
    """Settings of `electra-zh finetune`, in addition to those of the tasks."""

    model: str = setting(
        meaning="a run, a fine-tuned model, a Hugging Face folder or a TF1 checkpoint, ELECTRA or "
        "BERT",
        metavar="SOURCE",
    )
    task: str = setting(
        meaning="comma-separated tasks, groups (clue, hfl, glue, ...) and .yaml files",
        metavar="NAMES",
    )
    data: str = setting(meaning="folder that contains the data sets", metavar="DIR")
    output: str = setting(meaning="folder of the results", metavar="DIR")
    trials: int = setting(1, "random seeds per task", at_least=1)
    grid: tuple[str, ...] = setting(
        (), "train every combination of these values", metavar="key=v1,v2"
    )
    joint: bool = setting(False, "train all tasks in one model, mixed by their size")
    from_scratch: bool = setting(
        False, "random weights instead of the pretrained ones, for comparison"
    )
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )
    skip_bad: bool = setting(False, "skip bad examples and count them")


def finetune(call: Call[Finetune]) -> int:
    """Fine-tunes; the exit code is `INTERRUPTED` if a signal stopped it before its end."""
    from electra_zh.finetuning import registry

    settings, overrides = call.settings, call.overrides
    grid: dict[str, list[str]] = {}
    for key, values in parse_overrides(settings.grid).items():
        if short_key(TaskConfig, key) in overrides:
            raise UsageError(f"{key} is set both in --grid and as an override: remove one")
        if key.rpartition(".")[2] in registry.FILE_KEYS:
            raise UsageError(f"{key} cannot be in --grid: run the command once for each file")
        grid[key] = [value for value in values.split(",") if value]
        if not grid[key]:
            raise UsageError(f"--grid {key}= is empty: give values, as {key}=1,2")
    names = [name for name in settings.task.split(",") if name]
    if not names:
        raise UsageError(f'--task "{settings.task}" names no task; `electra-zh tasks` lists them')
    registry.load(names, {**overrides, **{key: values[0] for key, values in grid.items()}})
    load_tensorflow()
    from electra_zh.finetuning import results, run

    request = run.Request(
        model=settings.model,
        tasks=names,
        data=settings.data,
        output=settings.output,
        overrides=overrides,
        grid=grid,
        trials=settings.trials,
        joint=settings.joint,
        from_scratch=settings.from_scratch,
        checkpoint=settings.checkpoint,
        skip_bad=settings.skip_bad,
    )
    if call.dry_run:
        print_plan(run.prepare(request).lines())
        return 0
    finished = run.finetune(request)
    for line in results.report(settings.output):
        print(line)
    return 0 if finished else INTERRUPTED


@dataclasses.dataclass(frozen=True)
class Predict(Settings):
    """Settings of `electra-zh predict`."""

    model: str = setting(meaning="a fine-tuned model, or its task's folder", metavar="DIR")
    input: str = setting(
        meaning="a file in the task's form, or .txt with one example per line; - is standard "
        "input, with one example per line",
        metavar="FILE",
    )
    output: str = setting(meaning="file of JSON lines; - is standard output", metavar="FILE")
    task: str | None = setting(None, "the task, for a model of several", metavar="NAME")
    reader: str | None = setting(
        None, "form of the input, if it differs from the task's", metavar="READER"
    )
    batch_size: int = setting(64, "examples per step", at_least=1)
    overwrite: bool = setting(False, "replace an existing file")
    skip_bad: bool = setting(False, "skip bad examples and count them")


def predict(call: Call[Predict]) -> int:
    """Labels new data with a fine-tuned model."""
    from electra_zh import files

    settings = call.settings
    if settings.output != "-" and files.exists(settings.output) and not settings.overwrite:
        raise UserError(f"{settings.output} exists; --overwrite replaces it")
    if settings.input != "-" and not files.exists(settings.input):
        raise UserError(f"No such file: {settings.input}")
    load_tensorflow()
    from electra_zh.finetuning.predict import predict as label

    count, bad = label(
        settings.model,
        settings.input,
        settings.output,
        task=settings.task,
        reader=settings.reader,
        batch_size=settings.batch_size,
        skip_bad=settings.skip_bad,
    )
    for line in bad.lines():
        print(line, file=sys.stderr)
    if settings.output != "-":
        print(f"{count:,} predictions in {settings.output}")
    return 0


@dataclasses.dataclass(frozen=True)
class Submission(Settings):
    """Settings of `electra-zh submission`."""

    results: str = setting(
        meaning="folder of the results of `electra-zh finetune`", positional=True, metavar="RESULTS"
    )
    team: str = setting(meaning="name of the team, for the zip's name", metavar="NAME")
    task: str = setting("", "comma-separated tasks; all by default", metavar="NAMES")
    output: str | None = setting(
        None, "zip to write; submit_TEAM_DATE.zip in RESULTS by default", metavar="FILE"
    )


def submission(call: Call[Submission]) -> int:
    """Packs test predictions for the leaderboard."""
    from electra_zh.finetuning.submission import submission as pack

    settings = call.settings
    names = [name for name in settings.task.split(",") if name]
    report = pack(
        settings.results, team=settings.team, date=None, target=settings.output, task_names=names
    )
    for line in report.lines():
        print(line)
    return 0


COMMANDS = {
    "tasks": Command(Tasks, tasks),
    "finetune": Command(
        Finetune,
        finetune,
        overrides=TaskConfig,
        prefixed=True,
        config_file=True,
        dry_run=True,
        batch_size="train_batch_size",
    ),
    "predict": Command(Predict, predict, batch_size="batch_size"),
    "submission": Command(Submission, submission),
}
