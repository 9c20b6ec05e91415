"""The compiled steps of a program, and where its arrays are: on every device, or split over them.

The batch is always split. The state is on every device (`none`), or split over them as well: the
optimizer's slots (`optimizer`), or the weights too (`all`; ZeRO: Rajbhandari et al. 2020). The
compiler adds what the devices exchange then, and the numbers are the same.

A split state is for the second part of a step alone, the update, which then splits the weights as
their slots. The first part has all weights on every device, and the second all gradients. Without
these borders the compiler would split the products of the networks like the slots, and move
activations between the devices.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_zh.runtime.kernels import Kernels, regions
from electra_zh.runtime.program import StepProgram, TensorInfo, check_split, jax_type

# Slots of an optimizer, by their names in checkpoints and among TensorFlow's variables.
_SLOT = re.compile(r"^[mv]/|/adam_[mv]$")


class Placement(NamedTuple):
    """The places of a program's arrays on some devices."""

    program: StepProgram
    everywhere: NamedSharding  # sums and numbers
    batches: NamedSharding  # of [block size, B, L]
    state: dict[str, NamedSharding]  # by variable
    update: dict[str, NamedSharding]  # by variable, while it is updated

    @classmethod
    def on(
        cls, devices: Sequence[Any], program: StepProgram, state_sharding: str = "none"
    ) -> Placement:
        """Returns the placement on devices.

        Raises:
          UserError: the batch cannot be split evenly.
        """
        count = len(devices)
        check_split(program.batch[0].shape[0], count, program.micro_batches)
        mesh = Mesh(np.array(devices), ("data",))
        splits = state_sharding, "none" if state_sharding == "none" else "all"
        state, update = (
            {
                info.name: NamedSharding(mesh, _spec(info, count, split))
                for info in program.all_variables
            }
            for split in splits
        )
        everywhere, batches = (
            NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (None, "data"))
        )
        return cls(program, everywhere, batches, state, update)

    def lowered(self, kernels: Kernels | None = None) -> jax.stages.Lowered:
        """Returns the steps to be compiled: (state, block, first, end) -> (state, sums).

        The sums are those of each step of the block, zeros before `first` and from `end` on.
        """
        steps = [regions.load(part.exported, kernels) for part in self.program.parts]
        jitted = jax.jit(
            functools.partial(_run_steps, self, steps),
            in_shardings=(self.state, self.batches, self.everywhere, self.everywhere),
            out_shardings=(self.state, self.everywhere),
            donate_argnums=(0,),
        )
        state = {info.name: struct(info) for info in self.program.all_variables}
        batches = {
            info.name: jax.ShapeDtypeStruct((self.program.block, *info.shape), np.int32)
            for info in self.program.batch
        }
        return jitted.lower(state, batches, np.int32(0), np.int32(1))

    def put_state(self, values: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Returns the variables on the devices; each process puts what its own hold."""
        return {
            info.name: _put(values[info.name].astype(jax_type(info.dtype)), self.state[info.name])
            for info in self.program.all_variables
        }

    def get_state(self, state: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
        """Returns the variables as arrays by name, of their own types, in every process."""
        return {
            info.name: _get(state[info.name], self.everywhere).astype(info.dtype)
            for info in self.program.all_variables
        }


def _spec(info: TensorInfo, devices: int, state_sharding: str) -> PartitionSpec:
    """Returns the split of a variable: along its longest axis that can be split evenly."""
    is_split = state_sharding == "all" or (
        state_sharding == "optimizer" and _SLOT.search(info.name)
    )
    even = [axis for axis, size in enumerate(info.shape) if size % devices == 0]
    if not is_split or not even:
        return PartitionSpec()
    longest = max(even, key=lambda axis: info.shape[axis])
    return PartitionSpec(*[None] * longest, "data")


def struct(info: TensorInfo) -> jax.ShapeDtypeStruct:
    """Returns the shape of a tensor and its type, that of JAX."""
    return jax.ShapeDtypeStruct(info.shape, jax_type(info.dtype))


def _put(value: np.ndarray, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _get(value: jax.Array, everywhere: NamedSharding) -> np.ndarray:
    if not value.is_fully_addressable and not value.is_fully_replicated:
        value = jax.jit(lambda x: x, out_shardings=everywhere)(value)
    return np.asarray(value)


def take_step(
    placement: Placement, steps: Sequence[export.Exported], state: Mapping[str, Any], batch: Any
) -> tuple[dict[str, Any], list[Any]]:
    """Runs the parts of a step on a batch; returns the variables that it writes, and its sums."""
    parts, everywhere, values = placement.program.parts, placement.everywhere, batch
    last, constrain = parts[-1], jax.lax.with_sharding_constraint
    for part, step in zip(parts, steps, strict=True):
        used = [state[info.name] for info in part.variables]
        if part is last:
            places = [placement.update[info.name] for info in part.variables]
            values = step.call(*values, *constrain(used, places))
        else:
            values = constrain(step.call(*values, *constrain(used, everywhere)), everywhere)
    written = {
        info.name: values[result]
        for info, result in zip(last.variables, last.written, strict=True)
        if result >= 0
    }
    return written, values[: len(last.sums)]


def _run_steps(
    placement: Placement,
    steps: Sequence[export.Exported],
    state: Any,
    batches: Any,
    first: Any,
    end: Any,
) -> tuple[Any, Any]:
    """Runs the steps of the batches from `first` to `end`; returns the state and each one's sums.

    The sums are added up by the host in float64: in float32 their last bits would depend on how
    the steps are cut into calls.
    """
    program, constrain = placement.program, jax.lax.with_sharding_constraint

    def one(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, sums = constrain(carry[0], placement.state), carry[1]
        batch = [batches[info.name][index] for info in program.batch]
        written, found = take_step(placement, steps, state, batch)
        new = constrain(constrain({**state, **written}, placement.update), placement.state)
        return new, [a.at[index].set(b) for a, b in zip(sums, found, strict=True)]

    zeros = [
        jnp.zeros((program.block, *info.shape), jax_type(info.dtype))
        for info in program.parts[-1].sums
    ]
    new_state, sums = jax.lax.fori_loop(first, end, one, (state, zeros))
    return new_state, sums
