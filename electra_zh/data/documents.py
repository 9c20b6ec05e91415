r"""Text inputs as blocks of lines.

Files are text, JSON, WikiExtractor's output, Parquet or Arrow (`input_files.py`). The result
is blocks of about a megabyte of text: lines joined by "\n", a blank line (only white space) between
documents. The work is cut into units before anything is read, the same for any number of processes.
A unit is read in blocks, so memory does not grow with the corpus.

For speed, good text is never read line by line in Python: a block is decoded at once, and only one
that does not decode is split to find its bad lines. Lines are not stripped: white space at the ends
of a line does not change its tokens.
"""

from __future__ import annotations

import codecs
import html
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from electra_zh import content, files
from electra_zh.data import archives, columnar, input_files
from electra_zh.data.bad_lines import BadLineLog, LinePosition
from electra_zh.data.json_values import JsonStream
from electra_zh.errors import UserError

BLOCK_BYTES = 1 << 20
NOT_UTF8 = "not UTF-8"
NOT_JSON = "not a JSON object"

_MIN_UNIT_BYTES = 2 << 20
_MAX_UNIT_BYTES = 64 << 20
_UNITS = 256
# A cut is moved to the next blank line within this distance, or else to the next line end.
_SEARCH_BYTES = 1 << 20
_MAX_LINE_BYTES = 64 << 20

_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_DOC_END = re.compile(rb"\n</doc>[ \t\r]*\n")
# The lines between the documents of WikiExtractor's output.
_DOC_MARK = re.compile(r"<doc(\s.*)?>|</doc>")
_BOM = "\ufeff"
# Bytes that are not UTF-8, as `surrogateescape` shows them.
_NOT_DECODED = re.compile("[\udc80-\udcff]")


class FileRange(NamedTuple):
    """A range of a file: bytes `start` to `end`, or the complete file if `end` is -1."""

    path: str
    start: int
    end: int
    form: str  # of `content`
    file: int  # Number of the file among the inputs.


@dataclass(frozen=True)
class TextUnit:
    """A unit of text, for one process. The order of units is the order of the inputs."""

    index: int
    ranges: tuple[FileRange, ...]  # In order; no document continues in the next range.
    size: int  # Bytes, as stored.


class Block(NamedTuple):
    r"""Some lines of a unit, joined by "\n", and the stored bytes read since the last block.

    A line of only white space ends a document.
    """

    text: str
    stored_bytes: int


def plan_units(
    inputs: Sequence[input_files.InputFile], *, unit_bytes: int | None = None
) -> tuple[TextUnit, ...]:
    """Cuts the corpus into units of about the same size.

    Large local plain files are cut at blank lines (at any line end if there is no blank line near;
    JSON lines at line ends, WikiExtractor's output between documents), and Parquet between its row
    groups. Small files are grouped. Compressed or remote text, a JSON array or an Arrow file is
    read from its start, so it is not cut.
    The plan depends only on the inputs. By default, the size of a unit is chosen from the size of
    the corpus.
    """
    if unit_bytes is None:
        total = sum(file.size for file in inputs)
        unit_bytes = min(max(total // _UNITS, _MIN_UNIT_BYTES), _MAX_UNIT_BYTES)
    groups: list[list[tuple[FileRange, int]]] = []
    room = -1  # In the last group.
    for number, file in enumerate(inputs):
        weight = file.text_size()
        if weight > unit_bytes and file.can_be_cut():
            cuts = _parquet_cuts if file.form == content.PARQUET else _cuts
            bounds = itertools.pairwise([0, *cuts(file, unit_bytes), file.size])
            groups += [
                [(FileRange(file.path, start, end, file.form, number), end - start)]
                for start, end in bounds
            ]
            room = -1
            continue
        if weight > room:
            groups.append([])
            room = unit_bytes
        groups[-1].append((FileRange(file.path, 0, -1, file.form, number), file.size))
        room -= weight
    units: list[TextUnit] = []
    for group in groups:
        ranges, sizes = zip(*group, strict=True)
        units.append(TextUnit(len(units), ranges, sum(sizes)))
    return tuple(units)


def _cuts(file: input_files.InputFile, unit_bytes: int) -> list[int]:
    """Returns the positions at which a large plain file is cut, without its start and end."""
    cuts: list[int] = []
    position = unit_bytes
    with files.open_read(file.path) as handle:
        # A remainder under half a unit stays with the last one.
        while position < file.size - unit_bytes // 2:
            cut = _boundary(handle, position, file.form)
            if cut >= file.size:
                break
            cuts.append(cut)
            position = max(position, cut) + unit_bytes
    return cuts


def _parquet_cuts(file: input_files.InputFile, unit_bytes: int) -> list[int]:
    """Returns the starts of the row groups at which a large Parquet file is cut."""
    step = unit_bytes * file.size // file.text_size()
    cuts = [0]
    for start in columnar.group_starts(file.path)[1:]:
        if cuts[-1] + step <= start < file.size - step // 2:
            cuts.append(start)
    return cuts[1:]


def _boundary(handle: BinaryIO, position: int, form: str) -> int:
    """Returns the first good position for a cut, from `position` on."""
    base = position - 1
    handle.seek(base)
    if form == content.WIKIEXTRACTOR:
        return _end_of_doc(handle)
    blank = _BLANK_LINE.search(handle.read(_SEARCH_BYTES)) if form == content.TEXT else None
    if blank is not None:
        return base + blank.end()
    handle.seek(base)
    # The end of the line, however long it is.
    while (line := handle.readline(_SEARCH_BYTES)) and not line.endswith(b"\n"):
        pass
    return handle.tell()


def _end_of_doc(handle: BinaryIO) -> int:
    """Returns the position after the next `</doc>`, or the end of the file."""
    held = b""
    while data := handle.read(_SEARCH_BYTES):
        held = held[-_SEARCH_BYTES:] + data
        end = _DOC_END.search(held)
        if end is not None:
            return handle.tell() - len(held) + end.end()
    return handle.tell()


class UnitReader:
    """Reads a unit in blocks; iterate over it once.

    `text_field` of JSON records contains the text. With `strict`, the first bad line is an
    error.

    Attributes:
      bad_lines: the lines skipped.
      text_bytes: bytes of the text, decompressed.
    """

    def __init__(self, unit: TextUnit, *, text_field: str = "text", strict: bool = False) -> None:
        self._unit = unit
        self._text_field = text_field
        self._strict = strict
        self.bad_lines = BadLineLog()
        self.text_bytes = 0

    def __iter__(self) -> Iterator[Block]:
        """Yields the unit's text.

        Raises:
          UserError: an archive is damaged, or, with `strict`, a line is bad.
        """
        texts: list[str] = []
        held = stored = 0
        for each in self._unit.ranges:
            position = each.start
            for text, position_now in self._texts(each):
                texts.append(text)
                held += len(text)
                stored += position_now - position
                position = position_now
                if held >= BLOCK_BYTES // 6:
                    yield Block("\n".join(texts), stored)
                    texts, held, stored = [], 0, 0
            # A blank line: the next range is another document.
            texts.append("")
        yield Block("\n".join(texts), stored)

    def _texts(self, part: FileRange) -> Iterator[tuple[str, int]]:
        """Yields texts of complete lines, and the position in the stored file after each."""
        if part.form == content.JSON:
            yield from self._json_values(part)
            return
        if part.form in content.COLUMNAR:
            yield from self._table_texts(part)
            return
        line = 0
        others = {content.JSON_LINES: self._json_text, content.WIKIEXTRACTOR: self._wiki_text}
        convert = others.get(part.form, self._plain_text)
        for body, position in _chunks(part):
            self.text_bytes += len(body) + 1
            # Parity: TensorFlow's file reading, which the reference uses, drops every "\r".
            body = body.replace(b"\r", b"")
            if line == 0 and part.start == 0:
                body = body.removeprefix(_BOM.encode())
            text = convert(body, part, line)
            line += body.count(b"\n") + 1
            if text is not None:
                yield text, position

    def _plain_text(self, body: bytes, part: FileRange, first_line: int) -> str | None:
        try:
            return body.decode()
        except UnicodeDecodeError:
            lines = [line for _, line in self._good_lines(body, part, first_line)]
            return "\n".join(lines) if lines else None

    def _good_lines(
        self, body: bytes, part: FileRange, first_line: int
    ) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(body.split(b"\n"), first_line):
            try:
                yield number, line.decode()
            except UnicodeDecodeError:
                self._add_bad(NOT_UTF8, part, number)

    def _wiki_text(self, body: bytes, part: FileRange, first_line: int) -> str | None:
        """Returns the lines inside of `<doc>` elements: blank lines inside do not end them."""
        lines: list[str] = []
        for _, line in self._good_lines(body, part, first_line):
            if _DOC_MARK.fullmatch(line.rstrip()):
                lines.append("")
            else:
                lines += _filled_lines(html.unescape(line))
        return "\n".join(lines) if lines else None

    def _json_text(self, body: bytes, part: FileRange, first_line: int) -> str | None:
        documents: list[str] = []
        for number, line in self._good_lines(body, part, first_line):
            if not line or line.isspace():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            documents += self._documents(record, part, number)
        return _joined(documents)

    def _json_values(self, part: FileRange) -> Iterator[tuple[str, int]]:
        """Yields the documents of a file of JSON values."""
        stream = JsonStream(part.path)
        decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        end = part.start
        for data, position in itertools.chain(_blocks(part), [(b"", -1)]):
            end = position if data else end
            self.text_bytes += len(data)
            documents: list[str] = []
            text = decoder.decode(data, not data)
            for value, line, _ in stream.feed(text, is_last=not data):
                # An item of an array of texts is a document.
                record = {self._text_field: value} if isinstance(value, str) else value
                documents += self._documents(record, part, line)
            joined = _joined(documents)
            if joined is not None:
                yield joined, end

    def _table_texts(self, part: FileRange) -> Iterator[tuple[str, int]]:
        """Yields the documents of the rows of a table."""
        end = files.size(part.path) if part.end < 0 else part.end
        with (
            files.open_read(part.path) as file,
            columnar.open_table(
                file, part.path, columns=[self._text_field], start=part.start, end=end
            ) as table,
        ):
            whole, numbers = part._replace(start=0), itertools.count(table.first_row)
            for rows, fraction in table.batches:
                documents: list[str] = []
                for record in rows:
                    documents += self._documents(record, whole, next(numbers))
                joined = _joined(documents)
                if joined is not None:
                    self.text_bytes += len(joined.encode())
                    yield joined, part.start + int(fraction * (end - part.start))

    def _documents(self, record: Any, part: FileRange, line: int) -> Iterator[str]:
        """Yields the document of a record; none for one without text, which is counted."""
        if not isinstance(record, dict):
            self._add_bad(NOT_JSON, part, line)
            return
        text = record.get(self._text_field)
        if isinstance(text, list) and all(isinstance(each, str) for each in text):
            text = "\n".join(text)
        if not isinstance(text, str):
            self._add_bad(f'no text in field "{self._text_field}"', part, line)
            return
        if _NOT_DECODED.search(text):
            self._add_bad(NOT_UTF8, part, line)
            return
        # A record is one document: blank lines inside do not end it.
        if lines := _filled_lines(text.replace("\r", "")):
            yield "\n".join(lines)
        else:  # No error with `strict`, either.
            position = LinePosition(part.file, part.start, line)
            self.bad_lines.add(f'empty text in field "{self._text_field}"', position)

    def _add_bad(self, reason: str, part: FileRange, line: int) -> None:
        position = LinePosition(part.file, part.start, line)
        if self._strict:
            raise UserError(f"{position.show(part.path)}: {reason} (--strict stops at bad lines)")
        self.bad_lines.add(reason, position)


def _filled_lines(text: str) -> list[str]:
    """Returns the lines of a text that are not blank."""
    return [line for line in text.split("\n") if line and not line.isspace()]


def _joined(documents: Sequence[str]) -> str | None:
    return "\n\n".join(documents) + "\n" if documents else None


def _blocks(part: FileRange) -> Iterator[tuple[bytes, int]]:
    """Yields the bytes of a range, decompressed, and the position in the stored file after them."""
    left = part.end - part.start if part.end >= 0 else sys.maxsize
    with files.open_read(part.path) as file:
        if part.start:
            file.seek(part.start)
        read = archives.open_reader(file)
        while data := archives.read_text(read, min(left, BLOCK_BYTES), part.path):
            left -= len(data)
            yield data, file.tell()


def _chunks(part: FileRange) -> Iterator[tuple[bytes, int]]:
    """Yields lines joined by newlines, and the position in the stored file after them."""
    held: list[bytes] = []
    held_bytes = position = 0
    for data, position in _blocks(part):
        cut = data.rfind(b"\n")
        if cut >= 0:
            yield b"".join([*held, memoryview(data)[:cut]]), position
            held, held_bytes = [], 0
        if cut + 1 < len(data):
            held.append(data[cut + 1 :])
            held_bytes += len(held[-1])
            if held_bytes > _MAX_LINE_BYTES:
                raise UserError(
                    f"{part.path} has a line of over {_MAX_LINE_BYTES >> 20} MB. Give text "
                    "with one sentence or paragraph per line"
                )
    if held:
        yield b"".join(held), position
