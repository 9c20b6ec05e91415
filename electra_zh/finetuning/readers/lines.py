r"""Lines and JSON of files, with their places.

Lines end at "\n" only: strings of JSON hold U+2028 and other characters that Python's own line
splitting breaks at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Line(NamedTuple):
    """One line of a file: its text without the line end, and `FILE, line N`."""

    text: str
    place: str


def read_lines(path: str, problems: BadExamples) -> Iterator[Line]:
    """Yields the lines of a UTF-8 file, streaming; a byte order mark and "\\r" ends are dropped.

    Raises:
      UserError: there is no such file, or it is empty.
    """
    number = 0
    with files.open_read(path) as file:
        for number, raw in enumerate(file, 1):
            place = f"{path}, line {number}"
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                problems.add(place, "not UTF-8 text", detail=str(error.reason))
                continue
            yield Line(text.rstrip("\n").rstrip("\r"), place)
    if not number:
        raise UserError(f"{path} is empty")


def json_lines(path: str, problems: BadExamples) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields (object, place) of a file of JSON lines; empty lines are passed over."""
    for text, place in read_lines(path, problems):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
            _check_unicode(text, value)
        except (ValueError, RecursionError) as error:
            problems.add(place, "not valid JSON", detail=_reason(error))
            continue
        if not isinstance(value, dict):
            problems.add(place, "not a JSON object", detail=f"{text[:40]}")
            continue
        yield value, place


def whole_json(path: str) -> Any:
    """Reads a file that is one JSON value.

    Raises:
      UserError: there is no such file, it is empty, or it is not JSON; the message has the line.
    """
    text = files.read_text(path).removeprefix("\ufeff")
    if not text.strip():
        raise UserError(f"{path} is empty")
    try:
        value = json.loads(text)
        _check_unicode(text, value)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{line}: not valid JSON: {_reason(error)}") from None
    return value


def _check_unicode(text: str, value: Any) -> None:
    r"""Refuses half of a surrogate pair (`\ud83d` alone): no file of results could hold it."""
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is no character") from None


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)
