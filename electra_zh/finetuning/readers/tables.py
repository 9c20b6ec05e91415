"""Examples of one text or a pair: JSON lines, and tables with or without a header.

`Fields` are the settings of these forms, given in a task file as

    fields:
      text_a: [sentence1, question1]       # the first name that the file has counts
      text_b: [sentence2, question2]
      columns: [[text_a, text_b, label]]   # without a header

A table has a header if its first line contains one of the names. Otherwise the first of the
`columns` lists whose label column contains a label in the first line is used.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError, TextExample
from electra_zh.finetuning.readers.base import Reader
from electra_zh.finetuning.readers.streams import (
    Record,
    check_text,
    found_keys,
    is_texts,
    parse_object,
    read_lines,
    read_text_lines,
)
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.settings import Settings, build_settings, setting

_NAMED = ("text_a", "text_b", "label", "id")


@dataclasses.dataclass(frozen=True)
class Fields(Settings):
    """Where texts, labels and ids are, in files of texts."""

    text_a: tuple[str, ...] = setting((), "names of the first text, the first one present counts")
    text_b: tuple[str, ...] = setting((), "names of the second text, for pairs")
    label: tuple[str, ...] = setting(("label",), "names of the label")
    id: tuple[str, ...] = setting(("id",), "names of the id")
    columns: tuple[tuple[str, ...], ...] = setting(
        (), "columns of tables without a header, of several layouts; _ is a column to ignore"
    )
    only: Mapping[str, str] = dataclasses.field(default_factory=dict)
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    separator: str = setting("", "separator of the columns, tried before TAB and comma")
    join: str = setting(
        " ", "what joins a list of texts; between Chinese texts a space leaves no token"
    )

    @classmethod
    def of(cls, task: TaskConfig) -> Fields:
        """Returns the fields of a task.

        Raises:
          UserError: an unknown key, another type, or no first text.
        """
        where = f"task {task.name}: fields"
        found = build_settings(cls, _as_lists(task.fields), where=where)
        if not found._has("text_a"):
            raise UserError(f"{where}: text_a is missing; give the name of the text's field")
        for name in itertools.chain(*found.columns):
            if name not in (*_NAMED, "_"):
                allowed = ", ".join((*_NAMED, "_"))
                raise UserError(f'{where}: columns contains "{name}"; allowed: {allowed}')
        return found

    def _has(self, name: str) -> bool:
        return bool(getattr(self, name)) or any(name in layout for layout in self.columns)

    def texts(self) -> tuple[str, ...]:
        """Returns the names of the one or two texts."""
        return ("text_a", "text_b") if self._has("text_b") else ("text_a",)


def _as_lists(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with lists for `name|name|0`, as task files and models had it before.

    `only` and `aliases` were `key=value|key=value`; numbers were columns without a header.
    """
    values = dict(fields)
    numbers: dict[str, list[int]] = {}
    for key in values.keys() & set(_NAMED):
        if isinstance(values[key], str):
            words = [word for word in values[key].split("|") if word]
            values[key] = [word for word in words if not word.isdecimal()]
            numbers[key] = [int(word) for word in words if word.isdecimal()]
    for key in values.keys() & {"only", "aliases"}:
        if isinstance(values[key], str):
            values[key] = dict(pair.split("=", 1) for pair in values[key].split("|") if "=" in pair)
    layouts = []
    for index in range(max(map(len, numbers.values()), default=0)):
        of = {at[min(index, len(at) - 1)]: key for key, at in numbers.items() if at}
        layouts.append([of.get(column, "_") for column in range(max(of) + 1)])
    return {**values, "columns": layouts} if layouts else values


def label_text(value: Any) -> str | None:
    """Returns a label of any JSON type as text (true: `true`, 0: `0`); None if there is none."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None else json.dumps(value, ensure_ascii=False)


def read_label_names(path: str, field: str) -> tuple[str, ...]:
    """Reads the names of labels: one per line, or in a field of JSON lines.

    Raises:
      UserError: a line without the field, a duplicate name, or no name at all.
    """
    names: dict[str, None] = {}
    for line, place in read_text_lines(path):
        try:
            name = label_text(
                parse_object(line).get(field) if line.lstrip().startswith("{") else line
            )
        except BadExampleError as error:
            raise UserError(f"{place}: {error}") from None
        if name is None:
            raise UserError(f'{place}: no label in the field "{field}"')
        if name in names:
            raise UserError(f'{place}: duplicate label "{name}"')
        names[name] = None
    if not names:
        raise UserError(f"{path} contains no labels")
    return tuple(names)


class JsonLines(Reader[TextExample], name="json_lines"):
    """JSON lines. A list of texts, as keywords, is joined; labels of any type become text."""

    example_type = TextExample

    def __init__(self, path: str, task: TaskConfig, *, split: str) -> None:
        """Checks the task's `fields`, see `Fields`."""
        super().__init__(path, task, split=split)
        self.fields = Fields.of(task)

    def records(self) -> Iterator[Record]:
        """Yields the lines."""
        return read_text_lines(self.path)

    def example(self, record: Record, number: int) -> TextExample:
        """Returns the example of a line."""
        value = parse_object(record.value)
        texts = [self._text(value, name) for name in self.fields.texts()]
        identity = _first(value, self.fields.id)
        return TextExample(
            id=number if identity is None else identity,
            text_a=texts[0],
            text_b=texts[1] if len(texts) > 1 else None,
            label=self.usual_label(_first(value, self.fields.label)),
            place=record.place,
        )

    def usual_label(self, value: Any) -> str | None:
        """Returns a label as text, an alias as the label's usual name."""
        label = label_text(value)
        return None if label is None else self.fields.aliases.get(label, label)

    def _text(self, value: Mapping[str, Any], name: str) -> str:
        names = getattr(self.fields, name)
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

    def found(self, record: Record) -> str:
        """Returns the keys of a line."""
        return f"found {found_keys(record.value)}"


def _first(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((value[name] for name in names if name in value), None)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


class Layout(NamedTuple):
    """The columns of a table.

    Attributes:
      header: the first line names the columns.
      columns: field to its column from 0.
      width: columns of the first line, or as many as the layout needs.
    """

    header: bool
    columns: Mapping[str, int]
    width: int

    def needed(self) -> int:
        """Returns the number of columns that a line must have."""
        return 1 + max(self.columns.values())


class Table(JsonLines, name="table"):
    """A table, one example per line.

    The separator is a TAB if the first line has one, otherwise a comma if the file's name ends in
    `.csv`. Only CSV has quoting: in the TSV files of GLUE and of the Chinese sets a quote is a
    character like any other. In lines with more columns than the first, the last column takes the
    rest, except if it is the label. A file whose name ends in `.json` or `.jsonl` is read as JSON
    lines. Without a header, test and new data with as many columns as the task has texts are those
    texts.
    """

    def records(self) -> Iterator[Record]:
        """Yields the rows, each a list of cells; the lines of a file of JSON lines.

        Raises:
          UserError: a column is missing, or nothing says which columns the table has.
        """
        if self.path.lower().endswith((".json", ".jsonl")):
            yield from super().records()
            return
        rows, self._separator = _split_cells(self.path, self.fields.separator)
        first = next(rows, None)
        if first is None:
            return
        self._layout = find_layout(first, self.fields, self.task, split=self.split)
        self._found = (
            f"found columns {', '.join(first.value)}"
            if self._layout.header
            else f"found {len(first.value)} columns"
        )
        # Of a column in `only`, rows with another value are skipped.
        only = self._layout.columns.get("only", -1)
        wanted = next(iter(self.fields.only.values()), "")
        for row in rows if self._layout.header else itertools.chain([first], rows):
            cells = row.value
            other = isinstance(cells, list) and 0 <= only < len(cells)
            if not (other and cells[only].strip() != wanted):
                yield row

    def example(self, record: Record, number: int) -> TextExample:
        """Returns the example of a row, or of a line of JSON."""
        if isinstance(record.value, str):
            return super().example(record, number)
        cells = self._fitted(record.value)
        check_text(*cells)
        values = {name: cells[column] for name, column in self._layout.columns.items()}
        return TextExample(
            id=_plain_id(values.get("id", "").strip(), number),
            text_a=values["text_a"],
            text_b=values.get("text_b"),
            label=self.usual_label(values.get("label")),
            place=record.place,
        )

    def _fitted(self, cells: list[str]) -> list[str]:
        """Returns the cells of a row, the rest of a longer one in the last column."""
        needed, width = self._layout.needed(), self._layout.width
        if len(cells) < needed:
            detail = f"expected at least {needed}, found {len(cells)}"
            raise BadExampleError("too few columns", detail)
        if len(cells) <= width:
            return cells
        if self._layout.columns.get("label") == width - 1 and self.split != "new":
            detail = f"expected {width}, the last the label; found {len(cells)}"
            raise BadExampleError("too many columns", detail)
        return [*cells[: width - 1], self._separator.join(cells[width - 1 :])]

    def found(self, record: Record) -> str:
        """Returns the columns of the table, or the keys of a line of JSON."""
        return super().found(record) if isinstance(record.value, str) else self._found


def _plain_id(text: str, number: int) -> int | str:
    """Returns an id as JSON would have it: a number if it is written as one."""
    if not text:
        return number
    return int(text) if text.isascii() and text.isdecimal() and str(int(text)) == text else text


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


def find_layout(first: Record, fields: Fields, task: TaskConfig, *, split: str) -> Layout:
    """Returns the layout of a table from its first row.

    Raises:
      UserError: a column is missing in the header; there is no header and no layout is given.
    """
    if isinstance(first.value, BadExampleError):
        raise UserError(f"{first.place}: {first.value}")
    labelled = split in ("train", "dev")
    cells = [cell.strip() for cell in first.value]
    header = {cell.lower(): column for column, cell in reversed(list(enumerate(cells)))}
    named = {name: getattr(fields, name) for name in _NAMED} | {"only": tuple(fields.only)}
    columns: dict[str, int] = {}
    for name, words in named.items():
        present = [header[word.lower()] for word in words if word.lower() in header]
        if present:
            columns[name] = present[0]
    if not columns.keys() - {"only"}:
        return _headerless(first, fields, task, labelled=labelled)
    for name in (*fields.texts(), *(["label"] if labelled else [])):
        if name not in columns:
            what = f"no column {_either(getattr(fields, name))} ({name})"
            hint = ". Is this a test file?" if name == "label" else ""
            found = ", ".join(cells)
            raise UserError(f"{first.place}: {what}; the columns are {found}{hint}")
    return Layout(True, columns, len(cells))


def _headerless(first: Record, fields: Fields, task: TaskConfig, *, labelled: bool) -> Layout:
    cells, texts = first.value, fields.texts()
    if not labelled and len(cells) == len(texts):
        return Layout(False, {name: column for column, name in enumerate(texts)}, len(cells))
    layouts = []
    for names in fields.columns:
        columns = {name: column for column, name in enumerate(names) if name != "_"}
        needed = 1 + max(columns.values())
        layouts.append(Layout(False, columns, max(len(cells), needed)))
    if not layouts:
        raise UserError(
            f"{first.place}: no header: none of the {len(cells)} columns is named "
            f"{_either(fields.text_a)} (text_a); "
            "or name the columns in order, as fields: {columns: [[text_a, label]]}"
        )
    fitting = [layout for layout in layouts if _fits(layout, cells, fields, task)]
    if not task.labels.names and task.kind != "regression":
        # Labels that are not known yet are shorter than texts.
        fitting.sort(key=lambda layout: len(cells[layout.columns["label"]]))
    return (fitting or layouts)[0]


def _fits(layout: Layout, cells: Sequence[str], fields: Fields, task: TaskConfig) -> bool:
    """Returns whether the label column of a layout contains a label."""
    if layout.needed() > len(cells) or "label" not in layout.columns:
        return False
    label = cells[layout.columns["label"]].strip()
    if task.kind == "regression":
        try:
            float(label)
        except ValueError:
            return False
        return True
    known = (*task.labels.names, *task.labels.drop, *fields.aliases)
    return not task.labels.names or label in known
