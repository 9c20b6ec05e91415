"""Tables in each form: alignment of Chinese text, and characters with a meaning of their own."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

from electra_zh.report import tables
from electra_zh.report.tables import ReportTable

TABLE = ReportTable(
    "names",
    "100 % of a_b",
    ("名称", "score"),
    (("足球|茶", "5.0"), ("a", "12.5 (11.0)")),
    ("note",),
)


def test_chinese_text_takes_two_columns() -> None:
    assert tables.to_text(TABLE) == ("名称     score\n足球|茶  5.0\na        12.5 (11.0)\nnote\n")
    assert tables.width("é́") == 1


def test_markdown_escapes_bars_and_aligns_numbers() -> None:
    assert tables.to_markdown(TABLE) == (
        "### 100 % of a_b\n\n| 名称 | score |\n| --- | ---: |\n"
        "| 足球\\|茶 | 5.0 |\n| a | 12.5 (11.0) |\n\nnote\n"
    )


def test_csv_is_read_back() -> None:
    rows = list(csv.reader(io.StringIO(tables.to_csv(TABLE))))
    assert rows == [list(row) for row in (TABLE.header, *TABLE.rows)]


def test_latex_escapes_its_characters() -> None:
    text = tables.to_latex(TABLE)
    assert r"\caption{100 \% of a\_b}" in text
    assert r"\begin{tabular}{lr}" in text
    assert r"足球|茶 & 5.0 \\" in text


@pytest.mark.parametrize("name", ["results", "runs", "report"])
def test_the_commands_do_not_load_tensorflow(name: str) -> None:
    code = (
        "import sys; from electra_zh.commands import load_command; "
        f"load_command({name!r}); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
