"""The machine: its CPU, threads within limits, the environment for TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from electra_zh import machine

_KEEP_FREED_MEMORY = machine.keep_freed_memory
_INTEL = (
    "processor\t: 0\nmodel name\t: Intel Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f amx_bf16\n"
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    for name in (*threads, "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS"):
        monkeypatch.setenv(name, "")  # Restored after the test, also where it was missing.
        monkeypatch.delenv(name)
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return f"{root}/"


@pytest.mark.parametrize(
    ("text", "name", "bfloat16_is_fast"),
    [
        (_INTEL, "Intel Some CPU @ 2 GHz", True),
        (_INTEL.replace("amx_bf16", ""), "Intel Some CPU @ 2 GHz", False),
        # Without half precision: an older one, whose AVX512 instructions are fast.
        (_INTEL.replace("amx_bf16", "avx512_bf16"), "Intel Some CPU @ 2 GHz", True),
        (_INTEL.replace("amx_bf16", "avx512_bf16 avx512_fp16"), "Intel Some CPU @ 2 GHz", False),
        (_INTEL.replace("amx_bf16", "amx_bf16 avx512_fp16"), "Intel Some CPU @ 2 GHz", True),
        (_INTEL.replace("Intel", "AMD").replace("amx", "avx512"), "AMD Some CPU @ 2 GHz", True),
        ("Features\t: fp asimd bf16 sve\n", os.uname().machine, True),
        ("", os.uname().machine, False),
    ],
)
def test_cpu(tmp_path: Path, text: str, name: str, bfloat16_is_fast: bool) -> None:
    found = machine.cpu(_write(tmp_path, {"cpuinfo": text}) + "cpuinfo")
    assert (found.name, found.bfloat16_time < 1) == (name, bfloat16_is_fast)


@pytest.mark.parametrize(
    ("sets", "chosen", "warned"),
    [
        (("avx2", "avx512_bf16"), "bfloat16", False),
        (("avx2",), "float32", True),
        ((), "float32", False),
    ],
)
def test_compute_type(
    monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...], chosen: str, warned: bool
) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("Some CPU", sets))
    assert machine.compute_type("auto") == chosen
    assert [machine.compute_type(each) for each in ("float32", "bfloat16")] == [
        "float32",
        "bfloat16",
    ]
    assert not machine.precision_warning("float32")
    warning = machine.precision_warning("bfloat16")
    assert bool(warning) == warned
    assert (
        not warned or "Some CPU has no fast instructions for it. A step took 2.5 times" in warning
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {
                "proc/self/cgroup": "4:memory:/\n1:cpu,cpuacct:/docker\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_cpus_are_those_that_a_container_pays_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.usable_cpus(_write(tmp_path, files)) == expected


def test_one_thread_per_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5})
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = {siblings.format(number): f"{number % 4},{number % 4 + 4}\n" for number in range(8)}
    assert machine.threads(_write(tmp_path, files)) == 2
    assert machine.usable_cpus(f"{tmp_path}/") == 4


def test_environment_for_tensorflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("Some CPU", ("avx2",)))
    line = machine.set_up.__wrapped__()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    assert line.startswith(f"Machine: Some CPU (avx2), {machine.threads()} thread")
    assert line.endswith("oneDNN on, freed memory kept, compiled kernels kept")
    assert str(tmp_path) in os.environ["TF_XLA_FLAGS"]


@pytest.mark.parametrize(
    ("threads", "given", "of_operation", "at_once"),
    [
        (1, None, "1", 1),
        (2, None, "1", 2),
        (8, None, "1", 8),
        (7, None, "7", 1),
        (12, None, "3", 4),
        (48, None, "6", 8),
        (8, "4", "4", 2),
        (2, "2", "2", 1),
        (2, "16", "16", 1),
        (2, "0", "0", 1),  # TensorFlow's own choice
    ],
)
def test_cores_compute_parts_of_a_batch(
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    given: str | None,
    of_operation: str,
    at_once: int,
) -> None:
    monkeypatch.setattr(machine, "threads", lambda: threads)
    assert machine.side_by_side() == 1  # TensorFlow may have been loaded before the set-up
    if given:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
    machine.set_up.__wrapped__()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == of_operation
    assert machine.side_by_side() == at_once


def test_the_user_s_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=0")
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("Some CPU", ("avx2",)))
    line = machine.set_up.__wrapped__()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert ", oneDNN as TensorFlow has it, " in line
    assert line.endswith("TF_NUM_INTRAOP_THREADS=1 as given, TF_ENABLE_ONEDNN_OPTS=0 as given")
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_auto_jit=0"
    assert "no compiled kernels kept" in line


_COMPUTE = """
from electra_zh import machine
machine.set_up()
import tensorflow as tf
from electra_zh.models import layers
x = tf.reshape(tf.range(12.0), [3, 4])
print(layers._gelu(x).numpy().tobytes().hex())
"""


def _kernels(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("electra-zh/kernels/*/*.pb")}


def _compute(folder: Path) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", _COMPUTE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_kernels_are_used_again_and_damaged_ones_are_removed(tmp_path: Path) -> None:
    first = _compute(tmp_path)
    kept = _kernels(tmp_path)
    assert kept
    (path,) = tmp_path.glob(f"electra-zh/kernels/*/{min(kept)}")
    os.utime(path, (1, 1))
    assert _compute(tmp_path) == first
    assert path.stat().st_mtime == 1  # Read, not written again.
    path.write_bytes(path.read_bytes()[:-9])
    assert _compute(tmp_path) == first
    assert {name: len(data) for name, data in _kernels(tmp_path).items()} == {
        name: len(data) for name, data in kept.items()
    }


def test_kernels_are_for_one_cpu_and_one_library() -> None:
    folders = set()
    for facts in (["2", "2.21"], ["4", "2.21"], ["2", "2.22"], ["2", "2.21"]):
        os.environ.pop("TF_XLA_FLAGS", None)
        assert machine.keep_kernels(facts)
        folders.add(os.environ["TF_XLA_FLAGS"])
    assert len(folders) == 3


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def test_old_kernels_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = b"".join(_field(number, bytes(300)) for number in (1, 2, 3))
    monkeypatch.setattr(machine, "_MOST_KERNELS", 4 * len(kernel))
    folder = tmp_path / "cache/electra-zh/kernels/other"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.pb").write_bytes(kernel)
        os.utime(folder / f"{number}.pb", (number, number))
    (folder / "0.pb").rename(folder / "0.tmp")  # As of a killed process.
    for number, data in enumerate([b"", kernel[:-1], kernel[: len(kernel) // 3 * 2], b"{text}"]):
        (folder / f"damaged{number}.pb").write_bytes(data)
    assert machine.keep_kernels([])
    assert sorted(path.name for path in folder.iterdir()) == ["3.pb", "4.pb"]


@pytest.mark.parametrize("name", ["a folder", "full"])
def test_no_kernels_where_they_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "full":
        monkeypatch.setattr(machine, "_FREE", 1 << 60)
    else:
        # A space would end the path in TensorFlow's flags.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    assert not machine.keep_kernels([])
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not machine.keep_kernels([])
    assert "TF_XLA_FLAGS" not in os.environ


def test_no_kernels_in_a_folder_that_all_may_write() -> None:
    assert machine.keep_kernels([])
    folder = os.environ.pop("TF_XLA_FLAGS").partition("=")[2].partition(" ")[0]
    os.chmod(folder, 0o777)
    assert not machine.keep_kernels([])
    assert "TF_XLA_FLAGS" not in os.environ


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_the_user_s_allocator_is_left_alone(name: str) -> None:
    assert not _KEEP_FREED_MEMORY({name: "1"})


_MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    9000000 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (16_000_000, 9_000_000, False)),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": str(4_000_000 * 1024),
                "sys/fs/cgroup/a/memory.current": str(3_000_000 * 1024),
                "sys/fs/cgroup/a/memory.stat": f"anon 1\ninactive_file {500_000 * 1024}\n",
            },
            (4_000_000, 1_500_000, True),
        ),
        (
            {
                "proc/self/cgroup": "2:cpu:/\n1:memory:/x\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(2_000_000 * 1024),
                "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(500_000 * 1024),
            },
            (2_000_000, 1_500_000, True),
        ),
    ],
)
def test_memory_is_that_of_the_container(
    tmp_path: Path, files: dict[str, str], expected: tuple[int, int, bool]
) -> None:
    found = machine.memory(_write(tmp_path, {"proc/meminfo": _MEMINFO, **files}))
    assert (found.total // 1024, found.available // 1024, found.is_limited) == expected


def test_memory_is_unknown_without_linux(tmp_path: Path) -> None:
    assert machine.memory(f"{tmp_path}/") == (0, 0, False)
