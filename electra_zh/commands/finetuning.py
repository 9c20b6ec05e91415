"""Commands for tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from electra_zh.commands.command import INTERRUPTED, Call, Command, print_plan
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UserError
from electra_zh.finetuning.request import Request
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import Settings, setting

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
    missing = found.missing_splits()
    return f"{found.folder} (no {' and no '.join(missing)} file)" if missing else found.folder


def finetune(call: Call[Request]) -> int:
    """Fine-tunes; the exit code is `INTERRUPTED` if a signal stopped it before its end."""
    request = dataclasses.replace(call.settings, overrides=call.overrides)
    list(request.settings_of_tasks())  # Mistakes are found before TensorFlow is loaded.
    load_tensorflow()
    from electra_zh.finetuning import results, run

    if call.dry_run:
        print_plan(run.prepare(request).lines())
        return 0
    finished = run.finetune(request)
    for line in results.report(request.output):
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
        Request,
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
