"""The tasks of a build on a Dask cluster.

Dask assigns the tasks, repeats those of a worker that died, and runs wherever Python does: on
Slurm, Kubernetes, several machines, or as processes of this one. Workers read the corpus and write
to the output folder themselves, so all machines must see both under the same paths. Only tasks and
counts pass through the scheduler. A plugin brings the shared data (the vocabulary among it) to each
worker once, and refuses workers that would not write the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import logging as python_logging
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from multiprocessing import resource_tracker
from typing import Any

import distributed
from absl import logging
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from electra_zh import __version__, files, interrupts
from electra_zh.data import workers
from electra_zh.data.workers import OnProgress, Result, Runner, StoppedError, Task
from electra_zh.errors import UserError
from electra_zh.text.characters import UNICODE_VERSION

_NO_LOGS = python_logging.CRITICAL + 1
# Libraries that cut text; their next versions may cut it differently.
_LIBRARIES = ("jieba", "rjieba", "sentencepiece")
_CONNECT_SECONDS = 15
_POLL_SECONDS = 0.2
# Workers may arrive late, from a queue, or come back; after this time the build stops.
_LONELY_SECONDS = 300.0
# A worker process does one task at a time, however many threads it has: the tokenizer is shared.
_ONE_TASK = threading.Lock()


@contextlib.contextmanager
def open_cluster(scheduler: str | None, processes: int, fingerprint_path: str) -> Iterator[Runner]:
    """Yields the runner of a scheduler, or of a cluster that is started on this machine.

    `scheduler` is an address or a scheduler file, and None for `processes` workers on this machine.
    By the file at the absolute path `fingerprint_path` workers recognize the build.

    Raises:
      UserError: the scheduler does not answer.
    """
    # Errors are reported in one line by this module; clusters write their own logs.
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logger = python_logging.getLogger(name)
        logger.setLevel(_NO_LOGS)
        for handler in logger.handlers:
            handler.setLevel(_NO_LOGS)
    with _local_client(processes) if scheduler is None else _client(scheduler) as client:
        yield DaskRunner(client, scheduler or "this machine", fingerprint_path)


@contextlib.contextmanager
def _local_client(processes: int) -> Iterator[distributed.Client]:
    with tempfile.TemporaryDirectory(prefix="electra-zh-") as folder:
        # Ctrl-C reaches the whole process group, but this process ends its workers. They inherit
        # the blocked signal from the threads started here; the resource tracker would unblock it.
        resource_tracker.ensure_running()
        with interrupts.blocked(signal.SIGINT):
            cluster = distributed.LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                local_directory=folder,
                silence_logs=_NO_LOGS,
            )
        with cluster, distributed.Client(cluster) as client:
            yield client


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[distributed.Client]:
    address = _read_address(scheduler) if scheduler.endswith(".json") else scheduler
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"No Dask scheduler answers at {scheduler}: {reason}") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=_CONNECT_SECONDS)


def _read_address(path: str) -> str:
    writer = "Write it with `dask scheduler --scheduler-file`"
    if not files.exists(path):
        raise UserError(f"No such scheduler file: {path}. {writer}")
    address = files.read_json_object(path).get("address")
    if not isinstance(address, str):
        raise UserError(f"{path} is not a scheduler file: `address` is missing. {writer}")
    return address


class _WorkPlugin(distributed.WorkerPlugin):
    """The work of a build on one worker, and the checks that the worker may do it."""

    def __init__(self, work: Callable[[Any, OnProgress], Any], fingerprint_path: str) -> None:
        self._work = work
        self._path = fingerprint_path
        self._fingerprint = files.read_bytes(fingerprint_path)
        self._versions = _list_versions()

    def setup(self, worker: distributed.Worker) -> None:
        """Refuses a worker with other versions or without the output folder."""
        own = _list_versions()
        if own != self._versions:
            raise UserError(f"worker {worker.address} has {own}, and the build {self._versions}")
        self._check_folder()

    def do(self, task: Any) -> tuple[Any, int]:
        """Does a task; returns its result and its progress."""
        with _ONE_TASK:
            # Another build may have started in the folder since this task was assigned.
            self._check_folder()
            return workers.run_counted(self._work, task)

    def _check_folder(self) -> None:
        worker = f"worker on {socket.gethostname()}"
        if not files.exists(self._path):
            raise UserError(
                f"{worker} cannot see {self._path}: the output must be a folder that all "
                "machines share, under the same path"
            )
        if files.read_bytes(self._path) != self._fingerprint:
            raise UserError(f"{worker} sees another build in {self._path}")


def _list_versions() -> str:
    """Returns the versions of everything that the bytes depend on."""
    own = [f"electra-zh {__version__}", f"Unicode {UNICODE_VERSION}"]
    return ", ".join([*own, *(f"{name} {version(name)}" for name in _LIBRARIES)])


def _do(task: Any, *, plugin: str) -> tuple[Any, int]:
    own: _WorkPlugin = distributed.get_worker().plugins[plugin]
    return own.do(task)


class DaskRunner:
    """A `Runner` over the workers of a Dask cluster; `where` is its name in messages."""

    def __init__(self, client: distributed.Client, where: str, fingerprint_path: str) -> None:
        self._client = client
        self._where = where
        self._fingerprint_path = fingerprint_path
        self._lonely_since: float | None = None

    def __call__(
        self,
        work: Callable[[Task, OnProgress], Result],
        tasks: Sequence[Task],
        *,
        report: OnProgress,
    ) -> list[Result]:
        """Does the tasks; see `Runner`. Progress is reported at the end of each task."""
        if not tasks:
            return []
        plugin = f"electra-zh-{uuid.uuid4().hex}"
        self._register(_WorkPlugin(work, self._fingerprint_path), plugin)
        futures = self._client.map(functools.partial(_do, plugin=plugin), tasks, pure=False)
        keys = [future.key for future in futures]
        pending = dict(zip(keys, futures, strict=True))
        completed = distributed.as_completed(futures, with_results=True)
        del futures
        results: dict[str, Result] = {}
        try:
            while pending:
                if not completed.has_ready():
                    self._wait()
                    continue
                key, (result, amount) = self._next(completed)
                results[key] = result
                # Release it: a worker that dies then takes only unfetched results along.
                del pending[key]
                report(amount)
        finally:
            # Running tasks come to their end on their workers, unseen.
            with contextlib.suppress(Exception):
                if pending:
                    self._client.cancel(list(pending.values()), force=True)
                self._client.unregister_worker_plugin(plugin)
        return [results[key] for key in keys]

    def _register(self, plugin: _WorkPlugin, name: str) -> None:
        while not self._has_workers():
            self._wait()
        try:
            self._client.register_plugin(plugin, name=name)
        except UserError:
            raise
        except (CommClosedError, distributed.CancelledError):
            raise self._gone() from None
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            if "No module named" in reason:
                reason += " (all machines need the same installation)"
            raise StoppedError(f"The Dask cluster at {self._where} failed: {reason}") from None

    def _next(self, completed: Any) -> tuple[str, Any]:
        """Returns the key and the outcome of a task that is done."""
        try:
            future, outcome = next(completed)
        except KilledWorker as error:
            raise StoppedError(
                f"A task killed every worker that ran it, the last at {error.last_worker.address}, "
                "usually because memory ran out"
            ) from None
        # Of a cancelled task. Its status says less: a worker that dies later makes it "lost".
        if isinstance(outcome, BaseException):
            raise self._gone()
        return future.key, outcome

    def _has_workers(self) -> bool:
        # The answer is empty while the client reconnects.
        return bool(self._client.scheduler_info().get("workers"))

    def _wait(self) -> None:
        """Waits a little; raises StoppedError when the cluster cannot finish the work."""
        if self._client.status not in ("running", "connecting"):
            raise self._gone()
        if self._has_workers():
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since = time.monotonic()
            logging.info("No workers at %s yet; waiting.", self._where)
        elif time.monotonic() - self._lonely_since > _LONELY_SECONDS:
            raise StoppedError(
                f"No workers at {self._where} for {_LONELY_SECONDS / 60:.0f} minutes; see their "
                "logs for the reason"
            )
        time.sleep(_POLL_SECONDS)

    def _gone(self) -> StoppedError:
        return StoppedError(f"The Dask scheduler at {self._where} is gone")
