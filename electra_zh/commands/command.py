"""The form of a command: a settings class, and a function that does the work."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.settings import COMMAND_LINE, Layer, Settings, load_recipe, place, resolve, setting
from electra_zh.settings.command_line import CommandLine, check_required
from electra_zh.settings.resolution import find_spellings, short_key

# Exit code after Ctrl-C or SIGTERM, as the shell's for Ctrl-C.
INTERRUPTED = 130

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclasses.dataclass(frozen=True)
class Call(Generic[AnySettings]):
    """A command as it is called.

    Attributes:
      settings: the command's settings.
      overrides: settings that are passed on, of a pretraining run or of tasks: key to value.
      dry_run: check everything, print the plan, write nothing.
    """

    settings: AnySettings
    overrides: Mapping[str, Any]
    dry_run: bool


@dataclasses.dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
      settings: its settings class.
      run: does the work and returns the exit code.
      overrides: the class of the settings that are passed on; None for none.
      prefixed: an override may be for one task alone, `tnews.learning_rate=1e-4`.
      config_file: the settings may come from a YAML file, --config.
      dry_run: the command has --dry-run.
      batch_size: the setting to lower if memory runs out; empty if there is none.
    """

    settings: type[Settings]
    run: Callable[[Call[Any]], int]
    overrides: type[Settings] | None = None
    prefixed: bool = False
    config_file: bool = False
    dry_run: bool = False
    batch_size: str = ""


@dataclasses.dataclass(frozen=True)
class _ConfigFile(Settings):
    """Flag of the commands that read their settings from a file."""

    config: str | None = setting(
        None, "YAML file with settings of this command; flags override it", metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class _DryRun(Settings):
    """Flag of the commands that can show their plan."""

    dry_run: bool = setting(False, "check everything and print the plan, but write nothing")


class Parsed:
    """The settings of a command as they are given, before their values are checked."""

    def __init__(
        self, command: Command, parser: argparse.ArgumentParser, words: Sequence[str]
    ) -> None:
        """Parses the words after the command's name.

        Raises:
          UsageError: an unknown flag or word, a setting given twice, or a missing one.
        """
        self._command = command
        self._passed_on = command.overrides or Settings
        classes = [
            command.settings,
            _ConfigFile if command.config_file else Settings,
            _DryRun if command.dry_run else Settings,
            self._passed_on,
        ]
        prefixed = self._passed_on if command.prefixed else None
        line = CommandLine(parser, classes, prefixed=prefixed)
        self._own, config, self._flags, overrides = line.parse(words)
        self._overrides = {short_key(self._passed_on, key): each for key, each in overrides.items()}
        self._file = Layer("", {})
        if "config" in config:
            self._file = self._read_file(config["config"])
        check_required(command.settings, [*self._own, *self._file.values])

    def _read_file(self, path: str) -> Layer:
        """Returns the command's settings of a file; those that are passed on are overrides."""
        if not path.endswith((".yaml", ".yml")):
            raise UsageError(f"--config {path}: give the path of a .yaml file")
        own_names = find_spellings(self._command.settings)
        names = find_spellings(self._passed_on)
        own: dict[str, Any] = {}
        passed_on: dict[str, Any] = {}
        prefixed: dict[str, Any] = {}
        for key, value in load_recipe(path, kind="pretrain").items():
            if key in own_names:
                own[own_names[key]] = value
            elif key in names:
                passed_on[key] = value
            elif self._command.prefixed and key.partition(".")[2] in names:
                prefixed[key] = value
            else:
                hint = did_you_mean(key, [*own_names, *names])
                raise UsageError(f'{path}: unknown setting "{key}".{hint}')
        placed = place(self._passed_on, passed_on, origin=path)
        short = {short_key(self._passed_on, key): value for key, value in placed.items()}
        self._overrides = {**short, **prefixed, **self._overrides}
        return Layer(path, own)

    def call(self) -> Call[Any]:
        """Returns the call, every value checked.

        Raises:
          UserError: a value is not allowed.
        """
        layers = [self._file, Layer(COMMAND_LINE, self._own)]
        settings = resolve(self._command.settings, layers).settings
        dry_run = bool(self._flags) and resolve(_DryRun, [Layer("", self._flags)]).settings.dry_run
        return Call(settings, self._overrides, dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """Settings of the commands that show or evaluate a pretraining run."""

    model: str = setting(meaning="folder of a pretraining run", positional=True, metavar="RUN")
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )
    json: bool = setting(False, "print JSON")


def print_plan(lines: Iterable[str]) -> None:
    """Prints the plan of a command that was called with --dry-run."""
    for line in lines:
        print(line)
    print("Dry run: nothing was written.")
