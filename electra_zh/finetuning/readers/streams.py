r"""Files of task data: lines and JSON values as records with their places.

The content of a file decides its form and compression, never its name (`electra_zh.content`).
Lines end at "\n" only: JSON strings may contain U+2028 and other characters that Python's own line
splitting breaks at.
"""

from __future__ import annotations

import codecs
import functools
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

from electra_zh import content, files
from electra_zh.data import archives
from electra_zh.data.json_values import JsonStream
from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Record(NamedTuple):
    """One record of a file and its place.

    Attributes:
      value: a line, the cells of a row, or a JSON value; a `BadExampleError` if it is unreadable;
        None for a blank line that counts.
      place: `FILE, line N` or the like.
    """

    value: Any
    place: str


class _Bytes(io.RawIOBase):
    """A raw stream of a function that reads up to a number of bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer; fewer bytes than its size are the end."""
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class TaskFile:
    """A file of task data, opened at once and read once, from its beginning to its end.

    Attributes:
      path: its path, in messages.
      head: its first bytes, decompressed.
      form: one of the forms of `electra_zh.content`.
    """

    def __init__(self, path: str) -> None:
        """Opens the file; `-` is standard input.

        Raises:
          UserError: the file is missing, empty, damaged, binary, or in another encoding.
        """
        self.path = "standard input" if path == "-" else path
        file = files.open_read("/dev/stdin" if path == "-" else path)
        stored = io.BufferedReader(cast(Any, _Bytes(file.read)), content.HEAD_BYTES)
        kind = content.compression(stored.peek(1)[:8])
        read = archives.open_reader(cast(Any, stored), kind=kind)
        unpacked = _Bytes(lambda size: archives.read_text(read, size, self.path))
        self._file, self._stream = file, io.BufferedReader(unpacked, content.HEAD_BYTES)
        self.head = self._stream.peek(1)
        if not self.head:
            raise UserError(f"{self.path} is empty")
        self.form = content.recognize(self.head)
        if not self.is_columnar:
            self._check(path)

    def _check(self, path: str) -> None:
        if self.form == content.BINARY:
            is_zip = self.head.startswith(b"PK")
            what = "it is a zip archive, as Excel's are: save it as CSV in UTF-8"
            raise UserError(f"{self.path} is not text: {what if is_zip else 'it has binary data'}")
        if content.encoding(self.head):
            raise UserError(f"{self.path} is not UTF-8: {content.not_utf8(path, self.head)}")

    @property
    def is_columnar(self) -> bool:
        """True for Parquet and Arrow files."""
        return self.form in content.COLUMNAR

    @property
    def is_json(self) -> bool:
        """True for JSON lines, and for JSON values over several lines."""
        return self.form in (content.JSON_LINES, content.JSON)

    @property
    def suffix(self) -> str:
        """The suffix of the name, in lower case, without that of a compression; may be empty."""
        name = archives.strip_suffix(self.path.lower()).rpartition("/")[2]
        return name.rpartition(".")[2] if "." in name else ""

    @functools.cached_property
    def first_lines(self) -> list[str]:
        """The complete lines of the head, which may be blank."""
        text = self.head.decode("utf-8", "replace").removeprefix("\ufeff")
        lines = text.split("\n" if "\n" in text else "\r")
        if len(self.head) >= content.HEAD_BYTES or not lines[-1]:
            lines = lines[:-1] or lines
        return [line.rstrip("\r") for line in lines]

    def begins_with(self, *keys: str) -> bool:
        """Returns whether the first line is a JSON object with these keys."""
        try:
            return set(keys) <= parse_object(self.first_lines[0]).keys()
        except BadExampleError:
            return False

    def lines(self) -> Iterator[Record]:
        """Yields the lines, streaming, without line ends and byte order mark.

        Bytes that are not UTF-8 become surrogates, which `check_text` refuses. Carriage returns end
        lines in a file that has no other line ends, as old programs write it.
        """
        old = b"\r" in self.head.rstrip() and b"\n" not in self.head
        with self._file, self._stream:
            lines = self._stream.read().removesuffix(b"\r").split(b"\r") if old else self._stream
            for number, raw in enumerate(lines, 1):
                line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
                line = line.removeprefix("\ufeff") if number == 1 else line
                yield Record(line, f"{self.path}, line {number}")

    def parts(self) -> Iterator[str]:
        """Yields the text in parts, without byte order mark; as `lines` where it is not UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        with self._file, self._stream:
            for number in itertools.count():
                data = self._stream.read(content.HEAD_BYTES)
                text = decoder.decode(data, final=not data)
                yield text.removeprefix("\ufeff") if number == 0 else text
                if not data:
                    return

    def read_bytes(self) -> bytes:
        """Returns all bytes of the file, decompressed."""
        with self._file, self._stream:
            return self._stream.read()


def read_json_lines(path: str) -> Iterator[Record]:
    """Yields the JSON objects of a file, one per line that is not blank."""
    return (_parsed(line) for line in TaskFile(path).lines() if line.value.strip())


def json_records(file: TaskFile, *, blank_lines: bool = False) -> Iterator[Record]:
    """Yields the JSON objects of JSON lines, of an array, or of values over several lines.

    Args:
      file: the file.
      blank_lines: yield a record of None for each blank line of JSON lines before the last object.
    """
    if file.form == content.JSON:
        yield from _json_values(file)
        return
    lines = with_blanks(file.lines())
    for line in lines:
        if line.value is not None:
            yield _parsed(line)
        elif blank_lines:
            yield line


def with_blanks(lines: Iterator[Record]) -> Iterator[Record]:
    """Yields the lines, blank ones as None; those at the end of the file are skipped."""
    blank: list[Record] = []
    for line in lines:
        if not line.value.strip():
            blank.append(line._replace(value=None))
            continue
        yield from blank
        blank.clear()
        yield line


def _parsed(line: Record) -> Record:
    try:
        return line._replace(value=parse_object(line.value))
    except BadExampleError as error:
        return line._replace(value=error)


def _json_values(file: TaskFile) -> Iterator[Record]:
    """Yields the objects of JSON values or of an array, with the lines where they begin.

    Raises:
      UserError: a value cannot be read; the next one would begin anywhere.
    """
    stream, numbers = JsonStream(file.path), itertools.count(1)
    values = itertools.chain.from_iterable(map(stream.feed, file.parts()))
    for found in itertools.chain(values, stream.feed("", is_last=True)):
        place = f"{file.path}, line {found.line + 1}, item {next(numbers)}"
        yield _parsed(Record(found.text, place))


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


def json_value(file: TaskFile) -> Any:
    """Returns the value of a file that is one JSON value.

    Raises:
      UserError: the file is not JSON; the message has the line.
    """
    text = "".join(file.parts())
    if not text.strip():
        raise UserError(f"{file.path} is empty")
    try:
        check_text(text)
        return _parse(text)
    except (ValueError, RecursionError, BadExampleError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        bad = isinstance(error, BadExampleError)
        reason = str(error) if bad else f"not valid JSON: {_reason(error)}"
        raise UserError(f"{file.path}{line}: {reason}") from None


def _parse(text: str) -> Any:
    value = json.loads(text)
    if _SURROGATE.search(text):
        # No results file could hold half of a surrogate pair (`\ud83d` alone).
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is not a character") from None
    return value


def _reason(error: Exception) -> str:
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


def id_of(value: Mapping[str, Any], number: Any, *, names: Sequence[str] = ("id",)) -> Any:
    """Returns the first id in the fields of an object, or else its number."""
    return next((value[name] for name in names if value.get(name) is not None), number)


def is_texts(value: Any, *, at_least: int = 0) -> TypeGuard[list[str]]:
    """Returns whether a JSON value is a list of texts with a minimum length."""
    return (
        isinstance(value, list)
        and len(value) >= at_least
        and all(isinstance(text, str) for text in value)
    )
