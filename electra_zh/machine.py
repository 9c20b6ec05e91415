"""The machine of this process: its CPU, and the settings that TensorFlow runs fast with on it.

`set_up` is called before TensorFlow is imported. An environment variable of the user always wins.
Measured on 2 cores of an AMD EPYC (benchmarks/bench_machine.py repeats it):

- oneDNN: TensorFlow leaves it off on CPUs with AVX2 alone. There a float32 step of tiny, 32 x 128,
  took 1.64 s without it and 1.26 s with it. With AVX512, 5 to 15 % of the processor time.
- Memory: glibc returns large tensors to the system, and every step takes their pages again. Nano,
  16 x 64, without oneDNN (whose allocator keeps memory itself): 10,796 page faults and 26 ms of
  system time per step by default, 412 and 3.5 ms with freed memory kept.
- Threads: TensorFlow makes one for each logical CPU, also where a container may use fewer. 2, 4 or
  8 cores compute different rows (training/side_by_side.py); other numbers of cores share the
  operations of each of 1, 2, 4 or 8 parts. More than two cores were not measured.
- Compiled kernels: XLA compiles the fused functions of a network once for each shape, 5 of the 10 s
  of processor time of nano's first step. A process that finds them compiled has the same numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import math
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from electra_zh import files

# Instruction sets that decide which kernels the libraries choose, by their names in /proc/cpuinfo.
_KNOWN = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "sve", "bf16"),
)
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
_LIBRARIES = ("tensorflow", "numpy")
# From glibc's malloc.h: names of parameters of mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
# Bytes that kernels may take (a shape of a batch takes about 1 MB), and that must be free on disk.
_MOST_KERNELS, _FREE = 1 << 26, 1 << 28
# Fields of TensorFlow's XlaSerializedCacheEntry, key, computation and kernel, with their wire type.
_KERNEL_FIELDS = {(1, 2), (2, 2), (3, 2)}
# The most parts of a batch side by side, a power of two; each has gradients of its own.
_MOST_PARTS = 8
_ALLOCATOR_VARIABLES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


class Cpu(NamedTuple):
    """The CPU of this machine."""

    name: str
    instruction_sets: tuple[str, ...]  # those of `_KNOWN` that it has

    @property
    def bfloat16_time(self) -> float:
        """Seconds of a step in bfloat16 relative to one in float32, `tiny` on a CPU of its kind.

        Intel's CPUs with AVX512-FP16 multiply bfloat16 numbers fast by AMX alone, which a virtual
        machine may hide: their AVX512 instructions for it do less per cycle than those for float32.
        """
        if not any(name in self.instruction_sets for name in _BFLOAT16):
            return 2.5  # AMD EPYC with AVX2
        amx_is_hidden = "Intel" in self.name and "amx_bf16" not in self.instruction_sets
        if amx_is_hidden and "avx512_fp16" in self.instruction_sets:
            return 1.4  # Intel Xeon, Emerald Rapids
        return 0.63  # AMD EPYC with AVX512-BF16


@functools.cache
def cpu(path: str = "/proc/cpuinfo") -> Cpu:
    """Returns the CPU; without Linux's list of its instruction sets they count as missing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    found = set(flags[1].split()) if flags else set()
    return Cpu(
        name[1].strip() if name else platform.machine(),
        tuple(each for each in _KNOWN if each in found),
    )


def compute_type(precision: str) -> Literal["float32", "bfloat16"]:
    """Returns the type that a setting `precision` means on this CPU; `auto` is the fastest."""
    fast = cpu().bfloat16_time < 1 if precision == "auto" else precision == "bfloat16"
    return "bfloat16" if fast else "float32"


def precision_warning(precision: str) -> str:
    """Returns a warning for a compute type that is slow on this CPU; empty for others."""
    found = cpu()
    if precision != "bfloat16" or found.bfloat16_time < 1 or not found.instruction_sets:
        return ""
    return (
        f"precision=bfloat16 is slow here: {found.name} has no fast instructions for it. A step "
        f"took {found.bfloat16_time} times that of float32 on such a CPU. "
        "Use precision=float32 or auto."
    )


def threads(root: str = "/") -> int:
    """Returns the number of threads that can compute at once: one per core of the usable CPUs.

    The two logical CPUs of a core share its arithmetic.
    """
    path = f"{root}sys/devices/system/cpu/cpu{{}}/topology/thread_siblings_list"
    # The logical CPUs of a core have the same list; without Linux's lists each is a core.
    cores = {_read(path.format(number)) or str(number) for number in _allowed_cpus()}
    return min(len(cores), usable_cpus(root))


def side_by_side() -> int:
    """Returns the number of operations that run at the same time, each on threads of its own."""
    given = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return max(1, threads() // int(given)) if given.isdigit() and int(given) else 1


def usable_cpus(root: str = "/") -> int:
    """Returns the number of logical CPUs that this process may use; a container may limit it."""
    limit = min(map(_group_limit, _group_folders(root, "cpu")), default=math.inf)
    return max(1, math.ceil(min(len(_allowed_cpus()), limit)))


def _allowed_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _group_folders(root: str, wanted: str) -> Iterator[str]:
    """Yields the folders of this process's cgroups with a controller, and of those above them.

    A group has the limits of all groups above it, too.
    """
    for line in _read(f"{root}proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and wanted not in controllers.split(","):
            continue
        top = f"{root}sys/fs/cgroup" + (f"/{controllers}" if controllers else "")
        while path := path.rstrip("/"):
            yield f"{top}{path}"
            path = path.rpartition("/")[0]
        yield top


def _group_limit(folder: str) -> float:
    """Returns the CPUs that the limit of a cgroup pays for, of version 1 or 2."""
    words = _read(f"{folder}/cpu.max").split()
    if not words:
        quota, period = _read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")
        words = [quota, period]
    if len(words) == 2 and all(word.isdigit() for word in words):  # "max" and -1: no limit.
        return int(words[0]) / max(1, int(words[1]))
    return math.inf


class Memory(NamedTuple):
    """The memory of this process, in bytes."""

    total: int  # of the machine, or the limit of the container if that is lower
    available: int  # what can still be taken without swapping
    is_limited: bool  # a container's limit is lower than the machine's memory


def memory(root: str = "/") -> Memory:
    """Returns the memory that this process may use; zeros where Linux's files are missing."""
    lines = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _read(f"{root}proc/meminfo"), re.MULTILINE))
    machine, free = (int(lines.get(name, 0)) * 1024 for name in ("MemTotal", "MemAvailable"))
    total, available = machine, free
    for folder in _group_folders(root, "memory"):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= machine:  # Without a limit: "max", or 2^63 in version 1.
            continue
        used = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
        cached = re.search(
            r"^(?:total_)?inactive_file (\d+)$", _read(f"{folder}/memory.stat"), re.M
        )
        used -= int(cached[1]) if cached else 0  # The kernel frees it when memory is needed.
        total, available = min(total, limit), min(available, max(0, limit - used))
    return Memory(total, available, total < machine)


def _number(folder: str, *names: str) -> int | None:
    """Returns the number in the first of a folder's files that has one."""
    texts = (_read(f"{folder}/{name}") for name in names)
    return next((int(text) for text in texts if text.isdigit()), None)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Lets glibc keep freed memory for the next allocation; returns whether it does.

    Large blocks come from one heap, which is not given back: pages are cleared and mapped once. Not
    where the user has chosen an allocator or its settings, or with another C library.
    """
    if any(name.startswith(_ALLOCATOR_VARIABLES) for name in environment):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - an AttributeError with any other library
        values = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _ARENA_MAX: 1}
        return all(library.mallopt(name, value) for name, value in values.items())
    except (AttributeError, OSError, TypeError):
        return False


def keep_kernels(facts: Sequence[str]) -> bool:
    """Lets TensorFlow, not yet loaded, keep compiled kernels in the user's cache.

    It fails where it cannot write or read one, and does not look at the CPU that it is for. So each
    CPU has a folder, which is used only with space on its disk, and damaged files are removed.
    `facts` decide as well whether a kernel fits a process. Returns whether kernels are kept: not
    where the user has set TF_XLA_FLAGS.
    """
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    top = files.cache_folder("kernels")
    if not flags or "TF_XLA_FLAGS" in os.environ or re.search(r"[\s\"']", top):
        return False
    facts = [flags[1], os.environ.get("XLA_FLAGS", ""), *facts]
    folder = os.path.join(top, hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16])
    try:
        os.makedirs(folder, exist_ok=True)
        if shutil.disk_usage(folder).free < _FREE or not files.is_own(folder):
            return False
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"writable")
        _clean_kernels(top)
    except OSError:
        return False
    os.environ["TF_XLA_FLAGS"] = (
        f"--tf_xla_persistent_cache_directory={folder} --tf_xla_persistent_cache_device_types=CPU"
    )
    return True


def _clean_kernels(top: str) -> None:
    """Removes damaged kernels, and the oldest ones if all of them take too much space."""
    kept: list[tuple[float, int, Path]] = []
    for path in Path(top).glob("*/*"):
        with contextlib.suppress(FileNotFoundError):  # Removed by another process.
            # The others are those that TensorFlow is writing, or was writing when it was killed.
            if path.suffix != ".pb" or _is_complete(path):
                found = path.stat()
                kept.append((found.st_mtime, found.st_size, path))
            else:
                path.unlink()
    size = sum(each for _, each, _ in kept)
    if size > _MOST_KERNELS:
        for _, each, path in sorted(kept):
            if size <= _MOST_KERNELS // 2:
                break
            path.unlink(missing_ok=True)
            size -= each


def _is_complete(path: Path) -> bool:
    """Returns whether a file has all fields of a kernel; a crash of the machine may cut it."""
    from google.protobuf import empty_pb2, message, unknown_fields

    try:
        fields = unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(path.read_bytes()))
    except message.DecodeError:
        return False
    return {(each.field_number, each.wire_type) for each in fields} == _KERNEL_FIELDS


@functools.cache
def set_up() -> str:
    """Prepares this process for TensorFlow, which must not be loaded yet; returns a line on it."""
    found, count = cpu(), threads()
    kept = keep_freed_memory()
    at_once = math.gcd(count, _MOST_PARTS)  # no core is left over, and usual batches are even
    chosen = {
        "TF_NUM_INTRAOP_THREADS": str(count // at_once),
        "TF_NUM_INTEROP_THREADS": str(at_once),
    }
    if "avx2" in found.instruction_sets:
        chosen["TF_ENABLE_ONEDNN_OPTS"] = "1"
    given = [name for name in chosen if name in os.environ]
    for name, value in chosen.items():
        os.environ.setdefault(name, value)
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    # The number of threads decides how XLA cuts a loop into parts.
    has_kernels = keep_kernels([os.environ["TF_NUM_INTRAOP_THREADS"], version("tensorflow")])
    parts = [
        f"{found.name} ({', '.join(found.instruction_sets) or 'instruction sets unknown'})",
        f"{count} {'thread' if count == 1 else 'threads'}",
        f"oneDNN {'on' if onednn == '1' else 'as TensorFlow has it'}",
        "freed memory kept" if kept else "allocator unchanged",
        "compiled kernels kept" if has_kernels else "no compiled kernels kept",
        *(f"{name}={os.environ[name]} as given" for name in given),
    ]
    return "Machine: " + ", ".join(parts)


def identity() -> dict[str, Any]:
    """Returns the properties that decide the last bits of a computation, for checkpoints."""
    found = cpu()
    return {
        "cpu": found.name,
        "instruction_sets": list(found.instruction_sets),
        "threads": f"{side_by_side()} x {os.environ.get('TF_NUM_INTRAOP_THREADS') or threads()}",
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
        **{name: version(name) for name in _LIBRARIES},
    }


def differences(before: Mapping[str, Any]) -> str:
    """Returns the differences between this machine and that of an `identity`; empty for none."""
    now = identity()
    changed = [name for name in now if name in before and before[name] != now[name]]
    return ", ".join(f"{name} {_shown(before[name])} (now {_shown(now[name])})" for name in changed)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value) or "default"


@functools.cache
def version(library: str) -> str:
    """Returns the version of an installed package; empty if it is missing."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
