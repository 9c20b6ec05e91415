"""Examples of one text or a pair: JSON lines, and tables with or without a header."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError, TextExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.streams import Record, check_text, is_texts, read_lines


class JsonLines(ExampleReader, name="json_lines"):
    """JSON lines. A list of texts, as keywords, is joined; labels of any type become text."""

    example_type = TextExample
    fields_type = Fields
    fields: Fields

    def _example(self, record: Record, number: int) -> TextExample:
        values = self._values(record.value)
        identity, label = values.get("id"), self.fields.usual_label(values.get("label"))
        identity = number if identity is None else identity
        return TextExample(identity, values["text_a"], values.get("text_b"), label, record.place)

    def _values(self, value: Any) -> dict[str, Any]:
        """Returns field to value of a record."""
        texts = {field: self._text(value, field) for field in self.fields.texts()}
        others = {field: _first(value, self.fields.names(field)) for field in ("id", "label")}
        return {**texts, **others}

    def _text(self, value: Mapping[str, Any], name: str) -> str:
        names = self.fields.names(name)
        found = _first(value, names)
        if is_texts(found):
            return self.fields.join.join(found)
        if isinstance(found, str):
            return found
        if found is None:
            keys = ", ".join(value) or "none"
            raise BadExampleError(f"no field {_either(names)}", f"the fields are {keys}")
        received = json.dumps(found, ensure_ascii=False)[:40]
        raise BadExampleError(f"field {_either(names)} is not text", f"received {received}")


def _first(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((value[name] for name in names if name in value), None)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


class Table(JsonLines, name="table"):
    """A table, one example per line.

    The separator is a TAB if the first line has one, otherwise a comma if the file's name ends in
    `.csv`. Only CSV has quoting: in the TSV files of GLUE and of the Chinese sets a quote is a
    character like any other. In lines with more columns than the first, the last column takes the
    rest, except if it is the label. A file whose name ends in `.json` or `.jsonl` is read as JSON
    lines.

    A table has a header if its first line contains one of the fields' names. Without a header, test
    and new data with as many columns as the task has texts are those texts; otherwise the first of
    the fields' `columns` whose label column contains a label in the first line is used.
    """

    def _records(self) -> Iterator[Record]:
        if self.path.lower().endswith((".json", ".jsonl")):
            yield from super()._records()
            return
        rows, self._separator = _split_cells(self.path, self.fields.separator)
        first = next(rows, None)
        if first is None:
            return
        if isinstance(first.value, BadExampleError):
            raise UserError(f"{first.place}: {first.value}")
        self._columns = self._named_columns(first)
        is_header = bool(self._columns)
        self._columns = self._columns or self._chosen_columns(first)
        # Of a column in `only`, rows with another value are skipped.
        only = self._columns.pop("only", -1)
        self._needed = 1 + max(self._columns.values())
        self._width = max(self._needed, len(first.value))
        columns = f"columns {', '.join(first.value)}" if is_header else f"{self._width} columns"
        self._has = f"found {columns}"
        for row in rows if is_header else itertools.chain([first], rows):
            cells = row.value
            if not (isinstance(cells, list) and 0 <= only < len(cells)) or (
                cells[only].strip() in self.fields.only.values()
            ):
                yield row

    def _named_columns(self, first: Record) -> dict[str, int]:
        """Returns field to column by the names in the first row; empty if it is not a header."""
        fields = self.fields
        cells = [cell.strip() for cell in first.value]
        header = {cell.lower(): column for column, cell in reversed(list(enumerate(cells)))}
        columns: dict[str, int] = {}
        for field in (*fields.NAMED, "only"):
            column = _first(header, [name.lower() for name in fields.names(field)])
            if column is not None:
                columns[field] = column
        if not columns.keys() - {"only"}:
            return {}
        for field in (*fields.texts(), *(["label"] if self.labelled else [])):
            if field not in columns:
                what = f"no column {_either(fields.names(field))} ({field})"
                hint = ". Is this a test file?" if field == "label" else ""
                found = ", ".join(cells)
                raise UserError(f"{first.place}: {what}; the columns are {found}{hint}")
        return columns

    def _chosen_columns(self, first: Record) -> dict[str, int]:
        """Returns field to column for a table without a header."""
        cells, texts = first.value, self.fields.texts()
        if not self.labelled and len(cells) == len(texts):
            return {name: column for column, name in enumerate(texts)}
        if not self.fields.columns:
            raise UserError(
                f"{first.place}: no header: none of the {len(cells)} columns is named "
                f"{_either(self.fields.text_a)} (text_a); rename a column, or give the order of "
                "the columns in the task file, as columns: [[text_a, label]] among the fields"
            )
        layouts = [
            {name: column for column, name in enumerate(names) if name != "_"}
            for names in self.fields.columns
        ]
        fitting = [columns for columns in layouts if self._fits(columns, cells)]
        if not self.task.labels.names and self.task.kind != "regression":
            # Labels that are not known yet are shorter than texts.
            fitting.sort(key=lambda columns: len(cells[columns["label"]]))
        return (fitting or layouts)[0]

    def _fits(self, columns: Mapping[str, int], cells: Sequence[str]) -> bool:
        """Returns whether the label column contains a label."""
        if "label" not in columns or max(columns.values()) >= len(cells):
            return False
        label, labels = cells[columns["label"]].strip(), self.task.labels
        if self.task.kind == "regression":
            try:
                float(label)
            except ValueError:
                return False
            return True
        known = (*labels.names, *labels.drop, *self.fields.aliases)
        return not labels.names or label in known

    def _values(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return super()._values(value)
        cells = self._fitted(value)
        check_text(*cells)
        values = {field: cells[column] for field, column in self._columns.items()}
        return {**values, "id": _plain_id(values.get("id", "").strip())}

    def _fitted(self, cells: list[str]) -> list[str]:
        """Returns the cells of a row, the rest of a longer one in the last column."""
        if len(cells) < self._needed:
            detail = f"expected at least {self._needed}, found {len(cells)}"
            raise BadExampleError("too few columns", detail)
        last = self._width - 1
        if len(cells) <= self._width:
            return cells
        if self._columns.get("label") == last and self.split != "new":
            detail = f"expected {self._width}, the last the label; found {len(cells)}"
            raise BadExampleError("too many columns", detail)
        return [*cells[:last], self._separator.join(cells[last:])]

    def _found(self, record: Record) -> str:
        return self._has if isinstance(record.value, list) else super()._found(record)


def _plain_id(text: str) -> int | str | None:
    """Returns an id as JSON would have it: a number if it is written as one; None for ""."""
    is_number = text.isascii() and text.isdecimal() and str(int(text)) == text
    return int(text) if is_number else text or None


def _split_cells(path: str, separator: str) -> tuple[Iterator[Record], str]:
    """Returns the rows of a table, the header included, and the separator of the first line."""
    source = read_lines(path)
    first = next((line for line in source if line.value.strip()), None)
    if first is None:
        return iter(()), "\t"
    lines = itertools.chain([first], source)
    if not separator or separator not in first.value:
        separator = "\t"
        if path.lower().endswith(".csv") and "\t" not in first.value:
            return _csv_rows(lines), ","
    rows = (Record(text.split(separator), place) for text, place in lines if text.strip())
    return rows, separator


def _csv_rows(lines: Iterable[Record]) -> Iterator[Record]:
    """Yields the records of CSV; a quoted field may span several lines."""
    places: list[str] = []

    def texts() -> Iterator[str]:
        for line, place in lines:
            places.append(place)
            yield line + "\n"

    # Cells of any length; the module's own limit is 131,072 characters.
    csv.field_size_limit(2**31 - 1)
    # Strict: a quote that never ends must not swallow the rest of the file unseen.
    reader = csv.reader(texts(), strict=True)
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
        if cells:
            yield Record(cells, places[0])
