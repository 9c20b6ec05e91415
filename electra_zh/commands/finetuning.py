"""Commands for tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from electra_zh import files, messages
from electra_zh.commands.command import Call, Command, print_next, print_plan
from electra_zh.commands.loading import choose_device, load_tensorflow
from electra_zh.errors import counted
from electra_zh.finetuning.request import PredictionRequest, Request, SubmissionRequest
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.interrupts import InterruptError
from electra_zh.report import scores
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
    rows = [("task", "kind", "metric", "data" if data else "title")]
    folders = locate.folders_below(data) if data else []
    for name in registry.task_names():
        task = registry.load([name])[0]
        last = _place(locate.find(task, folders), folders[0]) if data else task.title
        rows.append((name, task.kind, task.metric, last))
    print(*messages.table(rows), sep="\n")
    print("\ngroups")
    groups = {name: registry.load([name]) for name in registry.group_names()}
    lines = [(f"{name}:", ", ".join(task.name for task in each)) for name, each in groups.items()]
    print(*messages.table(lines), sep="\n")
    return 0


def _place(found: Found | None, data: str) -> str:
    """Returns the folder of a task's files in `data`, and the missing splits of training."""
    if found is None:
        return "-"
    folder, missing = found.folder.removeprefix(data).lstrip("/") or ".", found.missing_splits()
    return f"{folder} (no {' and no '.join(missing)} file)" if missing else folder


def finetune(call: Call[Request]) -> int:
    """Fine-tunes on tasks; prints the results so far if a signal stops it."""
    request = dataclasses.replace(call.settings, overrides=call.overrides)
    found = list(request.settings_of_tasks())  # Mistakes are found before TensorFlow is loaded.
    request.check_files()
    device = choose_device(request.device, 1)
    load_tensorflow(device, log_machine=True)
    from electra_zh.finetuning import run

    if call.dry_run:
        print_plan(run.prepare(request, device).lines())
        return 0
    try:
        run.finetune(request, device)
    except InterruptError:
        messages.print_lines(scores.report(request.output))
        raise
    messages.print_lines(scores.report(request.output))
    several = len(found[0][1]) > 1 and not request.joint
    model = files.join(request.output, "TASK") if several else request.output
    print_next("predict", "--model", model, "--input", "FILE", "--output", "LABELS")
    return 0


def predict(call: Call[PredictionRequest]) -> int:
    """Labels new data with a fine-tuned model."""
    call.settings.check_files()
    source = call.settings.open_input()
    device = choose_device(call.settings.device, 1)
    load_tensorflow(device, log_machine=True)
    from electra_zh.finetuning.predict import predict as label

    count, lines = label(call.settings, device, source)
    for line in lines:
        messages.hint(line)
    if call.settings.output != "-":
        print(f"{counted(count, 'prediction')} in {call.settings.output}")
    return 0


def submission(call: Call[SubmissionRequest]) -> int:
    """Packs test predictions for the leaderboard."""
    from electra_zh.finetuning.submission import submission as pack

    messages.print_lines(pack(call.settings).lines())
    return 0


COMMANDS = {
    "tasks": Command(Tasks, tasks),
    "finetune": Command(
        Request,
        finetune,
        overrides=TaskConfig,
        prefixed=True,
        common=("config", "dry_run"),
        batch_size="train_batch_size",
    ),
    "predict": Command(PredictionRequest, predict, batch_size="batch_size"),
    "submission": Command(SubmissionRequest, submission),
}
