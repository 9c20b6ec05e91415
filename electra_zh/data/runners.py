"""Who does the tasks of a build: processes of this machine, or the workers of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from electra_zh.data.settings import LOCAL, BuildSettings
from electra_zh.data.workers import Report, Result, Task, run_tasks
from electra_zh.errors import UserError


class Runner(Protocol):
    """Does tasks anywhere, each at least once, in any order.

    A task that is done twice, or by two workers at once, must leave what it leaves when done once.
    """

    def run(
        self, work: Callable[[Task, Report], Result], tasks: Sequence[Task], *, report: Report
    ) -> Iterator[Result]:
        """Does the tasks and yields their results as they are done.

        Args:
          work: does one task; a function at the top of a module, or a `functools.partial` of one.
          tasks: what to do, to be started in this order.
          report: is told of progress, in this process.

        Raises:
          UserError: a task raised it.
          Interrupted: the work cannot go on; what is done is kept.
          WorkerError: a task raised something else.
        """


class LocalRunner:
    """Processes of this machine, started for the tasks and gone at their end."""

    def __init__(self, processes: int) -> None:
        """Takes how many at most."""
        self._processes = processes

    def run(
        self, work: Callable[[Task, Report], Result], tasks: Sequence[Task], *, report: Report
    ) -> Iterator[Result]:
        """Does the tasks: `workers.run_tasks`."""
        return run_tasks(work, tasks, processes=self._processes, report=report)


@contextlib.contextmanager
def open_runner(settings: BuildSettings) -> Iterator[Runner]:
    """Gives the runner that the settings name, and ends what was started for it.

    Raises:
      UserError: the engine is not installed, or its cluster does not answer.
    """
    if settings.runner == LOCAL:
        yield LocalRunner(settings.processes)
        return
    try:
        from electra_zh.data import distributed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("electra_zh"):
            raise
        raise UserError(
            f"--runner {settings.runner} needs the package {error.name}: "
            "pip install 'electra-zh[dask]'"
        ) from None
    with distributed.open_cluster(settings) as runner:
        yield runner
