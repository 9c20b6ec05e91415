"""The command that prints a shell's completion script, made from the commands' own parsers."""

from __future__ import annotations

import argparse
import dataclasses

from electra_zh import __version__
from electra_zh.commands import COMMANDS as ALL_COMMANDS
from electra_zh.commands import load_command
from electra_zh.commands.command import Call, Command, make_command_line
from electra_zh.settings import Settings, recipe_names, setting

SHELLS = ("bash", "zsh", "fish")
# Placeholders of values that are paths.
_PATHS = (
    *("DIR", "FILE", "RUN", "SOURCE", "DATA", "INPUT", "PROGRAM", "OUTPUT", "LABELS"),
    "DIR[:WEIGHT]",
)


@dataclasses.dataclass(frozen=True)
class Completion(Settings):
    """Settings of `electra-zh completion`."""

    shell: str = setting(
        meaning="shell that reads the script", positional=True, choices=SHELLS, metavar="SHELL"
    )


def completion(call: Call[Completion]) -> int:
    """Prints the completion script of a shell."""
    import shtab

    print(shtab.complete(make_parser(), call.settings.shell))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns one parser of all commands, for completion only."""
    parser = argparse.ArgumentParser("electra-zh")
    parser.add_argument("--version", action="version", version=__version__, help="show the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, entry in ALL_COMMANDS.items():
        command = commands.add_parser(name, help=entry.summary, description=entry.summary)
        make_command_line(load_command(name), command)
        for action in command._actions:
            _complete(name, action)
    return parser


def _complete(command: str, action: argparse.Action) -> None:
    """Gives an argument the values that complete it: files, or names."""
    import shtab

    words = action.metavar if isinstance(action.metavar, str) else ""
    if action.option_strings and action.nargs == "+":
        action.nargs = None  # Else no flag is completed after the flag's values.
    if words in _PATHS:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif words == "RECIPE":
        action.choices = recipe_names("pretrain")
    elif words == "NAMES" and command == "finetune":
        action.choices = recipe_names("finetune")
    elif words == "NAME" and command == "configs":
        action.choices = [
            *(name for kind in ("pretrain", "finetune") for name in recipe_names(kind)),
            *ALL_COMMANDS,
        ]
    elif words == "SHELL":
        action.choices = SHELLS
    elif words.startswith("{"):
        action.choices = [word for word in words.strip("{}").split(",") if word != "FILE"]


COMMANDS = {"completion": Command(Completion, completion)}
