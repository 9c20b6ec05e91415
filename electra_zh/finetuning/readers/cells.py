"""Rows of tables: lines split into cells, and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from electra_zh.finetuning.examples import BadExampleError
from electra_zh.finetuning.readers.streams import Record


class Cut(NamedTuple):
    """The separator of cells, and whether quotes enclose cells as in CSV."""

    separator: str
    quoted: bool = False

    def cells(self, line: str) -> list[str]:
        """Returns the cells of a line that is a row of its own."""
        if not self.quoted:
            return line.split(self.separator)
        try:
            return next(csv.reader([line], delimiter=self.separator), [])
        except csv.Error:
            return []


def possible_cuts(line: str, separator: str) -> list[Cut]:
    """Returns the cuts that split a line; `separator` is that of the task, or empty.

    Only CSV has quoting: in the TSV files of GLUE and of the Chinese sets a quote is a character
    like any other. In a TSV file whose first cells are all in quotes it encloses cells, too.
    """
    cells = [cell.strip() for cell in line.split("\t")]
    quoted = all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    cuts = (Cut(separator), Cut("\t", quoted), Cut(",", True), Cut(";", True))
    return [cut for cut in cuts if cut.separator and cut.separator in line]


def split_rows(lines: Iterable[Record], cut: Cut) -> Iterator[Record]:
    """Yields the rows of lines as lists of cells; a row of None for each blank line."""
    if cut.quoted:
        yield from _csv_rows(lines, cut.separator)
        return
    for line in lines:
        yield line._replace(value=None if line.value is None else line.value.split(cut.separator))


def _csv_rows(lines: Iterable[Record], separator: str) -> Iterator[Record]:
    """Yields the records of CSV; a quoted field may span several lines."""
    places: list[str] = []

    def texts() -> Iterator[str]:
        for line, place in lines:
            places.append(place)
            yield f"{line or ''}\n"

    # Cells of any length; the module's own limit is 131,072 characters.
    csv.field_size_limit(2**31 - 1)
    # Strict: a quote that never ends must not swallow the rest of the file unseen.
    reader = csv.reader(texts(), delimiter=separator, strict=True)
    while True:
        places.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Counted as one bad example, the message must say how long it is.
            more = f", {len(places):,} lines in one record" if len(places) > 1 else ""
            yield Record(BadExampleError(f"not valid CSV{more}", str(error)), places[0])
            continue
        if cells is None:
            return
        yield Record(cells or None, places[0])


def is_running(column: Sequence[str]) -> bool:
    """Returns whether cells are numbers that count up by one, as the index of pandas does."""
    if len(column) < 2 or not all(cell.isascii() and cell.isdecimal() for cell in column):
        return False
    numbers = [int(cell) for cell in column]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def are_different(column: Sequence[str]) -> bool:
    """Returns whether cells are different numbers, as the index of a shuffled table."""
    are_numbers = all(cell.isascii() and cell.isdecimal() for cell in column)
    return are_numbers and 1 < len(column) == len(set(column))
