"""Progress: a bar on a terminal, lines elsewhere, nothing when silent."""

from __future__ import annotations

import io
import sys

import pytest
from absl import logging

from electra_zh import progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.show("training", total=4, unit="step", initial=2) as bar:
        bar.update(1, {"loss": 1.25})
        bar.update(1)
    shown = terminal.getvalue()
    assert "training: 100%" in shown
    assert "4/4" in shown
    assert "loss=1.25" in shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(logging, "info", lambda message, *args: found.append(message % args))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return found


def test_a_file_gets_a_line_every_ten_seconds(clock: list[float], lines: list[str]) -> None:
    with progress.show("training", total=8000, unit="step", initial=1000) as bar:
        for second in range(1, 26):
            clock[0] = float(second)
            bar.update(100, {"loss": 2.0} if second == 1 else None)
    assert lines == [
        "training: 25 % (2,000 of 8,000 steps), 100 steps/s, 1:00 left, loss 2",
        "training: 38 % (3,000 of 8,000 steps), 100 steps/s, 0:50 left, loss 2",
        "training: 44 % (3,500 of 8,000 steps), 100 steps/s, 0:45 left, loss 2",
    ]


def test_bytes_are_shown_as_megabytes(clock: list[float], lines: list[str]) -> None:
    with progress.show("reading", total=40_000_000, unit=progress.BYTES) as bar:
        clock[0] = 10.0
        bar.update(20_000_000)
    assert lines[0] == "reading: 50 % (20.0 of 40.0 MB), 2.0 MB/s, 0:10 left"


def test_short_jobs_say_nothing(clock: list[float], lines: list[str]) -> None:
    with progress.show("reading", total=10, unit="step") as bar:
        clock[0] = 9.0
        bar.update(10)
    with progress.silent("reading", total=10, unit="step") as bar:
        clock[0] = 99.0
        bar.update(10)
    assert lines == []
