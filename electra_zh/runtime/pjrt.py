"""The steps of a program on the devices that JAX has: CPUs, GPUs or TPUs, one or many.

The batch is split over the devices, the state is on each of them, and the compiler adds what they
exchange. Random numbers follow from the place in the global batch, so the numbers of a run do not
depend on how many devices there are.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_zh.errors import UserError
from electra_zh.runtime.program import StepProgram, jax_type

# Batches that the devices hold at once by default.
_STEPS_PER_CALL = 32
# Its lines about platforms that the machine does not have.
logging.getLogger("jax").setLevel(logging.WARNING)


def default_platform() -> str:
    """Returns the platform that JAX prefers on this machine: cpu, gpu or tpu."""
    return str(jax.default_backend())


def find_devices(platform: str, *, most: int | None = None) -> list[Any]:
    """Returns the devices of a platform (cpu, gpu or tpu), at most `most`.

    Raises:
      UserError: there is none, or fewer than `most`.
    """
    # Others are not looked for: that takes time and writes warnings. The host is always needed.
    wanted = {"gpu": "cuda"}.get(platform, platform)
    jax.config.update("jax_platforms", ",".join(dict.fromkeys((wanted, "cpu"))))
    try:
        found: list[Any] = jax.devices(platform)
    except RuntimeError as error:
        raise UserError(
            f"JAX finds no {platform} ({str(error).splitlines()[0]}). Use --device cpu, or install "
            f"JAX for it: pip install 'electra-zh[{platform}]'"
        ) from None
    if most is not None and most > len(found):
        raise UserError(f"--devices is {most}, but JAX finds {len(found)} of {platform}: lower it")
    return found[:most]


class PjrtSteps:
    """Many steps of a program in one call, with the state on the devices."""

    def __init__(
        self,
        program: StepProgram,
        state: Mapping[str, np.ndarray],
        batches: Iterator[Mapping[str, np.ndarray]],
        *,
        devices: Sequence[Any],
        most_steps: int,
    ) -> None:
        """Compiles the steps and puts the state, arrays by variable name, on the devices.

        `most_steps` is the number of batches that the devices hold at once; 0 for the default.

        Raises:
          UserError: the batch cannot be split evenly.
        """
        size = program.batch[0].shape[0]
        if size % len(devices):
            raise UserError(
                f"train_batch_size {size} cannot be split evenly over {len(devices)} devices. "
                f"Choose a multiple of {len(devices)}, or fewer devices with --devices N"
            )
        self._program, self._batches = program, batches
        self._most = most_steps or _STEPS_PER_CALL
        mesh = Mesh(np.array(devices), ("data",))
        everywhere = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(None, "data"))
        self._state = {
            info.name: jax.device_put(state[info.name].astype(jax_type(info.dtype)), everywhere)
            for info in program.variables
        }
        self._steps = jax.jit(
            functools.partial(_run_steps, program, export.deserialize(bytearray(program.exported))),
            in_shardings=(everywhere, self._split, everywhere),
            out_shardings=(everywhere, everywhere),
            donate_argnums=(0,),
        )

    def __call__(self, count: int) -> list[np.ndarray]:
        """Runs steps and returns the sums over them, in the order of the program."""
        total: list[np.ndarray] | None = None
        while count:
            now = min(count, self._most)
            batches = self._stack(now)
            self._state, sums = self._steps(self._state, batches, np.int32(now))
            found = [np.asarray(value) for value in sums]
            total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
            count -= now
        assert total is not None
        return total

    def _stack(self, count: int) -> dict[str, Any]:
        """Returns the next batches on the devices, [most_steps, B, L]; the last are zeros."""
        taken = list(itertools.islice(self._batches, count))
        stacked = {}
        for info in self._program.batch:
            values = np.zeros((self._most, *info.shape), np.int32)
            for index, batch in enumerate(taken):
                values[index] = batch[info.name]
            stacked[info.name] = jax.device_put(values, self._split)
        return stacked

    def lowered_text(self) -> str:
        """Returns the compiled module as text, to be looked at."""
        batches = {
            info.name: jax.ShapeDtypeStruct((self._most, *info.shape), np.int32)
            for info in self._program.batch
        }
        return str(self._steps.lower(self._state, batches, np.int32(1)).compile().as_text())

    def state(self) -> dict[str, np.ndarray]:
        """Returns the variables as arrays by name, of their own types."""
        return {
            info.name: np.asarray(self._state[info.name]).astype(info.dtype)
            for info in self._program.variables
        }


def _run_steps(
    program: StepProgram, step: export.Exported, state: Any, batches: Any, count: Any
) -> tuple[Any, Any]:
    """Runs `count` steps on the first of the batches."""

    def one(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, sums = carry
        batch = [batches[info.name][index] for info in program.batch]
        out = step.call(*batch, *(state[info.name] for info in program.variables))
        new = {
            info.name: state[info.name] if result < 0 else out[result]
            for info, result in zip(program.variables, program.written, strict=True)
        }
        return new, [a + b for a, b in zip(sums, out, strict=False)]

    loop: Any = jax.lax.fori_loop
    zeros = [jnp.zeros(info.shape, jax_type(info.dtype)) for info in program.sums]
    new_state, sums = loop(0, count, one, (state, zeros))
    return new_state, sums
