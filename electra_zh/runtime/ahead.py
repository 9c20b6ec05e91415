"""Compilation ahead of time: figures of a step on devices that need not be there."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_zh.errors import UserError
from electra_zh.runtime.program import StepProgram

# Of the two halves of an asynchronous one, `-done` has the type of the results. That of `-start`
# has the operands too; whether an all-reduce's has them depends on XLA's version.
_COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-done)?\("
)
_ARRAY = re.compile(r"(f64|f32|bf16|f16|s64|u64|s32|u32|s16|u16|s8|u8|pred)\[([\d,]*)\]")
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "s8": 1, "u8": 1, "pred": 1}


class OutOfMemoryError(UserError):
    """A step needs more memory than the device has."""


class Collectives(NamedTuple):
    """Exchanges of one kind between devices, in one step."""

    number: int
    bytes: int  # of their results


class Compiled(NamedTuple):
    """The figures of a compiled step; memory is that of one device in bytes."""

    seconds: float  # of the compilation
    devices: int
    state: int  # weights, slots and two blocks of batches
    temporary: int  # activations and gradients
    code: int
    flops: float  # floating-point operations of a step on one device
    collectives: dict[str, Collectives]

    @property
    def memory(self) -> int:
        """All of the memory that a device needs."""
        return self.state + self.temporary + self.code


def compile_for(
    name: str,
    devices: Sequence[Any],
    program: StepProgram,
    *,
    state_sharding: str = "none",
    output: str | None = None,
) -> Compiled:
    """Compiles a program for devices of a name, and keeps it in the folder `output`.

    Raises:
      OutOfMemoryError: the compiler says that it does not fit.
      UserError: the compiler refuses it; the message has its reason.
    """
    import jax

    from electra_zh.runtime import kept_steps
    from electra_zh.runtime.compiling import compile_with_kernels
    from electra_zh.runtime.placement import Placement

    start = time.perf_counter()
    placement = Placement.on(devices, program, state_sharding)
    try:
        executable = compile_with_kernels(placement.lowered, placement.everywhere)
    except jax.errors.JaxRuntimeError as error:
        lines = str(error).strip().splitlines()
        kind = OutOfMemoryError if "RESOURCE_EXHAUSTED" in lines[0] else UserError
        raise kind(f"The step does not compile for {name}: {lines[0]}") from None
    seconds = time.perf_counter() - start
    if output is not None:
        kept_steps.save(output, executable, placement)
    memory = executable.memory_analysis()
    flops = float((executable.cost_analysis() or {}).get("flops", 0.0))
    if not flops:  # The compiler for GPUs counts none, that for CPUs before it compiles.
        on_cpu = Placement.on(jax.devices("cpu")[:1], program).lowered()
        flops = float(on_cpu.cost_analysis()["flops"]) / len(devices)
    return Compiled(
        seconds,
        len(devices),
        # The results take the place of the state. A second block comes while one is in use.
        memory.argument_size_in_bytes + program.block * program.batch_bytes // len(devices),
        memory.temp_size_in_bytes,
        memory.generated_code_size_in_bytes,
        flops,
        find_collectives(executable.as_text() or ""),
    )


def find_collectives(text: str) -> dict[str, Collectives]:
    """Returns the exchanges between devices in a compiled module, by their kinds."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for result, kind in _COLLECTIVE.findall(text):
        count[kind] += 1
        for element, sizes in _ARRAY.findall(result):
            number = math.prod(int(each) for each in sizes.split(",") if each)
            size[kind] += _BYTES.get(element, 2) * number
    return {kind: Collectives(count[kind], size[kind]) for kind in count}
