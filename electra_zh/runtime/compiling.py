"""Compilation of steps with the options and the kernels for their devices."""

from __future__ import annotations

import os
from collections.abc import Callable

import jax
from absl import logging
from jax.sharding import NamedSharding

from electra_zh.runtime import kernels
from electra_zh.runtime.kernels import Kernels

# XLA's options that are off on a GPU; XLA_FLAGS with one of them wins. With the first XLA tries
# dozens of kernels of its own for each matrix product: minutes for a step on an H200, where
# cuBLAS's need half a minute. With the second it keeps tensors in float32 between kernels that the
# step rounds to bfloat16: a tenth more memory to read and write.
_OFF_ON_GPU = ("xla_gpu_enable_triton_gemm", "xla_allow_excess_precision")


def compile_for_devices(lowered: jax.stages.Lowered, place: NamedSharding) -> jax.stages.Compiled:
    """Compiles steps with the options for the devices of a place."""
    given = os.environ.get("XLA_FLAGS", "")
    on_gpu = place.mesh.devices.flat[0].platform in ("gpu", "cuda")
    return lowered.compile({name: False for name in _OFF_ON_GPU if on_gpu and name not in given})


def compile_with_kernels(
    lower: Callable[[Kernels | None], jax.stages.Lowered], place: NamedSharding
) -> jax.stages.Compiled:
    """Compiles the steps that `lower` returns, with kernels if the devices of a place have some.

    If the compiler refuses the kernels, the steps are compiled without, and the log says why.
    """
    devices = list(place.mesh.devices.flat)
    if kernels.allowed_on(devices):
        found = Kernels(devices)
        try:
            compiled = compile_for_devices(lower(found), place)
        except Exception as error:  # of any kind: only the compiler knows
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            logging.warning("The step is compiled without kernels: %s", reason)
        else:
            logging.info("Kernels of the step: %s.", ", ".join(sorted(found.used)) or "none")
            return compiled
    return compile_for_devices(lower(None), place)
