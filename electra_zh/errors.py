"""Errors that are shown to the user as one line, and the parts of messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input. Shown as one line, without a traceback; exit code 1."""


class UsageError(UserError):
    """A mistake in the call of a command: a wrong flag, key or recipe name; exit code 2."""


def install_line(extra: str) -> str:
    """Returns the command that adds an extra to the installed package, in any folder."""
    return f"pip install 'electra-zh[{extra}]'"


def few(names: Iterable[str], most: int = 4) -> str:
    """Returns the first names as a list, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(count: int, noun: str) -> str:
    """Returns a number and its noun, such as `1 line` and `2,000 lines`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Returns ` Did you mean "x"?` for the option nearest to `name`, or an empty string."""
    by_lower = {option.lower().lstrip("-"): option for option in options}
    close = difflib.get_close_matches(name.lower().lstrip("-"), by_lower, n=1, cutoff=0.6)
    return f' Did you mean "{by_lower[close[0]]}"?' if close else ""
