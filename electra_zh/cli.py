"""The command line: parsing, dispatch, and errors as one line.

TensorFlow is imported inside the commands that need it, so `--help` and wrong usage answer at once.
Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import logging as python_logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, logging
from absl.flags import argparse_flags

from electra_zh import __version__, commands
from electra_zh.config import UsageError, UserError, did_you_mean

_OVERRIDE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*=")
_DESCRIPTION = (
    "Pretrain and fine-tune ELECTRA for Chinese: vocabulary, data, pretraining, evaluation, CLUE."
)
_EPILOG = "`electra-zh COMMAND --help` explains a command."


class _Parser(argparse_flags.ArgumentParser):
    """A parser whose errors are one line that names the nearest flag or command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message.rstrip('.')}. See `{self.prog} --help`.\n")
        raise AssertionError("exit returned")


def main() -> None:
    """Runs the command line; the console script's entry point."""
    app.run(_run, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _make_parser()
    known = next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    assert isinstance(known, dict)
    name = next((word for word in argv[1:] if not word.startswith("-")), None)
    if name is not None and name not in known:
        shown = ", ".join(sorted(known))
        parser.error(f'no command "{name}".{did_you_mean(name, known)} Commands: {shown}.')
    args, extra = parser.parse_known_args(argv[1:])
    if args.command is None:
        parser.print_help()
        parser.exit(2)
    # argparse takes only the first group of a list of words; they may stand between flags too.
    words = getattr(args, "overrides", getattr(args, "text", None))
    wrong = [word for word in extra if words is None or word.startswith("-")]
    if hasattr(args, "overrides"):
        wrong += [word for word in extra if not _OVERRIDE.match(word) and word not in wrong]
    if wrong:
        flags = known[args.command]._option_string_actions
        hint = did_you_mean(wrong[0].partition("=")[0], flags) if wrong[0].startswith("-") else ""
        known[args.command].error(f"unknown argument {wrong[0]}.{hint}")
    if words is not None:
        words += extra
    return args


def _run(args: argparse.Namespace) -> int:
    logging.use_absl_handler()
    handler = logging.get_absl_handler()
    handler.setFormatter(python_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: "/tensorflow/" not in record.pathname)
    logging.set_stderrthreshold("info")
    logging.set_verbosity(logging.INFO)
    command: Callable[[argparse.Namespace], int] = args.run
    try:
        return command(args)
    except UserError as error:
        print(f"electra-zh: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:
        # The reader of a pipe (head) has gone: nothing to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"electra-zh: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("electra-zh: interrupted", file=sys.stderr)
        return 1
    except Exception as error:
        message = _device_message(error)
        if message is None:
            raise
        print(f"electra-zh: error: {message}", file=sys.stderr)
        return 1


def _device_message(error: Exception) -> str | None:
    """Returns one line for an error of TensorFlow's runtime (memory, damaged records), or None."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    first_line = str(error.message).strip().splitlines()[0]
    if isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return f"out of memory: {first_line}. Try a smaller train_batch_size."
    if isinstance(error, tensorflow.errors.DataLossError):
        return f"damaged data: {first_line}. Build the data again."
    return f"{type(error).__name__}: {first_line}"


def _make_parser() -> _Parser:
    parser = _Parser(prog="electra-zh", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"electra-zh {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_build_vocab(subparsers)
    _add_build_data(subparsers)
    _add_pretrain(subparsers)
    _add_evaluate(subparsers)
    _add_fill_mask(subparsers)
    _add_detect(subparsers)
    _add_tasks(subparsers)
    _add_finetune(subparsers)
    _add_predict(subparsers)
    _add_submission(subparsers)
    _add_convert(subparsers)
    _add_demo(subparsers)
    return parser


def _add_command(
    subparsers: argparse._SubParsersAction[_Parser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    # No abbreviations: --data must not silently mean --data-something of a later version.
    command = subparsers.add_parser(
        name,
        aliases=list(aliases),
        help=summary,
        description=summary,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    return command


def _add_tokenizer_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--no-lower-case", action="store_true", help="keep capitals (accents are kept then too)"
    )
    command.add_argument("--keep-accents", action="store_true", help="lower-case but keep accents")


def _add_input_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "input",
        nargs="+",
        help="files, folders or globs: .txt, .gz, .xz, .zst, .jsonl; one sentence or paragraph a "
        "line, a blank line between documents",
    )
    command.add_argument(
        "--text-field", default="text", help="the field of .jsonl records (%(default)s)"
    )
    command.add_argument("--strict", action="store_true", help="stop at the first bad line")


def _add_build_vocab(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "build-vocab",
        commands.build_vocab,
        summary="Learn a WordPiece vocabulary from text.",
    )
    _add_input_flags(command)
    command.add_argument("--output", required=True, help="the vocabulary file to write")
    command.add_argument("--size", type=int, default=21128, help="number of tokens (%(default)s)")
    command.add_argument("--overwrite", action="store_true", help="replace an existing file")
    _add_tokenizer_flags(command)


def _add_build_data(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "build-data",
        commands.build_data,
        summary="Build pretraining data (TFRecord shards) from text.",
        aliases=["build_tfrecords"],
    )
    _add_input_flags(command)
    command.add_argument("--vocab", required=True, help="the vocabulary file")
    command.add_argument("--output", required=True, help="the folder to write")
    command.add_argument(
        "--max-seq-length", type=int, default=128, help="tokens of a sequence (%(default)s)"
    )
    command.add_argument(
        "--packing",
        choices=["full", "reference"],
        default="full",
        help="full keeps every token; reference is the official example builder, which cuts off",
    )
    command.add_argument("--num-shards", type=int, help="chosen from the corpus unless given")
    command.add_argument("--gzip", action="store_true", help="compress the shards")
    command.add_argument(
        "--seed", type=int, default=0, help="same input and seed, same bytes (%(default)s)"
    )
    command.add_argument("--processes", type=int, help="worker processes; unless given, the cores")
    command.add_argument(
        "--holdout-every", type=int, help="keep one document in so many apart, in OUTPUT/heldout"
    )
    command.add_argument(
        "--map-punctuation",
        action="store_true",
        help="map punctuation that the vocabulary lacks (curly quotes, dashes, ellipsis) to ASCII",
    )
    command.add_argument("--overwrite", action="store_true", help="replace a finished folder")
    _add_tokenizer_flags(command)


def _add_pretrain(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "pretrain",
        commands.pretrain,
        summary="Pretrain a generator and a discriminator; started again, it goes on.",
    )
    command.add_argument("--config", help="a recipe (nano, tiny, small, ...) or a .yaml file")
    command.add_argument("--data", required=True, help="folder of build-data, or of shards")
    command.add_argument("--output", required=True, help="the run's folder")
    command.add_argument("--eval-data", help="held-out data, evaluated at every checkpoint")
    command.add_argument("--vocab", help="vocabulary file, for shards without a manifest")
    command.add_argument(
        "--init",
        metavar="SOURCE",
        help="a new run starts with the weights of a run, a fine-tuned model, a folder of "
        "Hugging Face or a TF1 checkpoint, ELECTRA or BERT; model=source takes its size too",
    )
    command.add_argument(
        "--init-layers", metavar="LAYERS", help="only these of its layers: first:3, or 0,5,11"
    )
    command.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, as mask_prob=0.2"
    )


def _add_run_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN", help="the folder of a pretraining run")
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a kept step; the last")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_evaluate(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "evaluate",
        commands.evaluate,
        summary="Evaluate a pretraining run on data kept apart.",
    )
    _add_run_flags(command)
    command.add_argument("--data", required=True, help="folder of build-data, or of shards")
    command.add_argument("--batches", type=int, default=0, help="batches at most; 0: all")


def _add_fill_mask(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "fill-mask",
        commands.fill_mask,
        summary="Show the generator's fills for [MASK].",
    )
    _add_run_flags(command)
    command.add_argument("text", nargs="*", help="sentences with [MASK]; none: standard input")
    command.add_argument(
        "--top", type=int, default=5, help="fills shown for each [MASK] (%(default)s)"
    )


def _add_detect(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "detect",
        commands.detect,
        summary="Show each token's probability of having been replaced, by the discriminator.",
    )
    _add_run_flags(command)
    command.add_argument("text", nargs="*", help="sentences; none: standard input")


def _add_tasks(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "tasks",
        commands.tasks,
        summary="List the fine-tuning tasks and groups, and whether their data is there.",
    )
    command.add_argument("--data", help="folder below which the data sets are looked for")


def _add_finetune(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "finetune",
        commands.finetune,
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


def _add_predict(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "predict",
        commands.predict,
        summary="Label new data with a fine-tuned model.",
    )
    command.add_argument("--model", required=True, help="a fine-tuned model, or its task's folder")
    command.add_argument(
        "--input",
        required=True,
        help="a file in the task's form, or .txt with one example a line; - is standard input",
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


def _add_submission(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "submission",
        commands.submission,
        summary="Check the test predictions and pack them as the CLUE leaderboard takes them.",
    )
    command.add_argument("results", metavar="OUTPUT", help="the folder of `electra-zh finetune`")
    command.add_argument("--team", required=True, help="the team's name, in the zip's name")
    command.add_argument("--task", help="only these tasks, with commas between them")
    command.add_argument("--output", help="the zip to write; submit_TEAM_DATE.zip in OUTPUT")


def _add_convert(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "convert",
        commands.convert,
        summary="Write a model in the form of another tool.",
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="a run, a fine-tuned model, a folder of Hugging Face (ELECTRA or BERT), or a TF1 "
        "checkpoint of Google's code (folder or prefix)",
    )
    command.add_argument(
        "--to",
        required=True,
        choices=["huggingface", "google", "saved-model", "onnx"],
        help="folders that transformers loads, a TF1 checkpoint under the reference's names, "
        "a SavedModel or an ONNX file to serve",
    )
    command.add_argument("--output", required=True, help="the folder to write; must not exist")
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a kept step; the last")


def _add_demo(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    command = _add_command(
        subparsers,
        "demo",
        commands.demo,
        summary="Run the whole job on the sample corpus that ships with the package.",
    )
    command.add_argument("--output", default="demo", help="the folder to write (%(default)s)")
