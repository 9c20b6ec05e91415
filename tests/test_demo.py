"""A step of the demo is stopped as the demo is, and saves its work first."""

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
    interrupts.raise_on_sigterm()
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
