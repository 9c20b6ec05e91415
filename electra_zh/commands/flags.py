"""What the declarations of all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from electra_zh.text.characters import TokenizerSettings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Adds a command and returns its parser, for its flags.

    Args:
      subparsers: of the command line.
      name: of the command.
      run: does the command and returns its exit code.
      summary: one line, for the help.
      aliases: other names of the command.
    """
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


def add_tokenizer_flags(command: argparse.ArgumentParser) -> None:
    """Adds the flags that say how text is normalised."""
    command.add_argument(
        "--no-lower-case", action="store_true", help="keep capitals (accents are kept then too)"
    )
    command.add_argument("--keep-accents", action="store_true", help="lower-case but keep accents")


def tokenizer_settings(args: argparse.Namespace) -> TokenizerSettings:
    """Returns what the flags of `add_tokenizer_flags` say."""
    from electra_zh.text.characters import TokenizerSettings

    lower_case = not args.no_lower_case
    return TokenizerSettings(
        lower_case=lower_case,
        strip_accents=lower_case and not args.keep_accents,
        map_punctuation=getattr(args, "map_punctuation", False),
    )


def add_input_flags(command: argparse.ArgumentParser) -> None:
    """Adds the input of a command that reads text, and the flags on how it is read."""
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
