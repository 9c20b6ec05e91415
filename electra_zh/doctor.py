"""Checks of the installation and the machine: what is wrong, and what to do.

Each check looks at one thing and never fails itself. TensorFlow and JAX may be missing. Measuring
takes a few seconds.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from electra_zh import machine
from electra_zh.errors import install_line
from electra_zh.runtime.device import has_jax

_PACKAGE = "electra-zh"
_DEVELOPMENT = re.compile('extra == "(test|check|bench|interop)"')
# Without these, JAX still trains exported steps.
_REPLACEABLE = ("tensorflow", "tensorflow-text")
_DISK_BYTES = 64 << 20
_MATRIX = 1024
_GB = 1e9


class Check(NamedTuple):
    """The result of a check."""

    name: str
    status: Literal["ok", "warning", "error"]  # an error: electra-zh is not usable here
    found: str
    advice: str = ""  # how to mend it, as an imperative; empty if all is well
    values: Mapping[str, Any] = {}  # the figures, for --json


def run_checks(folder: str, load_tensorflow: Callable[[], None]) -> Iterator[Check]:
    """Yields the results of all checks, in order.

    Args:
      folder: local folder whose disk is measured.
      load_tensorflow: imports TensorFlow, prepared for this machine.
    """
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("Python", check_python),
        ("packages", check_packages),
        ("TensorFlow", lambda: check_tensorflow(load_tensorflow)),
        ("JAX", check_jax),
        ("CPU", check_cpu),
        ("threads", check_threads),
        ("memory", check_memory),
        ("bfloat16", check_bfloat16),
        ("disk", lambda: check_disk(folder)),
        ("clock", lambda: check_clock(folder)),
    )
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # A broken library must not hide the other results.
            first_line = str(error).strip().partition("\n")[0]
            yield Check(name, "error", f"{type(error).__name__}: {first_line}", "Reinstall it.")


def check_python() -> Check:
    """Checks the version of Python against the tested ones."""
    version = platform.python_version()
    short = version.rpartition(".")[0]
    tested = _tested_pythons()
    values = {"version": version, "executable": sys.executable, "tested": tested}
    if tested and short not in tested:
        advice = f"Python {short} is not tested. Use {' or '.join(tested)} if anything fails."
        return Check("Python", "warning", version, advice, values)
    return Check("Python", "ok", f"{version} ({sys.executable})", "", values)


def _tested_pythons() -> list[str]:
    start = "Programming Language :: Python :: 3."
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        listed = importlib.metadata.metadata(_PACKAGE).get_all("Classifier") or []
        return [each.rpartition(" ")[2] for each in listed if each.startswith(start)]
    return []


def check_packages() -> Check:
    """Checks the versions of the installed packages against the tested bounds."""
    from packaging.requirements import Requirement

    try:
        listed = [Requirement(text) for text in importlib.metadata.requires(_PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        advice = "Install it: pip install . in its folder. Versions are not checked without that."
        return Check("packages", "warning", f"{_PACKAGE} is not installed", advice)
    missing, outside, wanted, versions = [], [], [], {}
    for each in listed:
        is_extra = each.marker is not None and "extra" in str(each.marker)
        if is_extra and _DEVELOPMENT.search(str(each.marker)):
            continue  # a new virtual environment has an older setuptools, which does no harm
        version = machine.version(each.name)
        if version:
            versions[each.name] = version
        elif not is_extra:
            missing.append(each)
        if version and not each.specifier.contains(version, prereleases=True):
            outside.append(f"{each.name} {version} (tested: {each.specifier})")
            wanted.append(each)
    names = " ".join(f"'{each.name}{each.specifier}'" for each in [*missing, *wanted])
    advice = f"Run: pip install {names}" if names else ""
    found = [f"missing: {', '.join(each.name for each in missing)}"] if missing else []
    found += [f"other versions than the tested ones: {', '.join(outside)}"] if outside else []
    is_fatal = any(each.name not in _REPLACEABLE for each in missing)
    status: Any = "error" if is_fatal else "warning" if found else "ok"
    shown = "; ".join(found) or f"{len(versions)} installed, all within the tested versions"
    return Check("packages", status, shown, advice, versions)


def check_tensorflow(load: Callable[[], None]) -> Check:
    """Checks that TensorFlow is installed and can be imported."""
    if importlib.util.find_spec("tensorflow") is None:
        advice = "Run: pip install tensorflow tensorflow-text. Without it, only exported steps run."
        return Check("TensorFlow", "warning" if has_jax() else "error", "missing", advice)
    start = time.perf_counter()
    load()
    import tensorflow as tf

    values = {"version": tf.__version__, "import_seconds": round(time.perf_counter() - start, 2)}
    return Check("TensorFlow", "ok", f"{tf.__version__}, trains on the CPU", "", values)


def check_jax() -> Check:
    """Checks JAX, which brings accelerators, and lists its devices."""
    has_gpu = os.path.exists("/proc/driver/nvidia/version")
    if not has_jax():
        if not has_gpu:
            return Check("JAX", "ok", "missing; only accelerators need it")
        advice = f"Run: {install_line('gpu')} to train on the GPU."
        return Check("JAX", "warning", "missing, but the machine has an NVIDIA GPU", advice)
    from electra_zh.runtime import pjrt

    platform_name = pjrt.default_platform()
    devices = pjrt.find_devices(platform_name)
    kinds = [f"{len(devices)} x {getattr(devices[0], 'device_kind', platform_name)}"]
    values = {"version": machine.version("jax"), "platform": platform_name, "devices": len(devices)}
    found = f"{values['version']}, devices: {', '.join(kinds)} ({platform_name})"
    if has_gpu and platform_name == "cpu":
        advice = f"JAX does not use the NVIDIA GPU. Run: {install_line('gpu')}"
        return Check("JAX", "warning", found, advice, values)
    return Check("JAX", "ok", found, "", values)


def check_cpu() -> Check:
    """Checks the CPU's instruction sets."""
    found = machine.cpu()
    values = {"name": found.name, "instruction_sets": list(found.instruction_sets)}
    sets = ", ".join(found.instruction_sets) or "instruction sets unknown"
    shown = f"{found.name} ({sets})"
    if platform.machine() == "x86_64" and sets and "avx2" not in found.instruction_sets:
        return Check("CPU", "warning", shown, "Training is slow without AVX2.", values)
    return Check("CPU", "ok", shown, "", values)


def check_threads() -> Check:
    """Checks the threads that compute, and whether other processes use the CPUs."""
    count, usable, load = machine.threads(), machine.usable_cpus(), os.getloadavg()[0]
    given = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    computing = machine.side_by_side() * int(given) if given.isdigit() else count
    values = {"threads": computing, "usable_cpus": usable, "cpus": os.cpu_count(), "load": load}
    has = f"the machine has {os.cpu_count()}"
    shown = f"{computing} of {usable} usable CPUs ({has}), load {load:.1f}"
    if computing != count:
        advice = f"TF_NUM_INTRAOP_THREADS is set; {count} would be chosen without it."
        return Check("threads", "warning", shown, advice, values)
    if load > usable:
        advice = "Other processes use the CPUs: repeat when they are done to measure speeds."
        return Check("threads", "warning", shown, advice, values)
    return Check("threads", "ok", shown, "", values)


def check_memory() -> Check:
    """Checks the memory that this process may use, a container's limit included."""
    found = machine.memory()
    if not found.total:
        return Check("memory", "ok", "unknown on this system")
    values = {"total": found.total, "available": found.available, "limited": found.is_limited}
    limit = ", the container's limit" if found.is_limited else ""
    shown = f"{found.available / _GB:.1f} GB available of {found.total / _GB:.1f} GB{limit}"
    if found.available < 2 * _GB:
        advice = "Free memory: `small` needs some 2 GB to pretrain (`electra-zh estimate`)."
        return Check("memory", "warning", shown, advice, values)
    return Check("memory", "ok", shown, "", values)


def check_bfloat16() -> Check:
    """Measures products of matrices in bfloat16 against float32, in two seconds."""
    if importlib.util.find_spec("tensorflow") is None:
        return Check("bfloat16", "ok", "not measured without TensorFlow")
    slow, fast = _product_seconds("float32"), _product_seconds("bfloat16")
    ratio, auto = slow / fast, machine.compute_type("auto")
    flops = 2 * _MATRIX**3
    values = {
        "speed_of_float32": ratio,
        "float32_gflops": flops / slow / 1e9,
        "bfloat16_gflops": flops / fast / 1e9,
        "auto": auto,
    }
    shown = (
        f"{ratio:.2f} times the speed of float32 ({values['float32_gflops']:.0f} GFLOP/s); "
        f"precision=auto takes {auto} on the CPU"
    )
    if (ratio > 1.1) != (auto == "bfloat16") and not 0.9 < ratio < 1.1:
        better = "bfloat16" if ratio > 1 else "float32"
        advice = f"Try precision={better}: its products are faster here."
        return Check("bfloat16", "warning", shown, advice, values)
    return Check("bfloat16", "ok", shown, "", values)


def _product_seconds(dtype: str) -> float:
    """Returns the least seconds of a product of two square matrices on the CPU."""
    import tensorflow as tf

    with tf.device("CPU"):
        matrix = tf.cast(tf.random.stateless_uniform([_MATRIX, _MATRIX], [0, 0]), dtype)
        product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
        product()
        best, end = float("inf"), time.perf_counter() + 1.0
        while time.perf_counter() < end:
            start = time.perf_counter()
            product().numpy()
            best = min(best, time.perf_counter() - start)
    return best


def check_disk(folder: str) -> Check:
    """Measures writing and reading in a folder, past the cache of the system."""
    try:
        written, read = _disk_seconds(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = "Name a local folder that exists and can be written: --folder DIR"
        return Check("disk", "error", f"{folder}: {error.strerror}", advice)
    speeds = [_DISK_BYTES / 1e6 / seconds for seconds in (written, read)]
    values = {"write_mb_per_second": speeds[0], "read_mb_per_second": speeds[1], "free": free}
    shown = (
        f"{folder}: writes {speeds[0]:,.0f} MB/s, reads {speeds[1]:,.0f} MB/s, "
        f"{free / _GB:,.0f} GB free"
    )
    if free < 5 * _GB:
        advice = "Free some space: a run keeps five checkpoints (`electra-zh estimate`)."
        return Check("disk", "warning", shown, advice, values)
    if speeds[0] < 30:
        advice = "Saving checkpoints takes long here: raise save_checkpoints_steps."
        return Check("disk", "warning", shown, advice, values)
    return Check("disk", "ok", shown, "", values)


def _disk_seconds(folder: str) -> tuple[float, float]:
    """Returns the seconds of writing and of reading `_DISK_BYTES` bytes."""
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        for _ in range(_DISK_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter() - start
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.read(1 << 20):
            pass
        return written, time.perf_counter() - start


def check_clock(folder: str) -> Check:
    """Checks the clock against that of the disk, which may be another machine's."""
    now = time.time()
    with tempfile.TemporaryFile(dir=folder if os.access(folder, os.W_OK) else None) as file:
        file.write(b"0")
        file.flush()
        off = os.fstat(file.fileno()).st_mtime - now
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    values = {"time": now, "seconds_of_files_ahead": off}
    if abs(off) > 2:
        advice = f"Times of files in {folder} differ by {off:+.0f} s: synchronize the clocks (NTP)."
        return Check("clock", "warning", shown, advice, values)
    if now < 1.75e9:  # In 2025, before this program was written.
        return Check("clock", "warning", shown, "Set the clock: it is years late.", values)
    return Check("clock", "ok", shown, "", values)
