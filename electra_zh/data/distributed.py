"""The tasks of a build on a Dask cluster.

Dask knows which worker has which task, gives the tasks of a worker that died to others, and runs
wherever Python does: on Slurm, Kubernetes, plain machines, or as processes of this one. The
workers read the corpus and write to the output folder themselves, so both must be there under the
same path on all machines; through the scheduler go only the tasks and what was counted.

What all tasks share (the vocabulary among it) is sent to each worker once, as a plugin, which also
refuses workers that would not give the same bytes. A task may be done twice, or by two workers at
once: its files have the same bytes and get their names when they are whole.
"""

from __future__ import annotations

import contextlib
import logging as python_logging
import queue
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import resource_tracker
from typing import Any

import distributed
from absl import logging
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from electra_zh import __version__, files
from electra_zh.data.folder import fingerprint_path
from electra_zh.data.settings import BuildSettings
from electra_zh.data.workers import Interrupted, Report, Result, Task, attempt, unwrap
from electra_zh.errors import UserError
from electra_zh.text.wordpiece.tokenizer import UNICODE_VERSION

_NO_LOGS = python_logging.CRITICAL + 1
# Libraries that cut text, which their next versions may do in another way.
_LIBRARIES = ("jieba", "rjieba", "sentencepiece")
_CONNECT_SECONDS = 15
# How often the cluster is looked at while no task ends.
_LOOK_SECONDS = 1.0
# Workers may come late, from a queue, or come again; longer than this nobody waits without a word.
_LONELY_SECONDS = 300.0
# A worker process does one task at a time, however many threads it has: the tokenizer is one.
_ONE_TASK = threading.Lock()


@contextlib.contextmanager
def open_cluster(settings: BuildSettings) -> Iterator[DaskRunner]:
    """Connects to the cluster of `settings.scheduler`, or starts one on this machine for a while.

    Args:
      settings: with whole paths.

    Raises:
      UserError: no scheduler answers.
    """
    _silence_logs()
    with contextlib.ExitStack() as stack:
        if settings.scheduler is None:
            client = stack.enter_context(_local_client(settings.processes))
        else:
            client = stack.enter_context(_client(settings.scheduler))
        yield DaskRunner(client, settings.scheduler or "this machine", fingerprint_path(settings))


def _silence_logs() -> None:
    """Leaves it to one line of this module to say what went wrong; clusters have logs of theirs."""
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logger = python_logging.getLogger(name)
        logger.setLevel(_NO_LOGS)
        for handler in logger.handlers:
            handler.setLevel(_NO_LOGS)


@contextlib.contextmanager
def _local_client(processes: int) -> Iterator[distributed.Client]:
    with (
        tempfile.TemporaryDirectory(prefix="electra-zh-") as folder,
        contextlib.ExitStack() as stack,
    ):
        # Ctrl-C reaches the whole process group; this process sees to the end of its workers. They
        # are started by threads that begin here, and have their signal mask (which the resource
        # tracker would change as it starts).
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            cluster = distributed.LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                local_directory=folder,
                silence_logs=_NO_LOGS,
            )
            stack.enter_context(cluster)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield stack.enter_context(distributed.Client(cluster))


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[distributed.Client]:
    """Connects to a scheduler by its address, or by the file that it writes."""
    is_file = scheduler.endswith(".json")
    if is_file:
        _check_scheduler_file(scheduler)
    where = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"No Dask scheduler answers at {scheduler}: {reason}") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=_CONNECT_SECONDS)


def _check_scheduler_file(path: str) -> None:
    """Raises a UserError unless a file says where a scheduler is; Dask would fail unclearly."""
    writer = "`dask scheduler --scheduler-file` writes it"
    if not files.exists(path):
        raise UserError(f"No such scheduler file: {path}; {writer}")
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("address"), str):
        raise UserError(f"{path} is not a scheduler file: it has no `address`; {writer}")


class _Share(distributed.WorkerPlugin):
    """What a worker is given once: the work, and what it must agree with."""

    def __init__(self, work: Callable[[Any, Report], Any], stamp: str) -> None:
        self._work = work
        self._stamp = stamp
        self._wanted = files.sha256(files.read_bytes(stamp))
        self._versions = _list_versions()

    def setup(self, worker: distributed.Worker) -> None:
        """Refuses a worker that cannot take part."""
        own = _list_versions()
        if own != self._versions:
            raise UserError(f"worker {worker.address} has {own}, and the build {self._versions}")
        self._check_folder()

    def do(self, task: Any) -> tuple[int, Any, int]:
        """Does a task: how it ended, what came of it, and the progress that it has made."""
        done: list[int] = []
        with _ONE_TASK:
            kind, value = attempt(self._checked, task, done.append)
        return kind, value, sum(done)

    def _checked(self, task: Any, report: Report) -> Any:
        # Another build may have been begun in the folder since this task was given out.
        self._check_folder()
        return self._work(task, report)

    def _check_folder(self) -> None:
        place = f"worker on {socket.gethostname()}"
        if not files.exists(self._stamp):
            raise UserError(
                f"{place} does not see {self._stamp}: the output must be a folder that all "
                "machines share, under the same path"
            )
        if files.sha256(files.read_bytes(self._stamp)) != self._wanted:
            raise UserError(f"{place} sees another build in {self._stamp}")


def _list_versions() -> str:
    """Returns the versions of all that the bytes depend on."""
    shown = [f"electra-zh {__version__}", f"Unicode {UNICODE_VERSION}"]
    for name in _LIBRARIES:
        try:
            shown.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            shown.append(f"no {name}")
    return ", ".join(shown)


def _do(name: str, task: Any) -> tuple[int, Any, int]:
    return distributed.get_worker().plugins[name].do(task)


class DaskRunner:
    """A `Runner` over the workers of a Dask cluster."""

    def __init__(self, client: distributed.Client, where: str, stamp: str) -> None:
        """Prepares.

        Args:
          client: connected to the cluster.
          where: what to call the cluster.
          stamp: a file in the output folder by which workers know the build.
        """
        self._client = client
        self._where = where
        self._stamp = stamp
        self._lonely_since: float | None = None

    def run(
        self, work: Callable[[Task, Report], Result], tasks: Sequence[Task], *, report: Report
    ) -> Iterator[Result]:
        """Does the tasks; see `Runner.run`. Progress is told at the end of each task."""
        if not tasks:
            return
        name = f"electra-zh-{uuid.uuid4().hex}"
        self._await_workers()
        try:
            self._client.register_plugin(_Share(work, self._stamp), name=name)
        except UserError:
            raise
        except Exception as error:
            raise self._lost(error) from None
        futures = self._client.map(_do, [name] * len(tasks), tasks, pure=False)
        pending = {future.key: future for future in futures}
        del futures
        try:
            for kind, value, amount in self._results(pending):
                result = unwrap(kind, value)
                report(amount)
                yield result
        finally:
            # Running tasks come to their end on their workers, unseen.
            with contextlib.suppress(Exception):
                if pending:
                    self._client.cancel(list(pending.values()), force=True)
                self._client.unregister_worker_plugin(name)

    def _results(self, pending: dict[Any, distributed.Future]) -> Iterator[tuple[int, Any, int]]:
        ended: queue.SimpleQueue[distributed.Future] = queue.SimpleQueue()
        for future in pending.values():
            future.add_done_callback(ended.put)
        while pending:
            try:
                future = ended.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._look()
                continue
            yield self._result(future)
            # A worker that dies takes only results along that nobody has fetched.
            pending.pop(future.key).release()

    def _result(self, future: distributed.Future) -> tuple[int, Any, int]:
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except distributed.TimeoutError:
                self._look()
            except KilledWorker as error:
                raise Interrupted(
                    f"The workers that did one of the tasks died each time, the last of them "
                    f"{error.last_worker.address} (often: out of memory)"
                ) from None
            except Exception as error:
                raise self._lost(error) from None

    def _await_workers(self) -> None:
        while not self._has_workers():
            self._look()
            time.sleep(_LOOK_SECONDS)

    def _has_workers(self) -> bool:
        # While a connection is made again, nothing is known.
        return bool(self._client.scheduler_info().get("workers"))

    def _look(self) -> None:
        """Raises Interrupted when nothing can be hoped for any more."""
        if self._client.status not in ("running", "connecting"):
            raise Interrupted(f"The Dask scheduler at {self._where} is gone")
        if self._has_workers():
            self._lonely_since = None
            return
        if self._lonely_since is None:
            self._lonely_since = time.monotonic()
            logging.info("No workers at %s; waiting for some.", self._where)
        if time.monotonic() - self._lonely_since > _LONELY_SECONDS:
            raise Interrupted(
                f"No workers at {self._where} for {_LONELY_SECONDS / 60:.0f} minutes (their own "
                "logs say why they did not start, or ended)"
            )

    def _lost(self, error: Exception) -> Interrupted:
        if isinstance(error, (CommClosedError, distributed.CancelledError)):
            return Interrupted(f"The Dask scheduler at {self._where} is gone")
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if "No module named" in reason:
            reason += " (all machines need the same installation)"
        return Interrupted(f"The Dask cluster at {self._where} failed: {reason}")
