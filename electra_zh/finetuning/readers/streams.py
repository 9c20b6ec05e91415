r"""Lines and JSON of files, as records with their places.

Lines end at "\n" only: JSON strings may contain U+2028 and other characters that Python's own line
splitting breaks at.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Record(NamedTuple):
    """One record of a file and its place.

    Attributes:
      value: a line, the cells of a row, or a JSON value; a `BadExampleError` if it is unreadable.
      place: `FILE, line N` or the like.
    """

    value: Any
    place: str


def read_lines(path: str) -> Iterator[Record]:
    """Yields the lines of a file, streaming, without line ends and byte order mark.

    A file whose name ends in `.gz` is unpacked. Bytes that are not UTF-8 become surrogates, which
    `check_text` refuses.

    Raises:
      UserError: the file is missing, empty, or damaged.
    """
    number = 0
    for number, raw in enumerate(_raw_lines(path), 1):
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        yield Record(line.removeprefix("\ufeff") if number == 1 else line, f"{path}, line {number}")
    if not number:
        raise UserError(f"{path} is empty")


def read_text_lines(path: str) -> Iterator[Record]:
    """Yields the lines of a file as `read_lines` does, without those that are blank."""
    return (line for line in read_lines(path) if line.value.strip())


def read_json_lines(path: str) -> Iterator[Record]:
    """Yields the JSON objects of a file, one per line that is not blank."""
    for line, place in read_text_lines(path):
        try:
            yield Record(parse_object(line), place)
        except BadExampleError as error:
            yield Record(error, place)


def _raw_lines(path: str) -> Iterator[bytes]:
    with files.open_read(path) as file:
        if not path.endswith(".gz"):
            yield from file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield from unpacked
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked: {error}") from None


def check_text(*texts: str) -> None:
    """Checks that the texts of a line were UTF-8.

    Raises:
      BadExampleError: one was not.
    """
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise BadExampleError("not UTF-8 text") from None


def parse_object(line: str) -> dict[str, Any]:
    """Returns the JSON object of a line.

    Raises:
      BadExampleError: it is not a JSON object.
    """
    check_text(line)
    try:
        value = _parse(line)
    except (ValueError, RecursionError) as error:
        raise BadExampleError("not valid JSON", _reason(error)) from None
    if not isinstance(value, dict):
        raise BadExampleError("not a JSON object", line[:40])
    return value


def read_json(path: str) -> Any:
    """Returns the value of a file that is one JSON value.

    Raises:
      UserError: the file is missing, empty, or not JSON; the message has the line.
    """
    text = files.read_text(path).removeprefix("\ufeff")
    if not text.strip():
        raise UserError(f"{path} is empty")
    try:
        return _parse(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{line}: not valid JSON: {_reason(error)}") from None


def _parse(text: str) -> Any:
    value = json.loads(text)
    if _SURROGATE.search(text):
        # No results file could hold half of a surrogate pair (`\ud83d` alone).
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is not a character") from None
    return value


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def text_of(value: Mapping[str, Any], field: str) -> str:
    """Returns the text in a field of a JSON object.

    Raises:
      BadExampleError: there is no text.
    """
    if not isinstance(value.get(field), str):
        keys = ", ".join(value) or "none"
        raise BadExampleError(f'no text in the field "{field}"', f"the fields are {keys}")
    return str(value[field])


def is_texts(value: Any, *, at_least: int = 0) -> TypeGuard[list[str]]:
    """Returns whether a JSON value is a list of texts with a minimum length."""
    return (
        isinstance(value, list)
        and len(value) >= at_least
        and all(isinstance(text, str) for text in value)
    )
