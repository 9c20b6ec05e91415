"""The demo: its summary is computed, and a step is stopped as the demo is and saves its work first.

tests/e2e/test_demo.py runs all of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from electra_zh import demo, interrupts
from electra_zh.interrupts import InterruptError
from support.reports import write_results

# Stands for Python, which runs a step: it saves on SIGTERM.
STEP = """#!/bin/sh
trap 'echo saved > saved; exit 130' TERM
echo started > started
while :; do sleep 0.02; done
"""


def _step(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "step").write_text(text)
    (folder / "step").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "step"))


def test_a_signal_stops_the_step_which_saves_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _step(tmp_path, monkeypatch, STEP)

    def stop() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    interrupts.raise_on_signals()
    threading.Thread(target=stop, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            demo._command("", ["pretrain"], folder=str(tmp_path))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "saved").exists()


def test_a_step_that_was_interrupted_interrupts_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _step(tmp_path, monkeypatch, "#!/bin/sh\nexit 130\n")
    with pytest.raises(InterruptError, match=r"^Interrupted\.$"):
        demo._command("", ["pretrain"], folder=str(tmp_path))


def test_a_step_prints_to_the_output_of_the_demo_unless_the_summary_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _step(tmp_path, monkeypatch, "#!/bin/sh\necho $3\n")
    assert demo._command("", ["pretrain"], folder=str(tmp_path)) == ""
    assert demo._command("", ["detect"], folder=str(tmp_path)) == "detect\n"
    printed = capfd.readouterr().out.splitlines()
    assert printed == ["$ electra-zh pretrain", "pretrain", "$ electra-zh detect", "detect"]


FILLED = """他把书放在桌子[MASK]。
    上 81.4%  里 2.5%  了 2.3%
孩子们在操场上踢足[MASK]。
    球 93.2%  赛 2.1%
"""
FOUND = "孩:0.01 子:0.05 们:0.00 在:0.00 操:0.00 场:0.00 上:0.00 踢:0.00 足:0.20 茶:0.80 。:0.00\n"


@pytest.mark.parametrize(
    ("filled", "found", "expected"),
    [
        (FILLED, FOUND, ("上 is guess 1, with 81.4 %", "茶 is replaced with probability 0.80")),
        (
            FILLED.replace("里", "下").replace("上 8", "了 8"),
            FOUND,
            ("上 is not among the first 3",),
        ),
        (FILLED, FOUND.replace("茶:0.80", "茶:0.40"), ("not found", "茶 has only 0.40")),
        (FILLED, FOUND.replace("足:0.20", "足:0.90"), ("not found", "茶 has only 0.80")),
    ],
)
def test_the_summary_says_what_the_steps_printed(
    filled: str, found: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    write_results(tmp_path / "tuned", {"topics": [80.0, 90.0]})
    write_results(tmp_path / "untrained", {"topics": [50.0, 60.0]})
    lines = demo._summary(str(tmp_path), {"fill": filled, "detect": found})
    text = "\n".join(lines)
    for each in expected:
        assert each in text
    assert "85.0 % of the topics are right, 55.0 % without pretraining: +30.0 points" in text
    assert "report.html" not in text


def test_no_question_occurs_in_the_text_that_is_learnt(tmp_path: Path) -> None:
    demo._write_samples(str(tmp_path))
    text = "".join((tmp_path / name).read_text("utf-8") for name in ("corpus.txt", "sentences.txt"))
    for question in demo._FILL:
        assert question.partition("[MASK]")[0] not in text
    for question in demo._DETECT:
        assert question[:8] not in text
    assert text.count("桌子上") > 1000
    assert len((tmp_path / "sentences.txt").read_bytes()) > 1_400_000


@pytest.mark.parametrize(
    ("cores", "load", "expected"), [(2, 0.5, "About 3 to 5 minutes"), (1, 9, "About 5 minutes")]
)
def test_the_time_is_said_before(
    cores: int, load: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.machine, "usable_cpus", lambda: cores)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    text = demo._announcement()
    assert text.startswith(expected)
    assert ("will take longer" in text.replace("\n", " ")) == (load > cores)
    assert max(map(len, text.split("\n"))) < 80
