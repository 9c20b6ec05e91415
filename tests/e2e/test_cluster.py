"""A build on a cluster whose processes start and die, by the real commands."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, contents, make_text
from support.runner import done, electra, refused

pytestmark = pytest.mark.slow
pytest.importorskip("distributed", reason="needs the extra `dask`")

_UNITS = 32
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def vocab(tmp_path: Path) -> str:
    path = str(tmp_path / "vocab.txt")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS, "。"]).save(path)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `dask scheduler` or `dask worker` in a folder of its own."""
    started: list[subprocess.Popen[bytes]] = []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def start(what: str, *words: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{what}"
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words, "--no-dashboard"],
            cwd=elsewhere,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _error(errors: str) -> str:
    """The one line of an error, among those of progress."""
    lines = [line for line in errors.split("\n") if not re.match(r"[0-9:]{8} |$", line)]
    assert len(lines) == 1, errors
    return lines[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _count_units(output: Path) -> int:
    return len(list(output.glob(".work/unit-*.json")))


def _wait_for_units(output: Path, more: int, process: subprocess.Popen[str]) -> None:
    """Waits until a driver has completed `more` further units."""
    number = _count_units(output) + more
    while _count_units(output) < number:
        assert process.poll() is None
        time.sleep(0.01)


def _wait_for_quiet(output: Path) -> None:
    """Waits until workers have completed the tasks of a driver that has died."""
    before = -1
    while (now := _count_units(output)) != before:
        before = now
        time.sleep(3)


def test_deaths_lose_nothing_and_double_nothing(vocab: str, tmp_path: Path, start: Start) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for index in range(_UNITS):
        # Each is about a unit of its own.
        text = make_text(3000, seed=index, lines=14)
        (corpus / f"{index:02}.txt").write_text(text, encoding="utf-8")
    words = ["build-data", "corpus", "--vocab", vocab, "--holdout-every", "50"]
    done(electra(*words, "--output", "local", "--processes", "2", cwd=tmp_path))
    output = tmp_path / "far"
    address = f"tcp://127.0.0.1:{_free_port()}"
    far = [*words, "--output", "far", "--runner", "dask", "--scheduler", address]

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "electra_zh", *far],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1])
    workers = [start("worker", address, "--nthreads", threads) for threads in ("1", "4")]
    # Ctrl-C; the cluster stays up.
    driver = begin()
    _wait_for_units(output, 2, driver)
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert _error(errors).startswith("electra-zh: error: Interrupted. Finished work is kept")
    _wait_for_quiet(output)
    # The scheduler dies, and all is started again.
    driver = begin()
    _wait_for_units(output, 2, driver)
    _kill(scheduler)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "The Dask scheduler at" in _error(errors)
    for worker in workers:
        _kill(worker)
    start("scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1])
    workers = [start("worker", address, "--nthreads", threads) for threads in ("1", "4")]
    # A worker dies for good.
    driver = begin()
    _wait_for_units(output, 2, driver)
    _kill(workers[0])
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert contents(output) == contents(tmp_path / "local")


def test_bad_input_on_a_cluster_is_one_line(vocab: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes("天地。\n\n".encode() + b"\xff\n")
    words = ["build-data", "bad.txt", "--vocab", vocab, "--output", "d", "--strict"]
    result = electra(*words, "--runner", "dask", "--processes", "2", cwd=tmp_path)
    assert "bad.txt:3: not UTF-8" in refused(result)
    assert not (tmp_path / "d").exists()
