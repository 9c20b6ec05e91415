"""Files of labels: a list in lines or as JSON, or a map of labels and their numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError
from electra_zh.finetuning.readers.fields import label_text
from electra_zh.finetuning.readers.streams import Record, TaskFile, parse_object


class LabelList(NamedTuple):
    """The labels in order, and for each its description, or its number in a map; may be empty."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    has_numbers: bool = False

    def for_data(self, seen: Collection[str]) -> LabelList:
        """Returns the list with the labels that data has: the names, or numbers, those of a map.

        Without a map, names are counted from 0, unless names are numbers or have descriptions.
        """
        numbers = self.descriptions if self.has_numbers else ()
        if not (self.descriptions or any(name.isdecimal() for name in self.names)):
            numbers = tuple(map(str, range(len(self.names))))
        if not set(seen) <= set(self.names) and set(seen) <= set(numbers):
            return LabelList(numbers, self.names)
        return self._replace(descriptions=()) if self.has_numbers else self


def read_labels(path: str, field: str) -> LabelList:
    """Reads labels: one per line, JSON lines or an array, or a map of name to number or back.

    Args:
      path: the file.
      field: name of the label in JSON objects; their only other text is its description.

    Raises:
      UserError: an entry without the field, a duplicate name or number, or no name at all.
    """
    file = TaskFile(path)
    lines = [line for line in file.lines() if line.value.strip()]
    try:
        value = json.loads("\n".join(line.value for line in lines))
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        for name in ("id2label", "label2id"):
            value = value[name] if isinstance(value.get(name), dict) else value
        found = _from_map(value, path)
        if found is not None:
            return found
    if isinstance(value, list):
        lines = [Record(each, f"{path}, item {number}") for number, each in enumerate(value, 1)]
    return _from_records(lines, field, path)


def _from_map(value: Mapping[str, Any], where: str) -> LabelList | None:
    """Returns the labels of `{name: number}` or `{number: name}`; None for another object."""
    if len(value) > 1 and all(type(number) is int for number in value.values()):
        numbers = {name: int(number) for name, number in value.items()}
    elif value and all(key.isdecimal() and isinstance(name, str) for key, name in value.items()):
        numbers = {str(name): int(key) for key, name in value.items()}
        if len(numbers) < len(value):
            raise UserError(f"{where}: a label has two numbers")
    else:
        return None
    ordered = sorted(numbers, key=numbers.__getitem__)
    if len(set(numbers.values())) < len(numbers):
        raise UserError(f"{where}: two labels have the same number")
    shown = tuple(str(numbers[name]) for name in ordered)
    return LabelList(tuple(ordered), shown, has_numbers=True)


def _from_records(records: list[Record], field: str, path: str) -> LabelList:
    names: dict[str, str] = {}
    for value, place in records:
        try:
            if isinstance(value, str) and value.lstrip().startswith("{"):
                value = parse_object(value)
        except BadExampleError as error:
            raise UserError(f"{place}: {error}") from None
        given = value.get(field) if isinstance(value, dict) else value
        name = None if isinstance(given, list | dict) else label_text(given)
        if name is None:
            fields = f"; the fields are {', '.join(value)}" if isinstance(value, dict) else ""
            raise UserError(f'{place}: no label in the field "{field}"{fields}')
        if name in names:
            raise UserError(f'{place}: duplicate label "{name}"')
        names[name] = _description(value, field)
    if not names:
        raise UserError(f"{path} contains no labels")
    described = tuple(names.values())
    return LabelList(tuple(names), described if all(described) else ())


def _description(value: Any, field: str) -> str:
    """Returns the only other text of an object, which describes the label; "" for none."""
    others = [value[key] for key in value if key != field] if isinstance(value, dict) else []
    return others[0] if len(others) == 1 and isinstance(others[0], str) else ""
