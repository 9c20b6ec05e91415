"""The batch of `train_batch_size=auto`: the largest power of two whose step fits into memory.

The compiler reports the memory of a step. It grows by the same bytes with each sequence, so two
small batches show which ones to compile next.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from electra_zh import machine
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import phases as run_phases
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.programs.lower import lower_step
from electra_zh.pretraining.state import TrainState
from electra_zh.runtime.ahead import OutOfMemoryError, compile_for
from electra_zh.runtime.device import Device
from electra_zh.text.vocabulary import Vocabulary

# Fraction of the memory for the step; the rest is for what the compiler does not count.
_USABLE = 0.95
_FIRST, _MOST = 16, 1 << 17
# A batch is not compiled that needs this much more than there is, by those before it.
_CERTAIN = 1.25
_GB = 1e9


def fit_run(phases: Sequence[Phase], vocabulary: Vocabulary, device: Device) -> tuple[Phase, ...]:
    """Returns the phases of a run with the batches that fit its devices.

    Raises:
      UsageError: the run has no devices of JAX, or several processes.
    """
    if not device.found or device.here.size > 1:
        where = "of several processes" if device.found else "of TensorFlow, and in export-step"
        raise UsageError(
            f"train_batch_size=auto is for devices of JAX in one process (--device), not for those "
            f"{where}: give a number"
        )
    first, count = device.found[0], len(device.found)
    memory = (first.memory_stats() or {}).get("bytes_limit") or machine.memory().total / count
    return run_phases.in_order(
        (phase.name, fit(phase, vocabulary, device.found, memory).config) for phase in phases
    )


def fit(phase: Phase, vocabulary: Vocabulary, devices: Sequence[Any], memory: float) -> Phase:
    """Returns a phase with the batch that fits devices of `memory` bytes each.

    Raises:
      UserError: not even the smallest batch fits.
    """
    config = phase.config
    if config.train_batch_size:
        return phase
    memory = config.device_memory_gb * _GB or memory
    found: dict[int, float] = {}

    def with_batch(batch: int) -> Phase:
        return phase._replace(config=dataclasses.replace(config, train_batch_size=batch))

    def needed(batch: int) -> float:
        if batch not in found:
            found[batch] = _needed(with_batch(batch), vocabulary, devices)
            has = "do not compile" if math.isinf(found[batch]) else f"{found[batch] / _GB:.3f} GB"
            logging.info("train_batch_size=auto: %d sequences: %s of a device.", batch, has)
        return found[batch]

    unit = len(devices) * config.gradient_accumulation_steps
    batch = _largest(needed, unit, _USABLE * memory)
    if not batch:
        raise UserError(
            f"train_batch_size=auto: not even {unit} sequences fit into {memory / _GB:.1f} GB of a "
            "device: use recompute, state_sharding, or a smaller model"
        )
    logging.info(
        "train_batch_size=auto is %d, for %.1f GB of a device; learning_rate stays %g.",
        *(batch, memory / _GB, config.learning_rate),
    )
    return with_batch(batch)


def _largest(needed: Callable[[int], float], unit: int, limit: float) -> int:
    """Returns the largest batch, `unit` times a power of two, that fits; 0 for none."""
    batch = unit << max(0, math.ceil(math.log2(_FIRST / unit)))
    while needed(batch) > limit:
        if batch == unit:
            return 0
        batch //= 2
    first = batch
    if needed(2 * first) > limit:
        return first
    each = max(1.0, (needed(2 * first) - needed(first)) / first)

    def expected(batch: int) -> float:
        return needed(first) + each * (batch - first)

    batch = 2 * first
    while 2 * batch <= _MOST and expected(2 * batch) <= limit:
        batch *= 2
    while needed(batch) > limit:
        batch //= 2
    while 2 * batch <= _MOST and expected(2 * batch) <= _CERTAIN * limit:
        if needed(2 * batch) > limit:
            break
        batch *= 2
    return batch


def _needed(phase: Phase, vocabulary: Vocabulary, devices: Sequence[Any]) -> float:
    """Returns the bytes that a device needs for the step; infinite if the compiler says so."""
    config = phase.config
    program = lower_step(TrainState(config, vocabulary, first_step=phase.first_step))
    try:
        compiled = compile_for("the device", devices, program, state_sharding=config.state_sharding)
    except OutOfMemoryError:
        return math.inf
    return compiled.memory
