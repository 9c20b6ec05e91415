"""Workers: results, errors and deaths all come to an end."""

from __future__ import annotations

import contextlib
import errno
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

import pytest

from electra_zh import interrupts
from electra_zh.data.workers import OnProgress, StoppedError, interruptible, run_tasks
from electra_zh.errors import UserError


def _square(task: int, report: OnProgress, *, add: int = 0) -> int:
    report(task)
    return task * task + add


def _fail(task: int, report: OnProgress) -> int:
    if task == 3:
        raise UserError("line 3 is bad")
    if task == 4:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
    if task == 5:
        raise ZeroDivisionError("a bug")
    if task == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return task


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_all_results_come_with_progress(processes: int) -> None:
    done: list[int] = []
    work = functools.partial(_square, add=1)
    results = run_tasks(work, list(range(20)), processes=processes, report=done.append)
    assert results == [number * number + 1 for number in range(20)]
    assert sorted(done) == list(range(20))


def test_no_tasks_no_workers() -> None:
    assert run_tasks(_square, [], processes=4, report=print) == []


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (3, UserError, "^line 3 is bad$"),
        (4, StoppedError, "No space left on device: /data/x. Finished work is kept"),
        (5, ZeroDivisionError, "a bug"),
        (6, StoppedError, "killed by signal 9, usually because memory ran out"),
    ],
)
def test_errors_in_workers_end_the_work(task: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), interruptible():
        run_tasks(_fail, [0, 1, task, 0, 1, 2], processes=2, report=lambda amount: None)


def test_a_signal_while_workers_start_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[BaseProcess] = []

    @contextlib.contextmanager
    def blocked(*_: signal.Signals) -> Iterator[None]:
        yield
        started.extend(multiprocessing.active_children())
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "blocked", blocked)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(_sleep, [60, 60], processes=2, report=print)
    assert len(started) >= 2
    assert all(worker.exitcode == -signal.SIGKILL for worker in started)


def _sleep(task: int, report: OnProgress) -> None:
    time.sleep(task)


def test_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, signal, time\n"
        "from electra_zh.data import workers\n"
        "def work(task, report):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(0.3)\n"
        "workers.run_tasks(work, range(100), processes=2, report=print)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    started = [parent.stdout.readline() for _ in range(2)]
    parent.kill()
    # The pipe ends when the last worker has ended: long before all tasks would be done.
    rest, _ = parent.communicate(timeout=20)
    assert len(set(started)) == 2
    assert len(rest.split()) < 20
