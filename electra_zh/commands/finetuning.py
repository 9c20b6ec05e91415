"""Commands around tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from electra_zh.commands.flags import add_command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UsageError, UserError
from electra_zh.settings import parse_overrides

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers
    from electra_zh.finetuning.locate import Found


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    _add_tasks(subparsers)
    _add_finetune(subparsers)
    _add_predict(subparsers)
    _add_submission(subparsers)


def _add_tasks(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "tasks",
        tasks,
        summary="List the fine-tuning tasks and groups, and whether their data is there.",
    )
    command.add_argument("--data", help="folder below which the data sets are looked for")


def tasks(args: argparse.Namespace) -> int:
    """Runs `electra-zh tasks`."""
    from electra_zh.finetuning import locate, registry

    rows = [("task", "kind", "metric", "data" if args.data else "", "what it is")]
    folders = locate.folders_below(args.data) if args.data else []
    for name in registry.task_names():
        task = registry.load([name])[0]
        found = locate.find(task, folders) if args.data else None
        place = _place(found) if args.data else ""
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
    """Returns the folder of a task's files, with what it lacks to be trained on."""
    if found is None:
        return "-"
    lacks = found.lacks()
    return f"{found.folder} (no {' and no '.join(lacks)} file)" if lacks else found.folder


def _add_finetune(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "finetune",
        finetune,
        summary="Fine-tune on tasks and score them; started again, it goes on.",
    )
    command.add_argument(
        "--model",
        required=True,
        help="a run, a fine-tuned model, or a model of another tool: a folder of Hugging Face "
        "or a TF1 checkpoint, ELECTRA or BERT",
    )
    command.add_argument(
        "--task",
        required=True,
        help="tasks, groups (clue, hfl, glue, ...) and .yaml files, with commas between them",
    )
    command.add_argument("--data", required=True, help="folder below which the data sets are")
    command.add_argument("--output", required=True, help="the folder of the results")
    command.add_argument("--trials", type=int, default=1, help="seeds of each task (%(default)s)")
    command.add_argument(
        "--grid",
        nargs="+",
        action="extend",
        default=[],
        metavar="key=v1,v2",
        help="train every combination of these values",
    )
    command.add_argument(
        "--joint", action="store_true", help="train all the tasks in one model, mixed by their size"
    )
    command.add_argument(
        "--from-scratch",
        action="store_true",
        help="random weights instead of the pretrained ones, to compare with",
    )
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a kept step; the last")
    command.add_argument(
        "--skip-bad", action="store_true", help="leave bad examples out and count them"
    )
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings, as num_train_epochs=5; task.key=value for one task alone",
    )


def finetune(args: argparse.Namespace) -> int:
    """Runs `electra-zh finetune`; exit code 1 when a signal stopped it before its end."""
    from electra_zh.finetuning import registry

    overrides = parse_overrides(args.overrides)
    grid: dict[str, list[str]] = {}
    for key, values in parse_overrides(args.grid).items():
        if key in overrides:
            raise UsageError(f"{key} is in --grid and beside it")
        if key.rpartition(".")[2] in registry.FILE_KEYS:
            raise UsageError(f"{key} cannot be in --grid: run the command once for each file")
        grid[key] = [value for value in values.split(",") if value]
        if not grid[key]:
            raise UsageError(f"--grid {key}= has no values")
    names = [name for name in args.task.split(",") if name]
    if not names:
        raise UsageError(f'--task "{args.task}" names no task; `electra-zh tasks` lists them')
    registry.load(names, {**overrides, **{key: values[0] for key, values in grid.items()}})
    load_tensorflow()
    from electra_zh.finetuning import results, run

    request = run.Request(
        model=args.model,
        tasks=names,
        data=args.data,
        output=args.output,
        overrides=overrides,
        grid=grid,
        trials=args.trials,
        joint=args.joint,
        from_scratch=args.from_scratch,
        checkpoint=args.checkpoint,
        skip_bad=args.skip_bad,
    )
    finished = run.finetune(request)
    for line in results.report(args.output):
        print(line)
    return 0 if finished else 1


def _add_predict(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "predict",
        predict,
        summary="Label new data with a fine-tuned model.",
    )
    command.add_argument("--model", required=True, help="a fine-tuned model, or its task's folder")
    command.add_argument(
        "--input",
        required=True,
        help="a file in the task's form, or .txt with one example a line; - is standard input, "
        "of such lines",
    )
    command.add_argument(
        "--output", required=True, help="the file of JSON lines; - is standard output"
    )
    command.add_argument("--task", help="which task, for a model of several")
    command.add_argument("--reader", help="the form of the input, where it is another")
    command.add_argument("--batch-size", type=int, default=64, help="(%(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace an existing file")
    command.add_argument(
        "--skip-bad", action="store_true", help="leave bad examples out and count them"
    )


def predict(args: argparse.Namespace) -> int:
    """Runs `electra-zh predict`."""
    from electra_zh import files

    if args.output != "-" and files.exists(args.output) and not args.overwrite:
        raise UserError(f"{args.output} exists; --overwrite replaces it")
    if args.input != "-" and not files.exists(args.input):
        raise UserError(f"No such file: {args.input}")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1; received {args.batch_size}")
    load_tensorflow()
    from electra_zh.finetuning.predict import predict as label

    count, problems = label(
        args.model,
        args.input,
        args.output,
        task=args.task,
        reader=args.reader,
        batch_size=args.batch_size,
        skip_bad=args.skip_bad,
    )
    for line in problems.lines():
        print(line, file=sys.stderr)
    if args.output != "-":
        print(f"{count:,} predictions in {args.output}")
    return 0


def _add_submission(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "submission",
        submission,
        summary="Check the test predictions and pack them as the CLUE leaderboard takes them.",
    )
    command.add_argument("results", metavar="OUTPUT", help="the folder of `electra-zh finetune`")
    command.add_argument("--team", required=True, help="the team's name, in the zip's name")
    command.add_argument("--task", help="only these tasks, with commas between them")
    command.add_argument("--output", help="the zip to write; submit_TEAM_DATE.zip in OUTPUT")


def submission(args: argparse.Namespace) -> int:
    """Runs `electra-zh submission`."""
    from electra_zh.finetuning.submission import submission as pack

    names = [name for name in (args.task or "").split(",") if name]
    report = pack(args.results, team=args.team, date=None, target=args.output, task_names=names)
    for line in report.lines():
        print(line)
    return 0
