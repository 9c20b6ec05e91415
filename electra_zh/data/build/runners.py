"""The two runners of a build's tasks: processes of this machine, and the workers of a cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from electra_zh.data.build.folder import fingerprint_path
from electra_zh.data.build.settings import LOCAL, BuildSettings
from electra_zh.data.workers import OnProgress, Result, Task, count_processors, run_tasks
from electra_zh.errors import UserError


class Runner(Protocol):
    """A function that does tasks anywhere, each at least once, in any order.

    A task that is done again, or by two workers at once, must leave the same files.
    """

    def __call__(
        self,
        work: Callable[[Task, OnProgress], Result],
        tasks: Sequence[Task],
        *,
        report: OnProgress,
    ) -> Iterator[Result]:
        """Does the tasks and yields each result when its task ends; see `workers.run_tasks`.

        Raises:
          StoppedError: the work cannot continue; finished tasks are kept.
        """


@contextlib.contextmanager
def open_runner(settings: BuildSettings) -> Iterator[Runner]:
    """Gives the runner that the settings name, and ends the processes started for it.

    Raises:
      UserError: Dask is not installed, or its scheduler does not answer.
    """
    processes = settings.num_processes or count_processors()
    if settings.runner == LOCAL:
        yield functools.partial(run_tasks, processes=processes)
        return
    try:
        from electra_zh.data.build import distributed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("electra_zh"):
            raise
        raise UserError(
            f"--runner {settings.runner} needs the package {error.name}: "
            "pip install 'electra-zh[dask]'"
        ) from None
    path = fingerprint_path(settings)
    with distributed.open_cluster(settings.scheduler, processes, path) as runner:
        yield runner
