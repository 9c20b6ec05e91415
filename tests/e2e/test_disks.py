"""Commands on disks that are full, small, read-only or over their quota, and in other places."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from electra_zh import locks
from electra_zh.training import checkpoints
from support.faults import Fault
from support.runner import PRETRAIN, Blow, Job, done, electra, refused, struck
from support.task_files import TASKS

_BUILD = ["build-data", "corpus.txt", "--vocab", "vocab.txt", "--max-seq-length", "64"]
_BUILD += ["--holdout-every", "10", "--num-shards", "3", "--processes", "1"]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Disk:
    """A file system in memory whose size is set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> None:
        """Mounts it, or with `remount,...` changes it."""
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"only root can mount: {result.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    made.folder.mkdir()
    made.mount("size=16k")
    yield made
    subprocess.run(["umount", str(made.folder)], check=True)


def test_a_build_on_a_small_disk_resumes_when_it_grows(job: Job, disk: Disk) -> None:
    done(electra(*_BUILD, "--output", str(disk.folder.parent / "whole"), cwd=job.folder))
    output, full = disk.folder / "data", 0
    for size in range(16, 4096, 48):
        disk.mount(f"remount,size={size}k")
        result = electra(*_BUILD, "--output", str(output), cwd=job.folder)
        if result.returncode == 0:
            break
        full += 1
        assert "No space left on device" in refused(result)
    assert full >= 3
    assert _contents(output) == _contents(disk.folder.parent / "whole")


def test_a_run_on_a_small_disk_resumes_when_it_grows(job: Job, disk: Disk) -> None:
    words = [*PRETRAIN, "--output", str(disk.folder / "run")]
    disk.mount("remount,size=2m")
    # The first checkpoint fits, with the event files; the others do not.
    assert "No space left on device" in refused(electra(*words, cwd=job.folder))
    disk.mount("remount,size=100m")
    done(electra(*words, cwd=job.folder))
    assert _weights(disk.folder / "run") == _weights(job.run)


def test_a_read_only_disk_is_refused(job: Job, disk: Disk) -> None:
    disk.mount("remount,size=100m")
    shutil.copytree(job.run, disk.folder / "run")
    shutil.rmtree(disk.folder / "run" / "checkpoints" / "ckpt-30")
    before = _contents(disk.folder)
    disk.mount("remount,ro")
    output = str(disk.folder / "new")
    commands: Sequence[Sequence[str]] = [
        [*_BUILD, "--output", output],
        ["build-vocab", "corpus.txt", "--output", f"{output}.txt"],
        ["clean", "corpus.txt", "--output", output],
        ["convert", "run", "--to", "huggingface", "--output", output],
        [*PRETRAIN, "--output", str(disk.folder / "run")],
    ]
    for words in commands:
        assert "Read-only file system" in refused(electra(*words, cwd=job.folder)), words[0]
    # It can be read.
    done(electra("evaluate", str(disk.folder / "run"), "--data", "data/heldout", cwd=job.folder))
    assert _contents(disk.folder) == before


@pytest.mark.parametrize("error", ["EDQUOT", "EROFS", "EIO"])
def test_errors_of_disks_are_one_line_and_nothing_is_lost(
    job: Job, tmp_path: Path, error: str
) -> None:
    words = [*_BUILD, "--output", str(tmp_path / "data")]
    for change in (1, 4, 9, 14, 40):
        result = struck(*words, cwd=job.folder, blow=Blow(Fault(error, change)))
        assert os.strerror(getattr(errno, error)) in refused(result)
    done(electra(*words, cwd=job.folder))
    done(electra(*_BUILD, "--output", str(tmp_path / "whole"), cwd=job.folder))
    assert _contents(tmp_path / "data") == _contents(tmp_path / "whole")


def test_a_folder_in_use_is_refused_with_its_process(job: Job, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tune = ["finetune", "--model", "run", "--task", "tnews", "--data", str(TASKS), "--trials", "1"]
    for words, locked in ((_BUILD, output / ".work"), (PRETRAIN, output), (tune, output)):
        with locks.locked(str(locked)):
            result = electra(*words, "--output", str(output), cwd=job.folder)
        message = f"Another process is writing to {locked}: process {os.getpid()} on "
        assert message in refused(result), words[0]
        assert _contents(output) == {}
        shutil.rmtree(output)


def _weights(run: Path) -> dict[str, bytes]:
    found = checkpoints.read(checkpoints.find(str(run / "checkpoints")))
    return {name: value.tobytes() for name, value in {**found.model, **found.optimizer}.items()}


def _steps(run: Path) -> list[tuple[int, str]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["kind"]) for line in lines]


def test_a_run_resumes_elsewhere_by_a_link_under_a_long_name_and_an_earlier_clock(
    job: Job, tmp_path: Path
) -> None:
    place = tmp_path / ("名" * 85)  # 255 bytes, the longest name of a file
    shutil.copytree(job.run, place / ("x" * 255))
    shutil.copytree(job.data, place / "moved")
    (tmp_path / "link").symlink_to(place / ("x" * 255))
    (tmp_path / "data").symlink_to(place / "moved")
    shutil.rmtree(tmp_path / "link" / "checkpoints" / "ckpt-30")
    # The later the step, the earlier its files, and all are of tomorrow.
    for number, path in enumerate(sorted((tmp_path / "link").rglob("*"))):
        tomorrow = time.time() + 86400 - 60 * number
        os.utime(path, (tomorrow, tomorrow))
    done(electra(*PRETRAIN, "--output", "link", cwd=tmp_path))
    assert (tmp_path / "link").is_symlink()
    assert _weights(tmp_path / "link") == _weights(job.run)
    assert _steps(tmp_path / "link") == _steps(job.run)


def test_data_is_built_through_links_under_long_names(job: Job, tmp_path: Path) -> None:
    long = tmp_path / ("名" * 85)
    long.mkdir()
    (long / "target").mkdir()
    (tmp_path / "out").symlink_to(long / "target")
    (tmp_path / "corpus.txt").symlink_to(job.corpus)
    (tmp_path / "vocab.txt").symlink_to(job.vocab)
    for output in ("out", str(long / ("数" * 85))):
        done(electra(*_BUILD, "--output", output, cwd=tmp_path))
    done(electra(*_BUILD, "--output", "whole", cwd=tmp_path))
    whole = _contents(tmp_path / "whole")
    assert _contents(tmp_path / "out") == _contents(long / ("数" * 85)) == whole
    assert (tmp_path / "out").is_symlink()
