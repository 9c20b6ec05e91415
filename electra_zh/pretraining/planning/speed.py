"""The speed and the memory of a run's real step, measured in seconds before the run."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from electra_zh.pretraining.run import steps_of_phase
from electra_zh.pretraining.running.data import PreparedPhase
from electra_zh.pretraining.running.driver import PreparedRun

# Tokens of a measured step on a CPU, at most, if all of its sequences would take too long; of a
# wider network than the last number.
_TOKENS, _TOKENS_OF_WIDE, _WIDE = 4096, 1024, 512


class Speed(NamedTuple):
    """The measured speed of a phase."""

    seconds: float  # per step of train_batch_size sequences
    sequences: int  # per measured step; with fewer than train_batch_size the seconds are scaled
    preparation: float  # seconds of tracing and compiling, and of the first step
    steps: int  # that were timed
    peak_bytes: int  # memory that the measured step took, not scaled; 0 if it is not known


def measure(prepared: PreparedRun, part: PreparedPhase, *, seconds: float = 10.0) -> Speed:
    """Runs steps of a phase from new weights, about `seconds` of them, and drops the weights.

    A step of all sequences that would take half of that time on a CPU is measured with fewer, all
    at once, and its time is scaled by their number.
    """
    config = part.phase.config
    most = _TOKENS if config.model.hidden_size <= _WIDE else _TOKENS_OF_WIDE
    few, full = max(1, most // config.max_seq_length), config.train_batch_size
    if not prepared.device.found and few < full:
        smaller = dataclasses.replace(config, train_batch_size=few, gradient_accumulation_steps=1)
        small_part = part._replace(phase=part.phase._replace(config=smaller))
        found = _measure(prepared, small_part, full / few, seconds / 2)
        if found.seconds > seconds / 2:
            return found
    return _measure(prepared, part, 1.0, seconds)


def _measure(prepared: PreparedRun, part: PreparedPhase, scale: float, seconds: float) -> Speed:
    """Measures the step of a phase; its seconds are multiplied by `scale`."""
    sequences = part.phase.config.train_batch_size
    memory = _PeakMemory(prepared.device.found)
    start = time.perf_counter()
    inner = steps_of_phase(prepared, part)
    inner(1)
    preparation = time.perf_counter() - start
    timed, spent = _time(inner, seconds)
    peak = memory.taken()
    del inner
    gc.collect()
    return Speed(scale * spent / timed, sequences, preparation, timed, peak)


def _time(inner: Callable[[int], Any], seconds: float) -> tuple[int, float]:
    """Returns a number of steps and the seconds that they took."""
    start = time.perf_counter()
    inner(1)
    one = time.perf_counter() - start
    if one > 0.5:
        count = 1
    else:
        count = max(2, min(200, round(0.5 / one)))
        inner(count)
        start, one = time.perf_counter(), 0.0
    timed = 1 if one else 0
    while not timed or time.perf_counter() - start < seconds:
        inner(count)
        timed += count
    return timed, time.perf_counter() - start


class _PeakMemory:
    """The memory that this process, or a device of JAX, takes at its peak from now on."""

    def __init__(self, devices: tuple[Any, ...]) -> None:
        self._device = devices[0] if devices and devices[0].platform != "cpu" else None
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # Linux starts a new peak.
        self._before = _status("VmRSS")

    def taken(self) -> int:
        """Returns the bytes; 0 if they are not known."""
        if self._device is not None:
            stats = self._device.memory_stats() or {}
            return int(stats.get("peak_bytes_in_use", 0))
        return max(0, _status("VmHWM") - self._before)


def _status(name: str) -> int:
    """Returns a value in bytes of Linux's status of this process; 0 where it is missing."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as file:
        found = re.search(rf"^{name}:\s+(\d+) kB$", file.read(), re.MULTILINE)
        return 1024 * int(found[1]) if found else 0
    return 0
