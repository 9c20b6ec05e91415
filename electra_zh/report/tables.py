"""Tables as text for a terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from electra_zh.messages import width

_LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+( ?%)?( \(.*\))?|-|")


class ReportTable(NamedTuple):
    """A table of texts; all rows have the length of the header."""

    name: str  # name of its files, without suffix
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()  # lines below the table

    def is_numeric(self, column: int) -> bool:
        """Returns whether all cells of a column are numbers or empty, so that it aligns right."""
        return all(_NUMBER.fullmatch(row[column]) for row in self.rows)


def to_text(table: ReportTable) -> str:
    """Returns the table for a terminal, without its title."""
    rows = [table.header, *table.rows]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in (*lines, *table.notes))


def to_markdown(table: ReportTable) -> str:
    """Returns the table as a section of a Markdown page."""
    marks = [" ---: " if table.is_numeric(i) else " --- " for i in range(len(table.header))]
    rows = ["|".join(f" {cell.replace('|', chr(92) + '|')} " for cell in row) for row in table.rows]
    lines = [" " + " | ".join(table.header) + " ", "|".join(marks), *rows]
    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"### {table.title}\n\n" + "".join(f"|{line}|\n" for line in lines) + notes


def to_csv(table: ReportTable) -> str:
    """Returns the table as CSV, without title and notes."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
    return file.getvalue()


def to_latex(table: ReportTable) -> str:
    """Returns the table as LaTeX, for the package booktabs (Chinese text: XeLaTeX with ctex)."""
    columns = "".join("r" if table.is_numeric(i) else "l" for i in range(len(table.header)))
    lines = [" & ".join(map(_escape, row)) + r" \\" for row in (table.header, *table.rows)]
    notes = "".join(f"% {note}\n" for note in table.notes)
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{_escape(table.title)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}\n{notes}"
    )


def _escape(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


FORMATS: dict[str, Callable[[ReportTable], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}
SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}


def print_tables(tables: Sequence[ReportTable], *, form: str) -> str:
    """Returns tables one after the other; in a terminal each has its title above it."""
    write = FORMATS[form]
    parts = [
        f"{table.title}\n{write(table)}" if form == "text" else write(table) for table in tables
    ]
    return "\n".join(parts)
