"""Where the texts, labels and ids of a task stand in a file, and tables cut into cells.

A task's `fields` say what stands where. `text_a`, `text_b` (pairs only), `label` and `id` are each
a name in the file, the number of a column (from 0), or several of these separated by `|`, of which
the first that is there counts: `text_a: sentence1|question1|0`. Four keys more:

- `only: language=zh` passes over the rows of a table with another value in that column;
- `aliases: contradictory=contradiction` gives labels (separated by `|`) their usual names;
- `separator: "||"` is tried before the usual ones;
- `join: "，"` stands between the texts of a list in JSON, a space unless given. A space is no
  token: between Chinese texts it leaves nothing that says where one ends.

A table has a header where its first line holds one of the names; then the names decide. Otherwise
the numbers do: the first number of every field makes one layout, the second numbers another, and
the label in the first line tells which it is.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.finetuning.examples import BadExamples
from electra_zh.finetuning.readers.lines import Line, read_lines
from electra_zh.finetuning.tasks import TaskConfig

# Splits whose examples are of no use without a label.
LABELLED = ("train", "dev")
_PLACES = {"text_a": "", "text_b": "", "label": "label", "id": "id"}
_KEYS = (*_PLACES, "only", "aliases", "separator", "join")


class Options(NamedTuple):
    """Alternatives for one thing: what it may be called, and where it may stand."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        """Returns the names for a message; the numbers where there are none."""
        numbers = [f"number {number}" for number in self.numbers]
        return " or ".join([f'"{name}"' for name in self.names] or numbers)


@dataclasses.dataclass(frozen=True)
class Fields:
    """A task's `fields`, taken apart.

    Attributes:
      text_a: the first text.
      text_b: the second text; None for single texts.
      label: the label.
      id: the example's own id.
      aliases: label to its usual name.
      only: name of a column and the value that rows must have there; empty for none.
      separator: of a table, tried before the usual ones; "" for none.
      join: what stands between the texts of a list.
    """

    text_a: Options
    text_b: Options | None
    label: Options
    id: Options
    aliases: Mapping[str, str]
    only: tuple[str, str]
    separator: str
    join: str

    @classmethod
    def of(cls, task: TaskConfig) -> Fields:
        """Takes the fields of a task apart.

        Raises:
          UsageError: a key that has no meaning.
          UserError: nothing says where the texts stand.
        """
        for key in task.fields:
            if key not in _KEYS:
                raise UsageError(
                    f'task {task.name}: fields: unknown key "{key}".{did_you_mean(key, _KEYS)} '
                    f"Known: {', '.join(_KEYS)}"
                )
        if not task.fields.get("text_a"):
            raise UserError(f"task {task.name}: fields: text_a is missing: where are the texts?")
        found = {key: _options(task.fields.get(key, usual)) for key, usual in _PLACES.items()}
        pairs = [pair.partition("=") for pair in task.fields.get("aliases", "").split("|")]
        only, _, value = task.fields.get("only", "").partition("=")
        return cls(
            text_a=found["text_a"],
            text_b=found["text_b"] if "text_b" in task.fields else None,
            label=found["label"],
            id=found["id"],
            aliases={name: usual for name, equals, usual in pairs if equals},
            only=(only, value),
            separator=task.fields.get("separator", ""),
            join=task.fields.get("join", " "),
        )

    def texts(self) -> dict[str, Options]:
        """Returns key to alternatives of the one or two texts."""
        return {"text_a": self.text_a} | ({"text_b": self.text_b} if self.text_b else {})


def _options(value: str) -> Options:
    options = [option for option in value.split("|") if option]
    names = tuple(option for option in options if not option.isdecimal())
    return Options(names, tuple(int(option) for option in options if option.isdecimal()))


class Row(NamedTuple):
    """One record of a table and where it stands."""

    cells: list[str]
    place: str


class Table(NamedTuple):
    """The records of a table that are not empty, the header included, and what parts its cells."""

    rows: Iterator[Row]
    separator: str


class Layout(NamedTuple):
    """The columns of a table by number; None for what there is not.

    Attributes:
      header: the first line names the columns.
      text_a: the first text.
      text_b: the second text.
      label: the label.
      id: the example's own id.
      only: a column and the value that rows must have there.
    """

    header: bool
    text_a: int
    text_b: int | None
    label: int | None
    id: int | None
    only: tuple[int, str] | None = None

    def needed(self) -> int:
        """Returns how many columns a line must have."""
        used = (self.text_a, self.text_b, self.label, self.id, self.only and self.only[0])
        return 1 + max(column for column in used if column is not None)


def read_table(path: str, fields: Fields, problems: BadExamples) -> Table:
    """Cuts a table into cells, streaming; the first line tells the separator."""
    source = read_lines(path, problems)
    first = next((line for line in source if line.text.strip()), None)
    if first is None:
        return Table(iter(()), "\t")
    lines = itertools.chain([first], source)
    separator = "\t"
    if fields.separator and fields.separator in first.text:
        separator = fields.separator
    elif path.lower().endswith(".csv") and "\t" not in first.text:
        return Table(_csv_rows(lines, problems), ",")
    rows = (Row(text.split(separator), place) for text, place in lines if text.strip())
    return Table(rows, separator)


def _csv_rows(lines: Iterable[Line], problems: BadExamples) -> Iterator[Row]:
    """Yields the records of CSV; a quoted field may go over several lines."""
    places: list[str] = []

    def texts() -> Iterator[str]:
        for text, place in lines:
            places.append(place)
            yield text + "\n"

    # Cells of any length; the module's own limit is 131,072 characters.
    csv.field_size_limit(2**31 - 1)
    # Strict: a quote that never ends must not swallow the rest of the file unseen.
    reader = csv.reader(texts(), strict=True)
    while True:
        places.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Counted as one bad example, it must not hide how much it is.
            more = f", {len(places):,} lines in one record" if len(places) > 1 else ""
            problems.add(places[0], f"not valid CSV{more}", detail=str(error))
            continue
        if cells is None:
            return
        if cells:
            yield Row(cells, places[0])


def find_layout(first: Row, fields: Fields, task: TaskConfig, *, split: str) -> Layout:
    """Tells from the first line where things stand.

    Raises:
      UserError: a header lacks a column; there is no header and nothing else tells.
    """
    header: dict[str, int] = {}
    for column, cell in enumerate(first.cells):
        header.setdefault(cell.strip().lower(), column)
    texts = fields.texts()
    wanted = {**texts, "label": fields.label, "id": fields.id}
    if not any(name.lower() in header for options in wanted.values() for name in options.names):
        return _by_number(first, fields, task, split)
    found: dict[str, int | None] = {}
    for key, options in wanted.items():
        found[key] = next((header[n.lower()] for n in options.names if n.lower() in header), None)
        if not options.names and options.numbers[0] < len(first.cells):
            found[key] = options.numbers[0]
        if found[key] is None and (key in texts or (key == "label" and split in LABELLED)):
            columns = ", ".join(cell.strip() for cell in first.cells)
            hint = ". Is this a test file?" if key == "label" else ""
            what = f"no column {options} ({key}); the columns are {columns}"
            raise UserError(f"{first.place}: {what}{hint}")
    name, value = fields.only
    text_a = found["text_a"]
    assert text_a is not None
    return Layout(
        header=True,
        text_a=text_a,
        text_b=found.get("text_b"),
        label=found["label"],
        id=found["id"],
        only=(header[name.lower()], value) if name.lower() in header else None,
    )


def _by_number(first: Row, fields: Fields, task: TaskConfig, split: str) -> Layout:
    wanted = fields.texts()
    if split not in LABELLED and len(first.cells) == len(wanted):
        return Layout(False, 0, 1 if fields.text_b else None, None, None)
    wanted["label"] = fields.label
    for key, options in wanted.items():
        if not options.numbers:
            raise UserError(
                f"{first.place}: no header: none of the {len(first.cells)} columns is named "
                f"{options} ({key})"
            )
    if fields.id.numbers:
        wanted["id"] = fields.id
    layouts = []
    for number in range(max(len(options.numbers) for options in wanted.values())):
        at = {key: each.numbers[min(number, len(each.numbers) - 1)] for key, each in wanted.items()}
        layouts.append(Layout(False, at["text_a"], at.get("text_b"), at["label"], at.get("id")))
    fitting = [layout for layout in layouts if _fits(layout, first.cells, fields, task)]
    if not task.labels.names and task.kind != "regression":
        # Labels that are not known yet: they are shorter than texts.
        fitting.sort(key=lambda layout: len(first.cells[layout.label or 0]))
    return fitting[0] if fitting else layouts[0]


def _fits(layout: Layout, cells: Sequence[str], fields: Fields, task: TaskConfig) -> bool:
    """Returns whether a layout's label column holds a label."""
    if layout.needed() > len(cells) or layout.label is None:
        return False
    label = cells[layout.label].strip()
    if task.kind == "regression":
        try:
            float(label)
        except ValueError:
            return False
        return True
    known = (*task.labels.names, *task.labels.drop, *fields.aliases)
    return not task.labels.names or label in known
