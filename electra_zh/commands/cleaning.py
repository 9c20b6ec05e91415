"""The command that cleans a corpus."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from electra_zh.commands.flags import add_command, add_input_flags

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    command = add_command(subparsers, "clean", clean, summary="Clean a corpus before build-data.")
    add_input_flags(command)
    command.add_argument("--output", required=True, help="the folder to write")
    _add_settings(command)
    command.add_argument(
        "--processes", dest="num_processes", type=int, help="worker processes; default: the cores"
    )
    command.add_argument("--overwrite", action="store_true", help="replace cleaned text")


def _add_settings(command: argparse.ArgumentParser) -> None:
    from electra_zh.data.cleaning.settings import CleanSettings
    from electra_zh.settings import declared

    rules = command.add_argument_group("rules")
    for setting in declared(CleanSettings):
        name, group = setting.name, rules if setting.declaration.group else command
        if name not in ("compress", "unicode", "to_simplified") and group is command:
            continue
        options: dict[str, Any] = {"default": setting.default}
        text = setting.declaration.meaning.replace("%", "%%")
        if setting.type is bool:
            options["action"] = "store_true"
        elif setting.default == ():
            options |= {"nargs": "+", "action": "extend", "default": []}
        else:
            kinds = {int: int, float: float, float | None: float}
            options["type"] = kinds.get(setting.type, str)
            text += " (%(default)s)" if setting.default is not None else ""
        if setting.declaration.metavar:
            options["metavar"] = setting.declaration.metavar
        group.add_argument(f"--{name.replace('_', '-')}", help=text, **options)


def clean(args: argparse.Namespace) -> int:
    """Runs `electra-zh clean`."""
    from electra_zh import progress
    from electra_zh.data.cleaning import run
    from electra_zh.data.cleaning.report import summary_lines
    from electra_zh.data.cleaning.settings import CleanSettings
    from electra_zh.settings import declared

    names = {setting.name for setting in declared(CleanSettings)} & set(vars(args))
    values: dict[str, Any] = {name: getattr(args, name) for name in names}
    values |= {"inputs": tuple(args.input), "decontaminate": tuple(args.decontaminate)}
    for line in summary_lines(run.clean(CleanSettings(**values), show=progress.show)):
        print(line)
    return 0
