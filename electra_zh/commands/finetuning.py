"""Commands for tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    json: bool = setting(False, "print JSON")


def tasks(call: Call[Tasks]) -> int:
    """Lists the shipped tasks and groups."""
    from electra_zh.finetuning import locate, registry

    data = call.settings.data
    folders = locate.folders_below(data) if data else []
    found = registry.load(registry.task_names())
    places = {task.name: locate.find(task, folders) for task in found} if data else {}
    groups = {
        name: [task.name for task in registry.load([name])] for name in registry.group_names()
    }
    if call.settings.json:
        listed = {task.name: _values(task, places) for task in found}
        print(json.dumps({"tasks": listed, "groups": groups}, ensure_ascii=False))
        return 0
    rows = [("task", "kind", "metric", "data" if data else "title")]
    for task in found:
        last = _place(places[task.name], folders[0]) if data else task.title
        rows.append((task.name, task.kind, task.metric, last))
    print(*messages.table(rows), sep="\n")
    print("\ngroups")
    print(
        *messages.table([(f"{name}:", ", ".join(each)) for name, each in groups.items()]), sep="\n"
    )
    return 0


def _values(task: TaskConfig, places: Mapping[str, Found | None]) -> dict[str, Any]:
    """Returns a task as plain values, with its files if they were searched."""
    values = {"title": task.title, "kind": task.kind, "metric": task.metric}
    found = places.get(task.name)
    searched = {"folder": found and found.folder, "files": found.paths if found else {}}
    return {**values, **(searched if places else {})}


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
    call.settings.saved_task()  # Mistakes are found before TensorFlow is loaded.
    source = call.settings.open_input()
    device = choose_device(call.settings.device, 1)
    load_tensorflow(device, log_machine=True)
    from electra_zh.finetuning.predict import predict as label

    count, lines, scores = label(call.settings, device, source)
    is_file = call.settings.output != "-"
    for line in lines if is_file else filter(None, [*lines, scores]):
        messages.hint(line)
    if is_file:
        done = f"{counted(count, 'prediction')} in {call.settings.output}"
        print(*filter(None, [done, scores]), sep="\n")
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
