"""Listings of settings from their declarations: values with their origins, and the reference."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import messages
from electra_zh.settings.command_line import allowed_values, default_value, flags_of
from electra_zh.settings.declaration import Setting, Settings, declared
from electra_zh.settings.resolution import DEFAULT, Resolved

REQUIRED = "(required)"


class Row(NamedTuple):
    """A setting in a listing: its full key, its value with the origin, and one sentence."""

    key: str
    value: Any
    origin: str
    meaning: str


def list_resolved(resolved: Resolved[Any]) -> list[Row]:
    """Returns the rows of resolved settings, sections included."""
    return [
        Row(
            setting.key,
            functools.reduce(_value, setting.value_key.split("."), resolved.settings),
            resolved.origin(setting.key),
            setting.declaration.meaning,
        )
        for setting in _shown(type(resolved.settings))
    ]


def list_defaults(cls: type[Settings], given: Mapping[str, Any], *, origin: str) -> list[Row]:
    """Returns the rows of a class by its defaults, with the given values of one origin."""
    rows = []
    for setting in _shown(cls):
        key = setting.value_key if setting.value_key in given else setting.key
        if key in given:
            value, shown = given[key], origin
        elif setting.is_required:
            value, shown = REQUIRED, ""
        else:
            value, shown = setting.default, DEFAULT
        rows.append(Row(setting.key, value, shown, setting.declaration.meaning))
    return rows


def row_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yields rows as lines of aligned columns."""
    return messages.table(
        [(row.key, value_text(row.value), row.origin, row.meaning) for row in rows]
    )


def value_text(value: Any) -> str:
    """Returns a value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return " ".join(map(str, value))
    return "none" if value is None else str(value)


def table(cls: type[Settings]) -> Iterator[str]:
    """Yields the settings of a class as the lines of Markdown tables, one for each group."""
    groups: dict[str, list[Setting]] = {}
    for setting in _shown(cls, with_sections=True):
        groups.setdefault(setting.group, []).append(setting)
    for title, settings in groups.items():
        if title:
            yield from (f"**{title}**", "")
        yield from ("| setting | default | allowed | meaning |", "|---|---|---|---|")
        for setting in settings:
            required = setting.is_required and not setting.section
            cells = (
                ", ".join(f"`{each}`" for each in flags_of(setting)),
                "required" if required else default_value(setting),
                allowed_values(setting),
                setting.declaration.meaning,
            )
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""


def _value(settings: Any, name: str) -> Any:
    return None if settings is None else getattr(settings, name)


def _shown(cls: type[Settings], *, with_sections: bool = False) -> Iterator[Setting]:
    for setting in declared(cls):
        is_section = isinstance(setting.type, type) and issubclass(setting.type, Settings)
        if setting.declaration.listed and (with_sections or not is_section):
            yield setting
