"""Tasks over worker processes, without a way to hang.

A task goes to the next free worker and its result comes back as it is done. A worker that dies, an
error in a task and an interrupted parent all end with every worker gone and one error. A parent
that is killed leaves no workers behind either: each waits on a pipe whose other end only the parent
holds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

from electra_zh import files
from electra_zh.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
# Called with the amount of work done since the last call.
Report = Callable[[int], None]

_PROGRESS, _DONE, _USER_ERROR, _FILE_ERROR, _CRASH = range(5)
_END_SECONDS = 5


class Interrupted(UserError):
    """The work was ended before its end; what is finished is kept.

    Attributes:
      what: what happened, without the advice.
    """

    def __init__(self, what: str) -> None:
        """Says what happened, and that nothing is lost."""
        self.what = what
        super().__init__(f"{what}. What is finished is kept: the same command goes on from there.")


class WorkerError(RuntimeError):
    """A bug in a worker; its traceback is the message."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turns Ctrl-C, SIGTERM and errors of the operating system into errors of one line.

    Raises:
      Interrupted: one of these came.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, interrupt) if in_main else None
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted") from None
    except UserError:
        raise
    except Exception as error:
        line = files.describe_error(error)
        if line is None:
            raise
        raise Interrupted(line) from None
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def count_processors() -> int:
    """Returns the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    work: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    *,
    processes: int,
    report: Report,
) -> Iterator[Result]:
    """Does the tasks, started in the order given, and yields results in the order of their ends.

    Args:
      work: does one task; a function at the top of a module, or a `functools.partial` of one.
      tasks: what to do.
      processes: how many at once; with 1, or one task, the work is done in this process.
      report: is told of progress, in this process.

    Raises:
      UserError: a task raised it.
      Interrupted: a worker died, or the disk is full.
      WorkerError: a task raised something else.
    """
    processes = min(processes, len(tasks))
    if processes <= 1:
        for task in tasks:
            yield work(task, report)
        return
    pool = _Pool(work, processes)
    try:
        yield from pool.run(tasks, report)
    finally:
        pool.end()


class _Pool:
    def __init__(self, work: Callable[[Any, Report], Any], processes: int) -> None:
        import multiprocessing

        # Forking is fast and shares what the parent has loaded. TensorFlow's threads do not
        # survive it, so where it has been imported the workers start afresh.
        forks = sys.platform == "linux" and "tensorflow" not in sys.modules
        context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self._workers: dict[Any, Any] = {}
        sys.stdout.flush()
        sys.stderr.flush()
        for _ in range(processes):
            ours, theirs = context.Pipe()
            # A forked worker holds copies of our ends of all pipes so far, and must close them.
            others = [*self._workers, ours] if forks else []
            worker = context.Process(target=_serve, args=(theirs, others, work), daemon=True)
            worker.start()
            theirs.close()
            self._workers[ours] = worker

    def run(self, tasks: Sequence[Task], report: Report) -> Iterator[Any]:
        from multiprocessing.connection import wait

        waiting = list(reversed(tasks))
        busy = set()
        for pipe in self._workers:
            self._send(pipe, waiting.pop())
            busy.add(pipe)
        while busy:
            for pipe in wait(list(busy)):
                kind, value = self._receive(pipe)
                if kind == _PROGRESS:
                    report(value)
                else:
                    value = unwrap(kind, value)
                    busy.discard(pipe)
                    if waiting:
                        self._send(pipe, waiting.pop())
                        busy.add(pipe)
                    yield value

    def _send(self, pipe: Any, task: Any) -> None:
        try:
            pipe.send(task)
        except OSError:
            self._raise_dead(pipe)

    def _receive(self, pipe: Any) -> tuple[int, Any]:
        try:
            return pipe.recv()
        except (EOFError, OSError):
            self._raise_dead(pipe)
            raise

    def _raise_dead(self, pipe: Any) -> None:
        worker = self._workers[pipe]
        worker.join(_END_SECONDS)
        code = worker.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        raise Interrupted(
            f"A worker process was ended {how} (signal 9 is often: out of memory)"
        ) from None

    def end(self) -> None:
        for worker in self._workers.values():
            worker.terminate()
        for pipe, worker in self._workers.items():
            worker.join(_END_SECONDS)
            if worker.is_alive():
                worker.kill()
                worker.join()
            pipe.close()


def _serve(pipe: Any, others: Sequence[Any], work: Callable[[Any, Report], Any]) -> None:
    """The life of a worker: tasks in, progress and results out, until the parent is gone."""
    # Ctrl-C reaches the whole process group; the parent sees to the end of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:
        other.close()
    try:
        while True:
            try:
                task = pipe.recv()
            except EOFError:
                break
            pipe.send(attempt(work, task, lambda amount: pipe.send((_PROGRESS, amount))))
    except BrokenPipeError:
        # The parent is gone.
        pass
    finally:
        sys.stderr.flush()
        # Nothing of the parent's, such as its exit handlers, is to run in a forked copy.
        os._exit(0)


def attempt(work: Callable[[Any, Report], Any], task: Any, report: Report) -> tuple[int, Any]:
    """Does a task in a worker; how it ended and what came of it can be sent to another process."""
    try:
        return _DONE, work(task, report)
    except BrokenPipeError:
        raise
    except UserError as error:
        return _USER_ERROR, str(error)
    except Exception as error:
        line = files.describe_error(error)
        return (_CRASH, traceback.format_exc()) if line is None else (_FILE_ERROR, line)


def unwrap(kind: int, value: Any) -> Any:
    """Returns the result of an `attempt`, or raises its error.

    Raises:
      UserError: the task raised it.
      Interrupted: the task had an error of the file system.
      WorkerError: the task raised something else.
    """
    if kind == _USER_ERROR:
        raise UserError(value)
    if kind == _FILE_ERROR:
        raise Interrupted(value)
    if kind == _CRASH:
        raise WorkerError(value)
    assert kind == _DONE
    return value
