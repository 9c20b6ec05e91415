"""Examples of one text or a pair: JSON, Parquet, and tables with or without a header."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from electra_zh.errors import UserError, few
from electra_zh.finetuning.examples import BadExampleError, TextExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.cells import (
    Cut,
    are_different,
    is_running,
    possible_cuts,
    split_rows,
)
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.streams import Record, check_text, is_texts, with_blanks

# Rows from which the columns of a table are recognized.
_FIRST_ROWS = 20


class Table(ExampleReader, name="table"):
    """A table or JSON, one example per row or object; the content decides, not the file's name.

    In JSON a list of texts, as keywords, is joined; labels of any type become text. The separator
    of a table is the first one that gives a header with the fields' names, else a TAB if the first
    line has one, else a comma if the file's name ends in `.csv`. In lines with more columns than
    the first, the last column takes the rest, except if it is the label.

    Without a header, test and new data with as many columns as the task has texts are those texts;
    otherwise the first of the fields' `columns` whose label column contains labels is used. A
    column of running numbers in front, without a name, is skipped.
    """

    example_type: ClassVar[type[TextExample]] = TextExample
    fields_type: ClassVar[type[Fields]] = Fields
    fields: Fields

    def _records(self) -> Iterator[Record]:
        is_new = self.split == "new"
        if self._has_objects():
            if self.file.suffix not in ("json", "jsonl", "parquet", "arrow"):
                form = self.file.form if self.file.is_columnar else "JSON"
                self.bad.note(f"{self.path}: read as {form}")
            yield from self._objects(blank_lines=is_new)
            return
        for row in self._rows():
            if is_new or row.value is not None:
                yield row

    def _rows(self) -> Iterator[Record]:
        """Yields the rows of a table without its header; None for blank ones."""
        lines = with_blanks(self.file.lines())
        first = next((line for line in lines if line.value is not None), None)
        if first is None:
            return
        self._cut = self._choose_cut(first.value)
        rows = split_rows(itertools.chain([first], lines), self._cut)
        start = list(itertools.islice(rows, _FIRST_ROWS))
        head = start[0]
        if isinstance(head.value, BadExampleError):
            raise UserError(f"{head.place}: {head.value}")
        self._columns = self._named_columns(head)
        is_header = bool(self._columns)
        body = [row.value for row in start[is_header:] if isinstance(row.value, list)]
        self._columns = self._columns or self._chosen_columns(body, head.place)
        columns = f"columns {', '.join(head.value)}" if is_header else f"{len(head.value)} columns"
        self._has = f"found {columns}"
        self._width = len(head.value)
        # All rows may also end in a separator.
        longer = all(len(cells) == self._width + 1 for cells in body)
        if is_header and longer and any(cells[-1].strip() for cells in body):
            self._width += self._skip_index(body)
        # Of a column in `only`, rows with another value are skipped.
        only = self._columns.pop("only", -1)
        needed = (*self.fields.texts(), *(["label"] if self.labelled else []))
        self._needed = 1 + max(self._columns[name] for name in needed if name in self._columns)
        self._width = max(self._width, self._needed)
        for row in itertools.chain(start[is_header:], rows):
            if isinstance(row.value, list) and not any(map(str.strip, row.value)):
                row = row._replace(value=None)
                if self.split != "new":
                    self.bad.others["all cells are empty"] += 1
            if self._is_wanted(row.value, only):
                yield row

    def _is_wanted(self, cells: Any, only: int) -> bool:
        """Counts the rows of another language or the like; they are not wanted."""
        if not (isinstance(cells, list) and 0 <= only < len(cells)):
            return True
        ((name, wanted),) = self.fields.only.items()
        if cells[only].strip() != wanted:
            self.bad.others[f"{name} is not {wanted}"] += 1
            return False
        return True

    def _choose_cut(self, line: str) -> Cut:
        """Returns the separator of the first line, with a note where the name says another one."""
        cuts, is_csv = possible_cuts(line, self.fields.separator), self.file.suffix == "csv"
        if cuts and cuts[0].separator == self.fields.separator:
            return cuts[0]
        usual = Cut("\t") if "\t" in line or not is_csv else Cut(",", True)
        named = (cut for cut in cuts if self._is_header(cut.cells(line)))
        fitting = (
            cut
            for cut in cuts
            if self.labelled and self.task.labels.names and self._layouts([cut.cells(line)])
        )
        chosen = next(named, None) or next(fitting, None) or usual
        if chosen.separator != ("," if is_csv else "\t"):
            names = {"\t": "TABs", ",": "commas", ";": "semicolons"}
            self.bad.note(f"{self.path}: columns separated by {names[chosen.separator]}")
        return chosen

    def _is_header(self, cells: Sequence[str]) -> bool:
        lower = {cell.strip().lower() for cell in cells}
        fields = self.fields
        return all(
            any(name.lower() in lower for name in fields.names(text)) for text in fields.texts()
        )

    def _named_columns(self, first: Record) -> dict[str, int]:
        """Returns field to column by the names in the first row; empty if it is not a header."""
        fields = self.fields
        cells = [cell.strip() for cell in first.value]
        header = {cell.lower(): column for column, cell in reversed(list(enumerate(cells)))}
        columns: dict[str, int] = {}
        names = {field: fields.names(field) for field in fields.NAMED}
        names["only"] = tuple(fields.only)
        for field in names:
            column = _first(header, [name.lower() for name in names[field]])
            if column is not None:
                columns[field] = column
        if not columns.keys() - {"only"}:
            return {}
        # A text without a name is where `columns` has it.
        for layout in map(_numbers, fields.columns):
            if columns.items() <= layout.items():
                columns |= {text: layout[text] for text in fields.texts() if not fields.names(text)}
        for field in (*fields.texts(), *(["label"] if self.labelled else [])):
            if field not in columns:
                named = _either(fields.names(field)) or "is named in the task file"
                what = f"no column {named} ({field})"
                hint = ". Is this a test file?" if field == "label" else ""
                found = ", ".join(cells)
                raise UserError(f"{first.place}: {what}; the columns are {found}{hint}")
        return columns

    def _chosen_columns(self, body: Sequence[Sequence[str]], place: str) -> dict[str, int]:
        """Returns field to column for a table without a header, from its first rows."""
        width, texts = len(body[0]), self.fields.texts()
        direct = {name: column for column, name in enumerate(texts)}
        if not self.labelled and width == len(texts):
            if self.split == "new":
                note = "no header with names of the task: line 1 is an example"
                self.bad.note(f"{self.path}: {note}")
            return direct
        fitting = self._layouts(body)
        sizes = {len(layout) for layout in self.fields.columns}
        unlabelled = not self.labelled and width - 1 == len(texts) and not fitting
        numbered = unlabelled or (width - 1 in sizes and not (width in sizes and fitting))
        same = all(len(cells) == width for cells in body)
        if numbered and same and is_running([cells[0] for cells in body]):
            rest = [cells[1:] for cells in body]
            chosen = (self._layouts(rest) or [direct])[0]
            self._note_index()
            return {name: column + 1 for name, column in chosen.items()}
        if not self.fields.columns:
            how = (
                "Name the column of the text so"
                if self.split == "new"
                else "In the task file's fields, give the names of the columns (text_a: NAME), or "
                "their order where the file has no header (columns: [[text_a, label]])"
            )
            raise UserError(
                f"{place}: none of the {width} columns is named {_either(self.fields.text_a)} "
                f"(text_a): {few(cell.strip()[:20] for cell in body[0])}. {how}"
            )
        if not fitting and not self.labelled:
            layouts = " or ".join(f"[{', '.join(layout)}]" for layout in self.fields.columns)
            raise UserError(
                f"{place}: no header, and no label of the task where the columns {layouts} have "
                f"it, in {width} columns. Add a line with the names of the columns"
            )
        return (fitting or [_numbers(self.fields.columns[0])])[0]

    def _layouts(self, body: Sequence[Sequence[str]]) -> list[dict[str, int]]:
        """Returns the layouts of `columns` that fit the first rows, the best one first."""
        layouts = [_numbers(names) for names in self.fields.columns]
        fitting = [columns for columns in layouts if self._fits(columns, body)]
        if not self.task.labels.names and self.task.kind != "regression":
            # Labels that are not known yet are shorter than texts.
            fitting.sort(key=lambda columns: sum(map(len, _column(body, columns.get("label", 0)))))
        return fitting

    def _fits(self, columns: Mapping[str, int], body: Sequence[Sequence[str]]) -> bool:
        """Returns whether the label column contains labels, or one placeholder in test data."""
        wide = [cells for cells in body if max(columns.values()) < len(cells)]
        if "label" not in columns or not wide:
            return bool(wide) and not self.labelled
        found = [cell.strip() for cell in _column(wide, columns["label"])]
        known = sum(map(self._is_label, found))
        is_placeholder = not self.labelled and len(set(found)) == 1 and len(found) > 1
        return 2 * known >= len(found) or is_placeholder

    def _is_label(self, label: str) -> bool:
        if self.task.kind == "regression":
            return _is_number(label)
        labels = self.task.labels
        known = (*labels.names, *labels.drop, *self.fields.aliases)
        return not labels.names or label in known

    def _skip_index(self, body: Sequence[Sequence[str]]) -> int:
        """Moves the columns to the right where rows begin with a number that has no name."""
        numbers = [cells[0] for cells in body]
        is_label = self._columns.get("label") == 0 and all(map(self._is_label, numbers))
        if not is_running(numbers) and (is_label or not are_different(numbers)):
            return 0
        self._columns = {name: column + 1 for name, column in self._columns.items()}
        self._note_index("running numbers" if is_running(numbers) else "numbers without a name")
        return 1

    def _note_index(self, what: str = "running numbers") -> None:
        self.bad.note(f"{self.path}: the {what} in the first column are not read")

    def _example(self, record: Record, number: int) -> TextExample:
        if record.value is None:
            return TextExample(number, "", None, None, record.place)
        values = self._values(record.value)
        identity = number if values.get("id") is None else values["id"]
        label = self._label(values.get("label"))
        texts = values["text_a"], values.get("text_b")
        return self.example_type(identity, *texts, label, record.place)

    def _label(self, value: Any) -> str | None:
        """Returns the label of an example as text, None without one."""
        if isinstance(value, list) and len(value) < 2:  # as doccano has the label of a text
            value = value[0] if value else None
        if isinstance(value, list | dict):
            received = json.dumps(value, ensure_ascii=False)[:40]
            what = f"field {_either(self.fields.label)} is not one label"
            hint = "for several labels per text, see kind: multi_label"
            raise BadExampleError(what, f"received {received}; {hint}")
        return self.fields.usual_label(value)

    def _values(self, value: Any) -> dict[str, Any]:
        """Returns field to value of a row or an object."""
        if isinstance(value, dict):
            texts = {field: self._text(value, field) for field in self.fields.texts()}
            others = {field: _first(value, self.fields.names(field)) for field in ("id", "label")}
            return {**texts, **others}
        cells = self._fitted(value)
        check_text(*cells)
        values = {field: cells[column] for field, column in self._columns.items()}
        return {**values, "id": _plain_id(values.get("id", "").strip())}

    def _text(self, value: Mapping[str, Any], name: str) -> str:
        names = self.fields.names(name)
        # Programs that label new data need not know the names of the training data.
        found = _first(value, (*names, name) if self.split == "new" else names)
        if is_texts(found):
            return self.fields.join.join(found)
        if isinstance(found, str):
            return found
        if not any(each in value for each in names):
            keys = ", ".join(value) or "none"
            raise BadExampleError(f"no field {_either(names or (name,))}", f"the fields are {keys}")
        received = json.dumps(found, ensure_ascii=False)[:40]
        raise BadExampleError(f"field {_either(names)} is not text", f"received {received}")

    def _fitted(self, cells: list[str]) -> list[str]:
        """Returns the cells of a row, the rest of a longer one in the last column."""
        while len(cells) > self._width and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) < self._needed:
            detail = f"expected at least {self._needed}, found {len(cells)}"
            raise BadExampleError("too few columns", detail)
        cells = cells + [""] * (self._width - len(cells))
        last = self._width - 1
        if len(cells) == self._width:
            return cells
        if self._columns.get("label") == last and self.split != "new":
            detail = f"expected {self._width}, the last the label; found {len(cells)}"
            raise BadExampleError("too many columns", detail)
        return [*cells[:last], self._cut.separator.join(cells[last:])]

    def _found(self, record: Record) -> str:
        return self._has if isinstance(record.value, list) else super()._found(record)


class JsonLines(Table, name="json_lines"):
    """The same forms, for sets that are published as JSON lines."""

    objects = True


def _first(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((value[name] for name in names if name in value), None)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


def _numbers(layout: Sequence[str]) -> dict[str, int]:
    return {name: column for column, name in enumerate(layout) if name != "_"}


def _column(body: Sequence[Sequence[str]], column: int) -> list[str]:
    return [cells[column] for cells in body if column < len(cells)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain_id(text: str) -> int | str | None:
    """Returns an id as JSON would have it: a number if it is written as one; None for ""."""
    is_number = text.isascii() and text.isdecimal() and str(int(text)) == text
    return int(text) if is_number else text or None
