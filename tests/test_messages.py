"""Messages: above a bar, wrapped on a terminal, quiet, and as JSON."""

from __future__ import annotations

import io
import json
import logging as python_logging
import os
import shutil
import sys
from collections.abc import Iterator

import pytest
from absl import logging

from electra_zh import messages, progress
from electra_zh.messages import Style


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _the_style_of_before() -> Iterator[None]:
    before = messages.style()
    yield
    messages.start(before)


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Returns standard error as a terminal of 80 columns."""
    found = _Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda **_: os.terminal_size((80, 24)))
    return found


def test_a_log_line_does_not_run_into_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start()
    with progress.show("training", total=4, unit="step") as bar:
        bar.update(1)
        logging.info("half way")
        bar.update(1)
    shown = terminal.getvalue().replace("\r", "\n").split("\n")
    (line,) = [each for each in shown if "half way" in each]
    assert line.endswith(" half way")
    assert "training" not in line


def test_long_lines_are_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start()
    logging.info("word " * 40)
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) < 80
    assert lines[1].startswith(" " * 20 + "word")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("aa bb  cc dd", ["aa bb  cc", "> dd"]),
        ("天地玄黄宇宙洪荒", ["天地玄黄宇", "> 宙洪荒"]),
        ("天地玄黄宇。宙", ["天地玄黄", "> 宇。宙"]),
        ("run 天地玄黄 is", ["run 天地玄", "> 黄 is"]),
        ("a-very-long-word b", ["a-very-long-word", "> b"]),
        ("", [""]),
    ],
)
def test_lines_are_wrapped_by_the_columns_that_characters_take(text: str, lines: list[str]) -> None:
    assert messages.wrap(text, 10, rest="> ") == lines


@pytest.mark.parametrize(
    ("start", "indent"),
    [("", 4), ("  ", 6), ("memory       ", 13), ("all phases   ", 13), ("  文字  ", 8)],
)
def test_results_are_wrapped_on_a_terminal_and_not_in_a_file(
    start: str, indent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = start + "word " * 40 + "end"
    monkeypatch.setattr(sys, "stdout", file := io.StringIO())
    messages.print_lines([line, ""])
    assert file.getvalue() == f"{line}\n\n"
    _terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", terminal := _Terminal())
    messages.print_lines([line, ""])
    first, *rest, last = terminal.getvalue().splitlines()
    assert first.startswith(f"{start}word")
    assert all(each.startswith(" " * indent + "word") for each in rest)
    assert last == ""
    assert max(map(messages.width, [first, *rest])) < 80


def test_a_chinese_log_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start()
    logging.info("corpus/%s.txt: unknown 丘 (1) 严 (1)", "语料" * 60)
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 3
    assert max(map(messages.width, lines)) < 80


def test_a_file_gets_whole_lines_with_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    messages.start()
    logging.info("word " * 40)
    (line,) = file.getvalue().splitlines()
    date, clock, *words = line.split()
    assert (len(date), len(clock), len(words)) == (10, 8, 40)


def test_quiet_keeps_warnings_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start(Style(quiet=True))
    logging.info("an information")
    messages.hint("Next: electra-zh")
    assert terminal.getvalue() == ""
    logging.warning("a warning")
    messages.error("an error")
    assert "a warning" in terminal.getvalue()
    assert "electra-zh: error: an error\n" in terminal.getvalue()


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start(Style(as_json=True))
    logging.warning("第 %d 步", 3)
    messages.hint("Next: electra-zh")
    messages.error("full")
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show("training", total=4, unit="step") as bar:
        now[0] = 10.0
        bar.update(1, {"loss": 2.5})
    found = [json.loads(line) for line in terminal.getvalue().splitlines()]
    assert [(each["level"], each["message"]) for each in found[:3]] == [
        ("warning", "第 3 步"),
        ("info", "Next: electra-zh"),
        ("error", "full"),
    ]
    shown = found[3]["progress"]
    assert (shown["what"], shown["done"], shown["total"]) == ("training", 1, 4)
    assert shown["figures"] == {"loss": 2.5}


def test_starting_again_does_not_double_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    messages.start()
    messages.start()
    logging.info("once")
    assert terminal.getvalue().count("once") == 1


def test_a_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    words = " ".join(["word"] * 20)
    rows = [("键", "1", words), ("a_long_key", "22", "short")]
    assert list(messages.table(rows)) == [f"键          1   {words}", "a_long_key  22  short"]
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda **_: os.terminal_size((80, 24)))
    first, second, *_ = messages.table(rows)
    assert second.startswith(" " * 16 + "word")
    wide = [("k" * 40, "v" * 30, words), ("k", "v", "x")]
    lines = list(messages.table(wide))
    assert lines[0] == f"{'k' * 40}  {'v' * 30}"
    assert lines[1].startswith("    word word")
    assert max(map(len, [first, second, *lines])) <= 80


@pytest.mark.parametrize("verbose", [False, True])
def test_messages_of_libraries_are_shown_with_verbose(
    monkeypatch: pytest.MonkeyPatch, verbose: bool
) -> None:
    terminal = _terminal(monkeypatch)
    messages.start(Style(verbose=verbose))
    path = "/venv/lib/python3.11/site-packages/matplotlib/font_manager.py"
    record = python_logging.LogRecord("fonts", python_logging.WARNING, path, 1, "a font", (), None)
    python_logging.getLogger("fonts").handle(record)
    assert ("a font" in terminal.getvalue()) == verbose
