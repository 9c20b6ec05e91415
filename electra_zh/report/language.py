"""The language of a report: English, or another one by a catalogue of its sentences."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable

import yaml

from electra_zh.report.tables import ReportTable

LANGUAGES = ("en", "zh")
# Returns a sentence or word of the report in its language.
Say = Callable[[str], str]


def speaker(language: str) -> Say:
    """Returns the translation into a language; sentences without one stay English."""
    if language == "en":
        return str
    path = importlib.resources.files(__package__).joinpath(f"{language}.yaml")
    catalogue: dict[str, str] = yaml.safe_load(path.read_text("utf-8"))
    return lambda text: catalogue.get(text, text)


def translate(table: ReportTable, say: Say) -> ReportTable:
    """Returns a table with title, header, notes and names of tasks and metrics in a language.

    A cell of the header, or the name of a task, may end in parentheses.
    """
    names = 2 if table.header[:2] == ("task", "metric") else 0

    def head(cell: str) -> str:
        word, bracket, rest = cell.partition(" (")
        return f"{say(word)}{bracket}{rest}"

    return table._replace(
        title=head(table.title),
        header=tuple(map(head, table.header)),
        notes=tuple(map(say, table.notes)),
        rows=tuple((*map(head, row[:names]), *row[names:]) for row in table.rows),
    )
