"""The form of a command: a settings class, and a function that does the work."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from electra_zh import messages
from electra_zh.errors import UsageError, did_you_mean
from electra_zh.messages import Style
from electra_zh.settings import COMMAND_LINE, Layer, Settings, load_recipe, place, resolve, setting
from electra_zh.settings.command_line import CommandLine, check_required
from electra_zh.settings.declaration import select
from electra_zh.settings.resolution import find_spellings, short_key

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclasses.dataclass(frozen=True)
class CommonSettings(Settings):
    """Settings of several commands, which are not part of the work itself."""

    config: str | None = setting(
        None, "YAML file with settings of this command; flags override it", metavar="FILE"
    )
    dry_run: bool = setting(False, "check everything and print the plan, but write nothing")
    quiet: bool = setting(
        False, "show only warnings and errors, no progress", flags=("-q",), group="messages"
    )
    verbose: bool = setting(
        False,
        "show the messages of libraries too, such as TensorFlow's",
        flags=("-v",),
        group="messages",
    )
    json_logs: bool = setting(
        False, "write messages and progress as lines of JSON", group="messages"
    )

    def check_together(self) -> None:
        """Checks that the messages are not to be both fewer and more."""
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other")

    def style(self) -> Style:
        """Returns the style of the messages."""
        return Style(self.quiet, self.verbose, self.json_logs)


# Those that every command has.
OF_ALL = ("quiet", "verbose", "json_logs")


@dataclasses.dataclass(frozen=True)
class Call(Generic[AnySettings]):
    """A command as it is called."""

    settings: AnySettings
    overrides: Mapping[str, Any]  # settings that are passed on, of a run or of tasks
    dry_run: bool  # check everything, print the plan, write nothing
    given: frozenset[str] = frozenset()  # keys of the settings that have no default value
    common: CommonSettings = CommonSettings()


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its settings class, and the function that does the work."""

    settings: type[Settings]
    run: Callable[[Call[Any]], int]  # returns the exit code
    overrides: type[Settings] = Settings  # class of the settings that are passed on
    # an override may be for one task or phase alone, `tnews.learning_rate=1e-4`
    prefixed: bool = False
    common: tuple[str, ...] = ()  # names of the `CommonSettings` that the command has
    batch_size: str = ""  # the setting to lower if memory runs out, if there is one


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """Settings of the commands that show or evaluate a pretraining run."""

    model: str = setting(meaning="folder of a pretraining run", positional=True, metavar="RUN")
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )
    json: bool = setting(False, "print JSON")


def parse_call(
    command: Command, parser: argparse.ArgumentParser, words: Sequence[str]
) -> Call[Any]:
    """Returns the call of a command from the words after its name, every value checked.

    Args:
      command: the command.
      parser: an empty parser, for help.
      words: the words.

    Raises:
      UsageError: an unknown or missing setting, or a value of the command line is not allowed.
      UserError: another value is not allowed.
    """
    passed_on = command.overrides
    own, flags, others = make_command_line(command, parser).parse(words)
    overrides = {short_key(passed_on, key): value for key, value in others.items()}
    chosen = resolve(CommonSettings, [Layer(COMMAND_LINE, flags)]).settings
    layers = [Layer(COMMAND_LINE, own)]
    if chosen.config is not None:
        of_file, more = _read_file(command, chosen.config)
        layers, overrides = [of_file, *layers], more | overrides
    check_required(command.settings, [key for layer in layers for key in layer.values])
    resolved = resolve(command.settings, layers)
    return Call(resolved.settings, overrides, chosen.dry_run, frozenset(resolved.origins), chosen)


def make_command_line(command: Command, parser: argparse.ArgumentParser) -> CommandLine:
    """Returns the command line of a command, whose flags are added to an empty parser."""
    common = select(CommonSettings, (*command.common, *OF_ALL))
    classes = [command.settings, common, command.overrides]
    prefixed = command.overrides if command.prefixed else None
    return CommandLine(parser, classes, prefixed=prefixed)


def _read_file(command: Command, path: str) -> tuple[Layer, dict[str, Any]]:
    """Returns the command's settings in a YAML file, and those that are passed on."""
    if not path.endswith((".yaml", ".yml")):
        raise UsageError(f"--config {path}: give the path of a .yaml file")
    own_names, names = find_spellings(command.settings), find_spellings(command.overrides)
    own: dict[str, Any] = {}
    passed_on: dict[str, Any] = {}
    prefixed: dict[str, Any] = {}
    for key, value in load_recipe(path, kind="pretrain").items():
        if key in own_names:
            own[key] = value
        elif key in names:
            passed_on[key] = value
        elif command.prefixed and key.partition(".")[2] in names:
            prefixed[key] = value
        else:
            hint = did_you_mean(key, [*own_names, *names])
            raise UsageError(f'{path}: unknown setting "{key}".{hint}')
    placed = place(command.overrides, passed_on, origin=path)
    short = {short_key(command.overrides, key): value for key, value in placed.items()}
    return Layer(path, place(command.settings, own, origin=path)), short | prefixed


def print_plan(lines: Iterable[str]) -> None:
    """Prints the plan of a command that was called with --dry-run."""
    messages.print_lines([*lines, "Dry run: nothing was written."])


def print_next(*words: str) -> None:
    """Prints the command that usually follows, to standard error; capitals are for the user."""
    messages.hint(f"Next: electra-zh {shlex.join(words)}")
