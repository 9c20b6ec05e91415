"""Examples of one text or two: JSON lines, and tables with a separator.

What stands where is said by the task's `fields`; `layouts` says how.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.readers import lines
from electra_zh.finetuning.readers.layouts import (
    LABELLED,
    Fields,
    Layout,
    Options,
    Row,
    find_layout,
    read_table,
)
from electra_zh.finetuning.tasks import TaskConfig


def json_lines(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TextExample]:
    """Yields the examples of a file of JSON lines, as CLUE has them.

    A list of texts, as keywords, is joined; a label that is no text is taken as JSON writes it.

    Args:
      path: the file.
      task: its `fields` name the fields.
      split: `train`, `dev`, `test` or `new`.
      problems: where bad examples go.
    """
    fields = Fields.of(task)
    for number, (value, place) in enumerate(lines.json_lines(path, problems)):
        texts = _json_texts(value, fields, place, problems)
        if texts is None:
            continue
        label = label_text(_first(value, fields.label))
        given = _first(value, fields.id)
        example = TextExample(
            id=number if given is None else given,
            text_a=texts[0],
            text_b=texts[1] if fields.text_b else None,
            label=None if label is None else fields.aliases.get(label, label),
            place=place,
        )
        admitted = admit(example, task, split=split, problems=problems, has=value)
        if admitted is not None:
            yield admitted


def table(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TextExample]:
    """Yields the examples of a table, one a line, with or without a header.

    The separator is a TAB if the first line has one, else a comma if the name ends in `.csv`. Only
    CSV has quoting: in the TSV files of GLUE and of the Chinese sets a quote is a character as any
    other. In lines with more columns than the first, the last column takes the rest, unless it is
    the label. A file whose
    name ends in `.json` or `.jsonl` is read as JSON lines.

    Without a header, test and new data with as many columns as the task has texts are those texts.

    Args:
      path: the file.
      task: its `fields` name the columns.
      split: `train`, `dev`, `test` or `new`.
      problems: where bad examples go.

    Raises:
      UserError: the file lacks a column, or nothing tells what its columns are.
    """
    if _is_json(path):
        yield from json_lines(path, task, split=split, problems=problems)
    else:
        yield from _table(path, task, split, problems)


def label_names(task: TaskConfig, path: str) -> tuple[str, ...]:
    """Reads the names of the labels: a file of JSON lines, or of one name a line.

    Args:
      task: its `labels.field` is the field of such a JSON line.
      path: the file.

    Raises:
      UserError: a line without the field, a name that stands there twice, or no name at all.
    """
    problems = BadExamples(skip=False)
    field = task.labels.field
    values: Iterable[tuple[Any, str]]
    if _begins_with_json(path, problems):
        values = ((value.get(field), place) for value, place in lines.json_lines(path, problems))
    else:
        values = (line for line in lines.read_lines(path, problems) if line.text.strip())
    names: dict[str, None] = {}
    for value, place in values:
        name = label_text(value)
        if name is None:
            raise UserError(f'{place}: no label in the field "{field}"')
        if name in names:
            raise UserError(f'{place}: label "{name}" stands there twice')
        names[name] = None
    if not names:
        raise UserError(f"{path} holds no labels")
    return tuple(names)


def label_text(value: Any) -> str | None:
    """Returns a label of any JSON type as text (true: `true`, 0: `0`); None for none."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value is None else json.dumps(value, ensure_ascii=False)


def admit(
    example: TextExample, task: TaskConfig, *, split: str, problems: BadExamples, has: Iterable[str]
) -> TextExample | None:
    """Returns the example, or None where its label leaves it out of the split.

    Of train and dev, examples without a label are problems, and those whose label is one of
    `labels.drop` are left out. Test and new data stay whole: such a label counts as none there.

    Args:
      example: as read.
      task: its `labels.drop` counts.
      split: `train`, `dev`, `test` or `new`.
      problems: where an example without a label goes.
      has: names of what there is, for the message.
    """
    if example.label is None and split in LABELLED:
        detail = f"is this a test file? It has {', '.join(has)}"
        problems.add(example.place, "no label", detail=detail)
        return None
    if example.label not in task.labels.drop:
        return example
    if split in LABELLED:
        problems.dropped[str(example.label)] += 1
        return None
    return dataclasses.replace(example, label=None)


def _is_json(path: str) -> bool:
    return path.lower().endswith((".json", ".jsonl"))


def _begins_with_json(path: str, problems: BadExamples) -> bool:
    first = next((line for line in lines.read_lines(path, problems) if line.text.strip()), None)
    return first is not None and first.text.lstrip().startswith("{")


def _first(value: Mapping[str, Any], options: Options) -> Any:
    return next((value[name] for name in options.names if name in value), None)


def _json_texts(
    value: Mapping[str, Any], fields: Fields, place: str, problems: BadExamples
) -> list[str] | None:
    """Returns the one or two texts of an object; None, and a problem, where one is missing."""
    texts = []
    for options in fields.texts().values():
        found = _first(value, options)
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            found = fields.join.join(found)
        if isinstance(found, str):
            texts.append(found)
            continue
        if found is None:
            detail = f"the fields are {', '.join(value) or 'none'}"
            problems.add(place, f"no field {options}", detail=detail)
        else:
            detail = f"received {json.dumps(found, ensure_ascii=False)[:40]}"
            problems.add(place, f"field {options} is not text", detail=detail)
        return None
    return texts


def _table(path: str, task: TaskConfig, split: str, problems: BadExamples) -> Iterator[TextExample]:
    fields = Fields.of(task)
    rows, separator = read_table(path, fields, problems)
    first = next(rows, None)
    if first is None:
        return
    layout = find_layout(first, fields, task, split=split)
    has = [f"columns {', '.join(first.cells)}" if layout.header else f"{len(first.cells)} columns"]
    needed = layout.needed()
    width = max(needed, len(first.cells))
    number = -1
    for row in rows if layout.header else _with(first, rows):
        if _of_others(row, layout):
            continue
        number += 1
        if len(row.cells) < needed:
            detail = f"expected at least {needed}, found {len(row.cells)}"
            problems.add(row.place, "too few columns", detail=detail)
            continue
        if len(row.cells) > width and layout.label == width - 1 and split != "new":
            detail = f"expected {width}, the last the label; found {len(row.cells)}"
            problems.add(row.place, "too many columns", detail=detail)
            continue
        if len(row.cells) > width:
            row.cells[width - 1 :] = [separator.join(row.cells[width - 1 :])]
        example = _table_example(row, layout, fields, number=number)
        admitted = admit(example, task, split=split, problems=problems, has=has)
        if admitted is not None:
            yield admitted


def _with(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _of_others(row: Row, layout: Layout) -> bool:
    """Returns whether a row is one of those that `only` passes over."""
    if layout.only is None:
        return False
    column, value = layout.only
    return len(row.cells) > column and row.cells[column].strip() != value


def _table_example(row: Row, layout: Layout, fields: Fields, *, number: int) -> TextExample:
    label = None if layout.label is None else label_text(row.cells[layout.label])
    given = "" if layout.id is None else row.cells[layout.id].strip()
    # An id as JSON would have it: a number where it is written as one.
    plain = given.isascii() and given.isdecimal() and str(int(given)) == given
    return TextExample(
        id=(int(given) if plain else given) if given else number,
        text_a=row.cells[layout.text_a],
        text_b=None if layout.text_b is None else row.cells[layout.text_b],
        label=None if label is None else fields.aliases.get(label, label),
        place=row.place,
    )
