"""Builds that are stopped: one line, nothing that looks finished, and the next call goes on."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from electra_zh.data import build, shards, units
from electra_zh.data.build import BuildSettings, StoppedError
from electra_zh.data.documents import Unit
from electra_zh.data.manifest import MANIFEST, WORK
from electra_zh.data.workers import OnProgress
from electra_zh.errors import UserError
from support.building import contents, make_settings


def test_a_second_call_goes_on(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    build.build(make_settings(corpus, vocabulary, whole, num_shards=3))
    settings = make_settings(corpus, vocabulary, output, num_shards=3)
    real_unit, real_shard = units.build_unit, shards._write_shard
    made: list[str] = []

    def unit(task: Unit, report: OnProgress, *, settings: units.UnitSettings) -> units.UnitCounts:
        made.append(f"unit {task.index}")
        if len(made) == 4:
            raise KeyboardInterrupt
        return real_unit(task, report, settings=settings)

    def shard(
        task: shards.ShardTask,
        report: OnProgress,
        *,
        settings: BuildSettings,
        segments: shards.Segments,
        dtype: np.dtype,
    ) -> object:
        made.append(f"shard {task.index}")
        if made.count("shard 1") == 1 and task.index == 1:
            raise OSError(28, "No space left on device")
        return real_shard(task, report, settings=settings, segments=segments, dtype=dtype)

    monkeypatch.setattr(units, "build_unit", unit)
    monkeypatch.setattr(shards, "_write_shard", shard)
    with pytest.raises(StoppedError, match=r"^Interrupted\. Finished work is kept"):
        build.build(settings)
    assert not (output / MANIFEST).exists()
    with pytest.raises(UserError, match="is unfinished: run the same build-data command"):
        build.load_manifest(str(output))
    with pytest.raises(UserError, match=r"other max_seq_length \(32 there, 64 here\)"):
        build.build(dataclasses.replace(settings, max_seq_length=64))
    with pytest.raises(StoppedError, match="No space left on device"):
        build.build(settings)
    build.build(settings)
    assert contents(output) == contents(whole)
    # Only the interrupted ones were done twice.
    twice = [name for name, count in Counter(made).items() if count > 1]
    assert len(twice) == 2
    assert "shard 1" in twice


def test_units_that_lost_rows_are_done_again(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    build.build(make_settings(corpus, vocabulary, whole))
    settings = make_settings(corpus, vocabulary, output)

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "plan_shards", stop)
        with pytest.raises(StoppedError):
            build.build(settings)
    rows = sorted((output / WORK).glob("*.rows"))
    rows[0].write_bytes(rows[0].read_bytes()[:-1])
    rows[1].unlink()
    build.build(settings)
    assert contents(output) == contents(whole)


def _start(settings: BuildSettings, *before: str) -> subprocess.Popen[str]:
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    del values["tokenizer"]
    script = "\n".join(
        [
            "import signal",
            "from electra_zh.data import build",
            "from electra_zh.errors import UserError",
            # A shell starts its background jobs, tests too, with Ctrl-C ignored.
            "signal.signal(signal.SIGINT, signal.default_int_handler)",
            *before,
            "try:",
            f"    build.build(build.BuildSettings(**{values!r}))",
            "except UserError as error:",
            "    raise SystemExit(str(error))",
        ]
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


_SLOW = (
    "from electra_zh.data import units",
    "import time",
    "fast = units.build_unit",
    "def slow(unit, report, *, settings):",
    "    time.sleep(0.2)",
    "    return fast(unit, report, settings=settings)",
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
    build.build(settings)
    whole = tmp_path / "whole"
    build.build(dataclasses.replace(settings, output=str(whole)))
    assert contents(output) == contents(whole)


def test_a_full_disk_is_one_line(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    """A limit on the size of files gives the same kind of error as a full disk."""
    settings = make_settings(corpus, vocabulary, tmp_path / "out", num_processes=2)
    limits = f"(4096, {resource.RLIM_INFINITY})"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limits})"
    _, errors = _start(settings, limit).communicate(timeout=30)
    assert errors.startswith("File too large")
    assert errors.count("\n") == 1
