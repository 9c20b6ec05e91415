"""A build on a Dask cluster: the bytes are the local build's, and each end is one line."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import electra_zh.data.build
from electra_zh import progress
from electra_zh.data.build.run import build, build_part, open_runner
from electra_zh.data.build.settings import WORK, BuildSettings, Part
from electra_zh.data.workers import OnProgress, StoppedError, interruptible
from electra_zh.errors import UserError
from support.building import contents, make_settings

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")


def test_a_build_survives_the_death_of_a_worker(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    """Worker processes of this machine; one is killed in each half of the build."""
    with open(corpus / "2.txt", "ab") as file:
        file.write(b"\xff\n")
    settings = make_settings(
        corpus, vocabulary, tmp_path / "local", num_shards=12, holdout_every=7, num_processes=2
    )
    build(settings)
    killed = []

    class _Bar:
        speed = 0.0

        def __init__(self) -> None:
            self.updates = 0

        def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
            self.updates += 1
            if self.updates == 2:
                worker = multiprocessing.active_children()[0]
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)

    @contextlib.contextmanager
    def show(what: str, *, total: int, unit: str, initial: int = 0) -> Iterator[progress.Bar]:
        del what, total, unit, initial
        yield _Bar()

    # Relative paths, which workers cannot know.
    with contextlib.chdir(tmp_path):
        ours = dataclasses.replace(settings, inputs=("corpus",), output="dask", runner="dask")
        build(ours, show=show)
    assert len(set(killed)) == 2
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")
    assert not multiprocessing.active_children()


@pytest.fixture
def stamp(tmp_path: Path) -> str:
    path = tmp_path / "build.json"
    path.write_text("{}")
    return str(path)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of one worker with two threads, in this process."""
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
    ) as client:
        yield client


_AT_ONCE: list[int] = []


def _square(task: int, report: OnProgress, *, add: int = 0) -> int:
    _AT_ONCE.append(task)
    time.sleep(0.01)
    assert len(_AT_ONCE) == 1, "two tasks in one process"
    _AT_ONCE.clear()
    report(task)
    report(1)
    return task * task + add


def _fail(task: int, report: OnProgress, *, stamp: str = "") -> int:
    if task == 1:
        raise UserError("line 3 is bad")
    if task == 2:
        raise OSError(28, "No space left on device", "/data/x")
    if task == 3:
        raise ZeroDivisionError("a bug")
    if task == 4:
        Path(stamp).write_text("another build")
        return task
    return task


def test_all_results_come_with_progress(client: Any, stamp: str) -> None:
    from electra_zh.data.build.distributed import DaskRunner

    runner = DaskRunner(client, "here", stamp)
    done: list[int] = []
    work = functools.partial(_square, add=1)
    results = runner(work, list(range(20)), report=done.append)
    assert results == [number * number + 1 for number in range(20)]
    assert sorted(done) == list(range(1, 21))
    assert runner(_square, [], report=print) == []


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ([0, 1], UserError, "^line 3 is bad$"),
        ([0, 2], StoppedError, "No space left on device: /data/x. Finished work is kept"),
        ([0, 3], ZeroDivisionError, "a bug"),
        ([4, 5, 5], UserError, "sees another build in"),
    ],
)
def test_errors_in_tasks_end_the_work(
    client: Any, stamp: str, tasks: list[int], error: type[Exception], message: str
) -> None:
    from electra_zh.data.build.distributed import DaskRunner

    runner = DaskRunner(client, "here", stamp)
    with pytest.raises(error, match=message), interruptible():
        runner(functools.partial(_fail, stamp=stamp), tasks, report=lambda amount: None)


def test_workers_that_cannot_take_part_are_refused(stamp: str) -> None:
    from electra_zh.data.build.distributed import _WorkPlugin

    worker = types.SimpleNamespace(address="tcp://10.0.0.5:1234")
    share = _WorkPlugin(_square, stamp)
    share.setup(worker)
    share._versions = "electra-zh 0.0.9"
    with pytest.raises(
        UserError, match=r"worker tcp://10.0.0.5:1234 has .*, and the build .*0\.0\.9"
    ):
        share.setup(worker)
    share = _WorkPlugin(_square, stamp)
    os.remove(stamp)
    with pytest.raises(UserError, match=r"cannot see .*build\.json: the output must be a folder"):
        share.setup(worker)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    stamp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from electra_zh.data.build import distributed as module

    monkeypatch.setattr(module, "_LONELY_SECONDS", 0.2)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.1)
    with distributed.Client(processes=False, n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        runner = module.DaskRunner(empty, "tcp://10.0.0.1:8786", stamp)
        with pytest.raises(StoppedError, match=r"No workers at tcp://10\.0\.0\.1:8786 for"):
            runner(_square, [1], report=print)


def test_a_scheduler_that_goes_away_is_one_line(
    stamp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from electra_zh.data.build import distributed as module

    monkeypatch.setattr(module, "_POLL_SECONDS", 0.1)
    cluster = distributed.LocalCluster(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    )
    with distributed.Client(cluster) as client:
        runner = module.DaskRunner(client, "tcp://10.0.0.1:8786", stamp)
        first = iter([True])

        def report(amount: int) -> None:
            if next(first, False):
                threading.Timer(0.1, cluster.close).start()

        with pytest.raises(
            StoppedError, match=r"The Dask (scheduler|cluster) at tcp://10\.0\.0\.1"
        ):
            runner(_square, list(range(1000)), report=report)
    _AT_ONCE.clear()


def _file(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def test_no_scheduler_is_one_line_and_leaves_nothing(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from electra_zh.data.build import distributed as module

    monkeypatch.setattr(module, "_CONNECT_SECONDS", 1)
    settings = make_settings(
        corpus, vocabulary, tmp_path / "out", num_processes=None, runner="dask"
    )
    for scheduler, message in (
        ("tcp://127.0.0.1:1", "No Dask scheduler answers at tcp://127.0.0.1:1: "),
        ("foo://x", "No Dask scheduler answers at foo://x: unknown address scheme"),
        ("none.json", "No such scheduler file: none.json"),
        (_file(tmp_path, "text.json", "tcp://a:1"), r"text\.json is not valid JSON"),
        (_file(tmp_path, "list.json", "[1]"), r"list\.json is not a JSON object: \[1\]"),
        (_file(tmp_path, "other.json", '{"type": "x"}'), r"other\.json is not a scheduler file"),
        (_file(tmp_path, "number.json", '{"address": 8786}'), "`address` is missing"),
    ):
        with pytest.raises(UserError, match=message):
            build(dataclasses.replace(settings, scheduler=scheduler))
        assert not (tmp_path / "out").exists()


def test_finished_work_outlives_a_missing_scheduler(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    settings = make_settings(corpus, vocabulary, output, num_processes=None)
    build_part(dataclasses.replace(settings, part=Part(1, 2)))
    before = contents(output)
    with pytest.raises(UserError, match="No such scheduler file"):
        build(dataclasses.replace(settings, runner="dask", scheduler="none.json"))
    assert contents(output) == before
    assert [name for name in before if name.startswith(f"{WORK}/unit-")]


def test_a_missing_engine_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "electra_zh.data.build.distributed", raising=False)
    monkeypatch.delattr(electra_zh.data.build, "distributed", raising=False)
    settings = make_settings(corpus, vocabulary, tmp_path / "out", runner="dask")
    message = r"--runner dask needs the package distributed: pip install 'electra-zh\[dask\]'"
    with pytest.raises(UserError, match=message), open_runner(settings):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runner": "dusk"}, 'runner is "dusk"; allowed: local, dask. Did you mean "dask"'),
        ({"scheduler": "tcp://a:1"}, "add --runner dask"),
        (
            {"runner": "dask", "scheduler": "tcp://a:1", "num_processes": 2},
            "--processes sets local workers only",
        ),
    ],
)
def test_runner_settings_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BuildSettings(("a",), "b", "c", **changes)  # type: ignore[arg-type]
