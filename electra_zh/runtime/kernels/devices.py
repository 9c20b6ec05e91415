"""Kernels on several devices: each computes its rows of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, PartitionSpec

_AXIS = "data"  # the axis of `Placement`


def split(
    kernel: Callable[..., Any], devices: int, rows: int, kind: AbstractDevice
) -> Callable[..., Any]:
    """Returns a kernel that splits its arrays over devices of a kind, along their first axis.

    Each device has the complete vectors: those that the kernel takes, and those that it returns,
    sums over the batch, which the devices add up. The one of uint32 is the draw of `keep`: that of
    a device begins at the first of its `rows` of the batch.
    """
    mesh = AbstractMesh((devices,), (_AXIS,), (AxisType.Auto,), abstract_device=kind)

    def own(*inputs: jax.Array) -> Any:
        first = jax.lax.axis_index(_AXIS).astype(jnp.uint32) * jnp.uint32(rows)
        moved = [x.at[3].add(first * x[2]) if x.dtype == jnp.uint32 else x for x in inputs]
        return jax.tree.map(
            lambda x: jax.lax.psum(x, _AXIS) if _is_vector(x) else x, kernel(*moved)
        )

    def call(*inputs: jax.Array) -> Any:
        places = jax.tree.map(_spec, (inputs, jax.eval_shape(kernel, *inputs)))
        # Kernels do not say along which axes their results vary.
        return jax.shard_map(
            own, mesh=mesh, in_specs=places[0], out_specs=places[1], check_vma=False
        )(*inputs)

    return call


def _is_vector(x: Any) -> bool:
    return len(x.shape) == 1


def _spec(x: Any) -> PartitionSpec:
    return PartitionSpec() if _is_vector(x) else PartitionSpec(_AXIS)
