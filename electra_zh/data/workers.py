"""A pool of worker processes that always comes to an end.

It is `concurrent.futures.ProcessPoolExecutor`. Added here: workers end with their parent, however
it ends; an error, a killed worker and Ctrl-C stop all work at once; progress is counted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from electra_zh import files, interrupts, machine
from electra_zh.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

Task = TypeVar("Task")
Result = TypeVar("Result")
# Called with the amount of work done since the last call.
OnProgress = Callable[[int], None]


class Runner(Protocol):
    """A function that does tasks anywhere, such as `run_tasks`.

    A task may be done again, or by two workers at once; it must then leave the same files.
    """

    def __call__(
        self,
        work: Callable[[Task, OnProgress], Result],
        tasks: Sequence[Task],
        *,
        report: OnProgress,
    ) -> list[Result]:
        """Does the tasks; raises StoppedError when the work cannot continue."""


class StoppedError(UserError):
    """Work that stopped before its end; finished tasks are kept."""


@contextlib.contextmanager
def interruptible(
    advice: str = f"Finished work is kept; {interrupts.RESUME}",
) -> Iterator[None]:
    """Turns signals and errors of the operating system into errors of one line, with advice.

    Raises:
      InterruptError: Ctrl-C or SIGTERM.
      StoppedError: an error of the operating system, or work that stopped.
    """
    try:
        with interrupts.explained(advice):
            yield
    except StoppedError as error:
        raise StoppedError(f"{error}. {advice}") from None
    except UserError:
        raise
    except Exception as error:
        line = files.describe_error(error)
        if line is None:
            raise
        raise StoppedError(f"{line}. {advice}") from None


def run_tasks(
    work: Callable[[Task, OnProgress], Result],
    tasks: Sequence[Task],
    *,
    processes: int | None,
    report: OnProgress,
) -> list[Result]:
    """Starts the tasks in the given order and returns their results in this order.

    An error in a task ends the others and is raised here.

    Args:
      work: does one task; a function at the top of a module, or a `functools.partial` of one.
      tasks: the tasks.
      processes: number of worker processes, by default one per processor; with 1, or one task,
        this process does the work.
      report: receives the progress, in this process; from workers at the end of each task.

    Raises:
      StoppedError: a worker was killed.
    """
    processes = min(processes or machine.usable_cpus(), len(tasks))
    if processes <= 1:
        return [work(task, report) for task in tasks]
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    others = multiprocessing.active_children()
    workers: list[BaseProcess] = []
    pool = ProcessPoolExecutor(processes, _context(), _start_worker, (work,))
    try:
        # No process starts with the signals unblocked, so none reacts to them as its parent would.
        # A signal that has come meanwhile is raised at the end of the block.
        with interrupts.blocked(*interrupts.SIGNALS):
            futures = [pool.submit(_do, task) for task in tasks]
            workers += [each for each in multiprocessing.active_children() if each not in others]
        for future in as_completed(futures):
            report(future.result()[1])
        return [future.result()[0] for future in futures]
    except BrokenProcessPool:
        pool.shutdown()
        raise StoppedError(_cause_of_death(workers)) from None
    except BaseException:
        # SIGTERM is blocked in one that is starting, which then misses what its parent gave it.
        for worker in workers:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def run_counted(work: Callable[[Task, OnProgress], Result], task: Task) -> tuple[Result, int]:
    """Does a task in a worker; returns its result and the progress that it reported."""
    done: list[int] = []
    return work(task, done.append), sum(done)


def _context() -> Any:
    import multiprocessing
    from multiprocessing import resource_tracker

    # Forking is fast and shares the parent's memory. TensorFlow's threads do not survive it, so
    # with TensorFlow imported the workers start afresh.
    if sys.platform == "linux" and "tensorflow" not in sys.modules:
        return multiprocessing.get_context("fork")
    # It unblocks the signals when it starts, so it starts before they are blocked.
    resource_tracker.ensure_running()
    return multiprocessing.get_context("spawn")


# The work of this worker process: sent once, not with each task.
_work: Callable[..., Any] | None = None


def _start_worker(work: Callable[..., Any]) -> None:
    """Prepares a worker process to do the work until its parent ends it."""
    global _work
    _work = work
    # Ctrl-C reaches the whole process group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(task: Any) -> tuple[Any, int]:
    assert _work is not None
    return run_counted(_work, task)


def _cause_of_death(workers: Sequence[BaseProcess]) -> str:
    # The pool ends the surviving workers by SIGTERM.
    codes = [worker.exitcode for worker in workers]
    code = next((code for code in codes if code not in (0, -signal.SIGTERM)), -signal.SIGTERM)
    if code is None or code >= 0:
        return f"A worker process ended with exit code {code}"
    hint = ", usually because memory ran out" if code == -signal.SIGKILL else ""
    return f"A worker process was killed by signal {-code}{hint}"
