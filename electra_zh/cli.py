"""The command line: parsing, dispatch, and errors as one line.

TensorFlow is imported inside the commands that need it, so `--help` and wrong usage answer at once.
docs/commands.md has the exit codes.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from electra_zh import __version__, files, interrupts, messages
from electra_zh.commands import COMMANDS, load_command
from electra_zh.commands.command import Call, Command, parse_call
from electra_zh.errors import UsageError, UserError, did_you_mean

_DESCRIPTION = (
    "Pretrain and fine-tune ELECTRA for Chinese: vocabulary, data, pretraining, evaluation, CLUE."
)
_EPILOG = "Each setting may be written as --name VALUE or as name=VALUE."
_ALIASES = {"build_tfrecords": "build-data"}
# What the user can do about errors of the operating system.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = {
    errno.EACCES: ". Change its permissions, or give another path",
    errno.EROFS: ". Give a path that can be written",
    **dict.fromkeys(_FULL, ". Free some space, then run the same command again"),
}
# Parts of TensorFlow's messages that name its operations.
_OF_GRAPH = re.compile(r"\{\{.*?\}\} ?| \[Op:\w+\]")
_GLOBAL_FLAGS = ("-h", "--help", "--version")


def main() -> None:
    """Runs the command line; the console script's entry point."""
    # Standard error shows all characters already, those of names that are not UTF-8 too.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Runs the command of the words and returns its exit code."""
    command: Command | None = None
    try:
        interrupts.raise_on_signals()
        with interrupts.explained():
            name = _command_name(words)
            command = load_command(name)
            messages.start()
            call = parse(name, words[1:])
            messages.start(call.common.style())
            # Before JAX is loaded, which shows the errors of TensorFlow's native libraries.
            if call.common.verbose:
                os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            return command.run(call)
    except KeyboardInterrupt:  # Just before it is explained.
        return _fail(str(interrupts.InterruptError()), interrupts.EXIT_CODE)
    except interrupts.InterruptError as error:
        return _fail(str(error), interrupts.EXIT_CODE)
    except UserError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        # The reader of a pipe (head) has closed it: nobody reads a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        return _fail(f"{files.describe_error(error)}{advice}", 1)
    except Exception as error:
        if interrupts.has_come():
            return _fail(str(interrupts.InterruptError()), interrupts.EXIT_CODE)
        message = device_message(error, command) if command else None
        if message is None:
            raise
        return _fail(message, 1)


def _command_name(words: Sequence[str]) -> str:
    """Returns the name of the command; ends the process without a valid one."""
    name = words[0] if words else ""
    if name in ("", "-h", "--help"):
        print(_help())
        sys.exit(0 if name else 2)
    if name == "--version":
        print(f"electra-zh {__version__}")
        sys.exit(0)
    if name.startswith("-"):
        hint = did_you_mean(name.partition("=")[0], _GLOBAL_FLAGS)
        _refuse(f"unknown argument {name} before the command.{hint}")
    name = _ALIASES.get(name, name)
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        _refuse(f'no command "{name}".{hint} Commands: {", ".join(sorted(COMMANDS))}')
    return name


def parse(name: str, words: Sequence[str]) -> Call[Any]:
    """Returns the call of a command; ends the process on help or wrong usage."""
    parser = _Parser(
        prog=f"electra-zh {name}",
        description=COMMANDS[name].summary,
        formatter_class=_HelpFormatter,
        epilog=_epilog(name),
        # No abbreviations: --data must not silently mean --data-something of a later version.
        allow_abbrev=False,
    )
    try:
        return parse_call(load_command(name), parser, words)
    except UsageError as error:
        parser.error(str(error))


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help for a terminal of 80 columns, with room for long flags, and an epilog in lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def _format_usage(self, *arguments: Any) -> str:
        usage = super()._format_usage(*arguments).strip()
        return "\n".join(_wrap_command(usage, 79, rest=" " * 11)) + "\n\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Returns the meaning of a flag as lines; names with hyphens are not broken."""
        return messages.wrap(" ".join(text.split()), width)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Returns the spellings of a flag with one placeholder, after the last."""
        if action.nargs == 0 or not action.option_strings:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _wrap_command(text: str, most: int, *, first: str = "", rest: str) -> list[str]:
    """Returns a command as lines; a flag and its value stay on one line."""
    joined = re.sub(r"(--[\w-]+) (?!-)", "\\1\0", text)
    lines = messages.wrap(joined, most, first=first, rest=rest)
    return [line.replace("\0", " ") for line in lines]


def _epilog(name: str) -> str:
    """Returns the end of a command's help: its examples, for a terminal of 80 columns."""
    wrapped = (
        _wrap_command(f"electra-zh {each}", 77, first="  ", rest="      ")
        for each in COMMANDS[name].examples
    )
    examples = [" \\\n".join(lines) for lines in wrapped]
    return "\n".join(["examples:", *examples, "", _EPILOG])


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit code 2."""
        _refuse(message, self.prog)


def _refuse(message: str, prog: str = "electra-zh") -> NoReturn:
    message = message.rstrip(".")
    end = "" if message.endswith("?") else "."
    print(f"{prog}: error: {message}{end} See `{prog} --help`.", file=sys.stderr)
    sys.exit(2)


def _fail(message: str, code: int) -> int:
    messages.error(message)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: electra-zh [--help] [--version] COMMAND [settings]",
        "",
        *messages.wrap(_DESCRIPTION, 79),
    ]
    for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
        lines += ["", f"{group}:"]
        for name, entry in COMMANDS.items():
            if entry.group == group:
                start = f"  {name:{width}s}  "
                rest = " " * len(start)
                lines += messages.wrap(entry.summary, 79, first=start, rest=rest)
    lines += ["", "`electra-zh COMMAND --help` explains a command, with examples."]
    return "\n".join([*lines, "A first run, in minutes: electra-zh demo"])


def device_message(error: Exception, command: Command) -> str | None:
    """Returns one line for an error of TensorFlow's runtime (memory, disks), or None."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    message = _OF_GRAPH.sub("", str(error.message)).strip()
    first_line = message.partition("\n")[0]
    full = next((each for each in _FULL if os.strerror(each) in message), None)
    if full is not None:  # TensorFlow has one error for memory and disks
        path, semicolon, _ = files.final_path(first_line).partition("; ")
        return f"{os.strerror(full)}{f': {path}' if semicolon else ''}{_ADVICE[full]}"
    if isinstance(error, tensorflow.errors.ResourceExhaustedError):
        advice = f" Try a smaller {command.batch_size}." if command.batch_size else ""
        return f"out of memory: {first_line}.{advice}"
    return f"{type(error).__name__}: {first_line}"
