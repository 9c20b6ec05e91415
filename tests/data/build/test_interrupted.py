"""Builds that are stopped: one line, nothing that looks finished, and the next call resumes."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from electra_zh.data.build import run, shards, units
from electra_zh.data.build.context import BuildContext
from electra_zh.data.build.run import build
from electra_zh.data.build.settings import WORK, BuildSettings
from electra_zh.data.documents import TextUnit
from electra_zh.data.manifest import MANIFEST, load_manifest
from electra_zh.data.workers import OnProgress, StoppedError
from electra_zh.errors import UserError
from electra_zh.interrupts import InterruptError
from support.building import contents, make_settings, make_text


def _stop(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_second_call_resumes(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    build(make_settings(corpus, vocabulary, whole, num_shards=3))
    settings = make_settings(corpus, vocabulary, output, num_shards=3)
    real_unit, real_shard = units.build_unit, shards.write_shard
    made: list[str] = []

    def unit(task: TextUnit, report: OnProgress, *, context: BuildContext) -> units.UnitCounts:
        made.append(f"unit {task.index}")
        if len(made) == 4:
            raise KeyboardInterrupt
        return real_unit(task, report, context=context)

    def shard(
        task: shards.ShardTask,
        report: OnProgress,
        *,
        context: BuildContext,
        segments: shards.Segments,
    ) -> object:
        made.append(f"shard {task.index}")
        if made.count("shard 1") == 1 and task.index == 1:
            raise OSError(28, "No space left on device")
        return real_shard(task, report, context=context, segments=segments)

    monkeypatch.setattr(units, "build_unit", unit)
    monkeypatch.setattr(shards, "write_shard", shard)
    with pytest.raises(InterruptError, match=r"^Interrupted\. Finished work is kept"):
        build(settings)
    assert not (output / MANIFEST).exists()
    with pytest.raises(UserError, match=r"is unfinished\. Run the same build-data command"):
        load_manifest(str(output))
    with pytest.raises(UserError, match=r"other max_seq_length \(32 there, 64 here\)"):
        build(dataclasses.replace(settings, max_seq_length=64))
    with pytest.raises(StoppedError, match="No space left on device"):
        build(settings)
    build(settings)
    assert contents(output) == contents(whole)
    # Only the interrupted ones were done twice.
    twice = [name for name, count in Counter(made).items() if count > 1]
    assert len(twice) == 2
    assert "shard 1" in twice


def test_units_that_lost_rows_are_done_again(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    build(make_settings(corpus, vocabulary, whole))
    settings = make_settings(corpus, vocabulary, output)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "plan_shards", _stop)
        with pytest.raises(InterruptError):
            build(settings)
    rows = sorted((output / WORK).glob("*.rows"))
    rows[0].write_bytes(rows[0].read_bytes()[:-1])
    rows[1].unlink()
    build(settings)
    assert contents(output) == contents(whole)


@pytest.mark.parametrize("is_pipe", [False, True])
def test_a_build_resumes_under_another_path(
    vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_pipe: bool
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    # A bad line of a later unit: counting the lines before it needs the file.
    text = make_text(40).encode()
    data = text + b"\xff\n" + make_text(10, seed=1).encode()

    def settings(folder: str) -> BuildSettings:
        path = tmp_path / folder / "text"
        if is_pipe:
            os.mkfifo(path)
            threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
        elif folder == "a":
            path.write_bytes(data)
        else:
            (tmp_path / "a" / "text").rename(path)
        return make_settings(path, vocabulary, tmp_path / "out")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "plan_shards", _stop)
        with pytest.raises(InterruptError):
            build(settings("a"))
    monkeypatch.setattr(units, "build_unit", _stop)
    (bad,) = build(settings("b")).corpus.bad_lines
    name = "pipe" if is_pipe else "text"
    assert bad.first == (f"{name}:{text.count(10) + 1}",)


def _start(settings: BuildSettings, *before: str) -> subprocess.Popen[str]:
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    del values["tokenizer"]
    script = "\n".join(
        [
            "import signal",
            "from electra_zh import interrupts",
            "from electra_zh.data.build.run import build",
            "from electra_zh.data.build.settings import BuildSettings",
            "from electra_zh.errors import UserError",
            # A shell starts its background jobs, tests too, with Ctrl-C ignored.
            "signal.signal(signal.SIGINT, signal.default_int_handler)",
            "interrupts.raise_on_signals()",
            *before,
            "try:",
            f"    build(BuildSettings(**{values!r}))",
            "except UserError as error:",
            "    raise SystemExit(str(error))",
        ]
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


_SLOW = (
    "from electra_zh.data.build import units",
    "import time",
    "fast = units.build_unit",
    "def slow(unit, report, *, context):",
    "    time.sleep(0.2)",
    "    return fast(unit, report, context=context)",
    "units.build_unit = slow",
)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_build_in_one_line(
    corpus: Path, vocabulary: str, tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    output = tmp_path / "out"
    settings = make_settings(corpus, vocabulary, output, num_processes=processes)
    process = _start(settings, *_SLOW)
    while not list((output / WORK).glob("unit-*.json")) and process.poll() is None:
        time.sleep(0.01)
    # Ctrl-C goes to the whole group, a plain kill to the parent.
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == ("Interrupted. Finished work is kept; run the same command again to resume.\n")
    assert not list(output.glob("pretrain_data*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    build(settings)
    whole = tmp_path / "whole"
    build(dataclasses.replace(settings, output=str(whole)))
    assert contents(output) == contents(whole)


def test_a_full_disk_is_one_line(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    """A limit on the size of files gives the same kind of error as a full disk."""
    settings = make_settings(corpus, vocabulary, tmp_path / "out", num_processes=2)
    limits = f"(4096, {resource.RLIM_INFINITY})"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limits})"
    _, errors = _start(settings, limit).communicate(timeout=30)
    assert errors.startswith("File too large")
    assert errors.count("\n") == 1


def test_work_that_is_left_of_finished_data_is_removed(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    settings = make_settings(corpus, vocabulary, output)
    with monkeypatch.context() as patch:
        patch.setattr(run.folder, "remove_work", lambda settings: None)
        build(settings)
    assert (output / WORK).exists()
    with pytest.raises(UserError, match="has finished data"):
        build(settings)
    assert not (output / WORK).exists()
    # The work of an unfinished build that is to replace the data stays.
    (output / WORK).mkdir()
    (output / WORK / "build.json").write_text("{}")
    with pytest.raises(UserError, match="has finished data"):
        build(settings)
    assert (output / WORK / "build.json").exists()
