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
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from absl import app, logging
from absl.flags import argparse_flags

from electra_zh import __version__
from electra_zh.commands import cleaning, data, exporting, finetuning, pretraining
from electra_zh.errors import UsageError, UserError, did_you_mean

_OVERRIDE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*=")
_DESCRIPTION = (
    "Pretrain and fine-tune ELECTRA for Chinese: vocabulary, data, pretraining, evaluation, CLUE."
)
_EPILOG = "`electra-zh COMMAND --help` explains a command."


class _Parser(argparse_flags.ArgumentParser):
    """A parser whose errors are one line that names the nearest flag or command."""

    def error(self, message: str) -> NoReturn:
        message = message.rstrip(".")
        end = "" if message.endswith("?") else "."
        self.exit(2, f"{self.prog}: error: {message}{end} See `{self.prog} --help`.\n")
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
    _check_command(parser, argv[1:], known)
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


def _check_command(parser: _Parser, words: Sequence[str], known: Iterable[str]) -> None:
    """Ends with an error unless a known command comes first, or flags that need none."""
    flags = parser._option_string_actions
    name = next((word for word in words if not word.startswith("-")), None)
    for word in words:
        flag = word.partition("=")[0]
        if word == name or flag in ("-h", "--help", "--version"):
            break
        if flag not in flags:
            hint = did_you_mean(flag, flags)
            parser.error(f"unknown argument {word} before the command.{hint}")
    if name is not None and name not in known:
        shown = ", ".join(sorted(known))
        parser.error(f'no command "{name}".{did_you_mean(name, known)} Commands: {shown}.')


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
    parser = _Parser(
        prog="electra-zh", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"electra-zh {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for group in (cleaning, data, pretraining, finetuning, exporting):
        group.add(subparsers)
    return parser
