"""Messages to standard error: log lines, hints and errors, above a running progress bar.

`start` says how much is shown, and whether each message is a line of JSON. Results of commands are
printed to standard output and are not messages.
"""

from __future__ import annotations

import json
import logging as python_logging
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TextIO

from absl import logging


class Style(NamedTuple):
    """The messages that are shown."""

    quiet: bool = False  # only warnings and errors, no progress
    verbose: bool = False  # the messages of TensorFlow, too
    as_json: bool = False  # each message is a JSON object on a line


# What a line may be broken between: words, spaces, and Chinese characters with their punctuation.
_WIDE = "\u2e80-\uffef\U00020000-\U0003ffff"
_PIECES = re.compile(rf"\s+|[{_WIDE}][，。；：！？、）》」』”]*|[^\s{_WIDE}]+")

# The indentation of a result, and its label, which spaces divide from the rest.
_LABEL = re.compile(r" *(?:[^ ]+(?: [^ ]+)?  +)?")

# Libraries whose messages are shown with --verbose.
_OF_LIBRARIES = re.compile("/(tensorflow|matplotlib)/")
# Columns of a terminal that the last column of a table needs next to the others.
_LEAST_ROOM = 24

_style = Style()


def style() -> Style:
    """Returns the style that `start` has set."""
    return _style


def start(chosen: Style = Style()) -> None:  # noqa: B008 - an immutable value
    """Shows the log of this process in a style, in place of an earlier one."""
    global _style
    _style = chosen
    # Not absl's own handler: it writes into a bar.
    root = python_logging.root
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler())
    level = python_logging.WARNING if chosen.quiet else python_logging.INFO
    logging.get_absl_logger().setLevel(level)


def hint(text: str) -> None:
    """Shows a hint, such as the command that usually follows."""
    if not _style.quiet:
        write(_as_json(time.time(), "info", text) if _style.as_json else text)


def error(text: str) -> None:
    """Shows the error that ends the command."""
    as_json = _style.as_json
    write(_as_json(time.time(), "error", text) if as_json else f"electra-zh: error: {text}")


def write(text: str) -> None:
    """Writes a line to standard error, above a running progress bar."""
    tqdm = sys.modules.get("tqdm.std")
    if tqdm is not None and getattr(tqdm.tqdm, "_instances", None):
        tqdm.tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


def _as_json(moment: float, level: str, message: str, **more: object) -> str:
    time_text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))
    found = {"time": time_text, "level": level, "message": message, **more}
    return json.dumps(found, ensure_ascii=False)


class _Handler(python_logging.Handler):
    """Writes the records of all loggers, without those of large libraries."""

    def emit(self, record: python_logging.LogRecord) -> None:
        if _OF_LIBRARIES.search(record.pathname) and not _style.verbose:
            return
        message = record.getMessage()
        if _style.as_json:
            progress = getattr(record, "progress", None)
            more = {"progress": progress} if progress else {}
            write(_as_json(record.created, record.levelname.lower(), message, **more))
            return
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        rest = " " * (len(moment) + 1)
        write("\n".join(wrap(f"{moment} {message}", _columns(sys.stderr), rest=rest)))


def _columns(stream: TextIO) -> int:
    """Returns the columns for a line of a terminal; a file or a pipe has any number."""
    return max(60, shutil.get_terminal_size().columns - 1) if stream.isatty() else sys.maxsize


def width(text: str) -> int:
    """Returns the columns of a terminal that a text takes; Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def wrap(text: str, most: int, *, first: str = "", rest: str = "") -> list[str]:
    """Returns a text as lines of at most `most` columns, which begin with `first` and `rest`.

    A line is broken at spaces and next to Chinese characters, and a longer word is not broken.
    """
    lines, line, is_empty = [], first, True
    for piece in _PIECES.findall(text):
        if not is_empty and width(line + piece.rstrip()) > most:
            lines.append(line.rstrip())
            line, is_empty = rest, True
        if not (is_empty and piece.isspace()):
            line, is_empty = line + piece, False
    return [*lines, line.rstrip()]


def print_lines(lines: Iterable[str]) -> None:
    """Prints a command's results, wrapped to the width of a terminal if they are for one.

    The rest of a line is below its beginning, to the right of a label.
    """
    most = _columns(sys.stdout)
    for line in lines:
        start = _LABEL.match(line)[0]  # type: ignore[index]
        rest = " " * width(start) if start.strip() else f"{start}    "
        print(*wrap(line[len(start) :], most, first=start, rest=rest), sep="\n")


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields rows as lines of aligned columns, of the width of a terminal if they are for one.

    The last column is wrapped; where it has little room, it begins on a line of its own.
    """
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    most = _columns(sys.stdout)
    indent = sum(widths) + 2 * len(widths)
    for *cells, last in rows:
        pairs = zip(cells, widths, strict=True)
        start = "".join(cell + " " * (most_wide - width(cell) + 2) for cell, most_wide in pairs)
        if most - indent < _LEAST_ROOM and width(last) > most - indent:
            yield start.rstrip()
            yield from wrap(last, most, first="    ", rest="    ")
        else:
            yield from wrap(last, most, first=start, rest=" " * indent)
