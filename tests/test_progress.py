"""Progress: a bar on a terminal, lines elsewhere, nothing when silent."""

from __future__ import annotations

import io
import sys

import pytest
from absl import logging

from electra_zh import messages, progress


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
    assert "training 100% " in shown
    assert "4/4" in shown
    assert "loss 1.25" in shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(logging, "info", lambda message, *args, extra: found.append(message % args))
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
        bar.update(4_000_000)
        clock[0] = 10.0
        bar.update(16_000_000)
    assert lines[0] == "reading: 50 % (20.0 of 40.0 MB), 1.6 MB/s, 0:12 left"


def test_compiling_and_evaluating_do_not_count_for_the_speed(
    clock: list[float], lines: list[str]
) -> None:
    with progress.show("training", total=100, unit="step") as bar:
        clock[0] = 300.0  # The first call compiles.
        bar.update(1)
        for _ in range(10):
            clock[0] += 1.0
            bar.update(1)
        with progress.activity("evaluating"):
            clock[0] += 500.0
        clock[0] += 1.0
        bar.update(1)
    assert lines[0] == "training: 1 % (1 of 100 steps)"
    assert lines[-1] == "training: 12 % (12 of 100 steps), 1 steps/s, 1:28 left"


def _line(width: int, *, activity: str = "", total: int = 1_000_000) -> str:
    job = progress._Job("pretrain", total, "step", 900_000)
    job.activity = activity
    job._points.extend([(0.0, 0), (900_000.0, 900_000)])
    job.figures = {"loss": "25.789", "gen_loss": "5.805", "disc_loss": "0.412", "tokens/s": "1,991"}
    return job.line(width)


def test_the_losses_fit_80_columns() -> None:
    line = _line(79)
    assert len(line) <= 79
    assert "900,000/1,000,000, 27:46:40 left, loss 25.789, gen 5.805" in line
    assert _line(140).endswith("loss 25.789, gen 5.805, disc 0.412, tokens/s 1,991")
    assert "██" in _line(140)
    assert len(_line(30)) <= 30


def test_an_activity_takes_the_place_of_the_time() -> None:
    assert "900,000/1,000,000, evaluating, loss 25.789, gen 5.805" in _line(
        79, activity="evaluating"
    )


def test_days_are_shown_as_days() -> None:
    assert "/3,000,000, 24.3 days left, " in _line(79, total=3_000_000)


def test_a_quiet_job_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(messages, "_style", messages.Style(quiet=True))
    with progress.show("training", total=4, unit="step") as bar:
        bar.update(4)
    assert terminal.getvalue() == ""


def test_short_jobs_say_nothing(clock: list[float], lines: list[str]) -> None:
    with progress.show("reading", total=10, unit="step") as bar:
        clock[0] = 9.0
        bar.update(10)
    with progress.silent("reading", total=10, unit="step") as bar:
        clock[0] = 99.0
        bar.update(10)
    assert lines == []
