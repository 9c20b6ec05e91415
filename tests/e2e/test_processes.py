"""Processes that train together give the run of one process, also after one of them is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.runner import PRETRAIN, Job, done, electra, refused, with_changes

pytestmark = pytest.mark.slow

STEPS = 200
# Only ends a test that hangs: two processes compile and train on a machine that may be loaded.
SECONDS = 1800


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def program(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns an exported step of a run with ten checkpoints."""
    path = tmp_path_factory.mktemp("program") / "program"
    words = with_changes(
        [*PRETRAIN[1:], "--output", str(path)],
        *(f"num_train_steps={STEPS}", "save_checkpoints_steps=20", "log_steps=20"),
        "keep_checkpoint_max=20",
        "precision=float32",  # In bfloat16 other numbers of rows round otherwise in evaluations.
    )
    done(electra("export-step", *words, cwd=job.folder))
    return path


def _start(
    job: Job, program: Path, output: Path, *flags: str, devices: int
) -> subprocess.Popen[str]:
    """Starts a process with some devices of its own."""
    words = ["--program", str(program), "--data", str(job.data), "--output", str(output)]
    count = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "electra_zh", "pretrain", *words, "--device", "pjrt:cpu", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLA_FLAGS": count},
    )


def _start_two(job: Job, program: Path, output: Path) -> list[subprocess.Popen[str]]:
    flags = ["--coordinator", f"localhost:{_free_port()}", "--num-processes", "2"]
    return [
        _start(job, program, output, *flags, "--process-id", str(number), devices=1)
        for number in range(2)
    ]


def _finish(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    found = [process.communicate(timeout=SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), found
    return found


def _wait_for_checkpoint(run: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    end = time.monotonic() + SECONDS
    while not (run / "checkpoints" / "ckpt-20").exists():
        assert time.monotonic() < end
        assert [process.poll() for process in processes] == [None] * len(processes)
        time.sleep(0.01)


def _weights(run: Path) -> dict[str, str]:
    """Returns the checksums of the last checkpoint."""
    state = json.loads((run / "checkpoints" / f"ckpt-{STEPS}" / "state.json").read_text())
    return {name: entry["sha256"] for name, entry in state["files"].items()}


def _losses(run: Path, kind: str = "train") -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["kind"] == kind}


@pytest.fixture(scope="module")
def whole(job: Job, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the run of one process with two devices."""
    run = tmp_path_factory.mktemp("whole") / "run"
    _finish([_start(job, program, run, devices=2)])
    return run


def test_two_processes_are_two_devices(
    job: Job, program: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first, second = _finish(_start_two(job, program, run))
    assert "Device: 2 x cpu (cpu, JAX, 2 processes)." in first
    assert "Device" not in second
    assert _weights(run) == _weights(whole)
    assert _losses(run) == _losses(whole)
    # Each process evaluates on its own devices.
    assert _losses(run, "eval") == pytest.approx(_losses(whole, "eval"), rel=1e-5)
    assert len(_losses(run, "eval")) == STEPS // 20


def test_a_killed_process_ends_the_others_and_the_run_is_resumed(
    job: Job, program: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    processes = _start_two(job, program, run)
    _wait_for_checkpoint(run, processes)
    processes[1].kill()
    text = processes[0].communicate(timeout=SECONDS)[1]
    assert processes[0].returncode not in (0, None), text
    assert not (run / "checkpoints" / f"ckpt-{STEPS}").exists()
    _finish(_start_two(job, program, run))
    assert _weights(run) == _weights(whole)
    assert _losses(run) == _losses(whole)


def test_a_signal_to_one_process_stops_both_at_the_same_step(
    job: Job, program: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    processes = _start_two(job, program, run)
    _wait_for_checkpoint(run, processes)
    processes[1].send_signal(signal.SIGTERM)
    texts = [process.communicate(timeout=SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [130, 130], texts
    assert all("Saved at step" in text for text in texts)
    _finish(_start_two(job, program, run))
    assert _weights(run) == _weights(whole)


def test_the_flags_of_processes_belong_together(job: Job, tmp_path: Path) -> None:
    words = ["pretrain", "--data", str(job.data), "--output", str(tmp_path / "run")]
    words += ["--config", "nano", "--coordinator", "localhost:1"]
    assert "belong together" in refused(electra(*words), code=2)
    both = [*words, "--num-processes", "2", "--process-id"]
    assert "--process-id is 2 of 2" in refused(electra(*both, "2"), code=2)
    assert "exclude each other" in refused(electra(*both, "0", "--device", "cpu"), code=2)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
