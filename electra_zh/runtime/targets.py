"""Devices to compile for that this machine need not have: TPUs and GPUs by name.

Peaks are those of dense products, from the vendors' data sheets.
"""

from __future__ import annotations

import math
import os
import re
from typing import Any, NamedTuple

from electra_zh.errors import UsageError, UserError, install_line
from electra_zh.runtime.device import require_jax


class Chip(NamedTuple):
    """A chip, and its figures."""

    platform: str  # of PJRT: cpu, cuda or tpu
    memory: float  # bytes
    bfloat16: float  # floating-point operations per second
    float32: float  # with complete float32 products
    axes: int = 0  # of a TPU's topology
    # of a GPU: compute capability, multiprocessors, their shared memory and threads, bytes of the
    # second cache, bytes per second of the memory, GHz, float32 units of a multiprocessor
    build: tuple[float, ...] = ()


_H100 = (9.0, 132, 233472, 2048, 52428800, 3.352e12, 1.98, 128)
CHIPS = {
    "cpu": Chip("cpu", 0, 0, 0),
    "gpu:h100": Chip("cuda", 85e9, 989e12, 67e12, build=_H100),
    "gpu:h200": Chip("cuda", 150e9, 989e12, 67e12, build=(*_H100[:5], 4.8e12, *_H100[6:])),
    "gpu:a100": Chip(
        *("cuda", 85e9, 312e12, 19.5e12), build=(8.0, 108, 167936, 2048, 41943040, 2e12, 1.41, 64)
    ),
    "gpu:l4": Chip(
        *("cuda", 23.7e9, 121e12, 30e12), build=(8.9, 58, 102400, 1536, 50331648, 3e11, 2.04, 128)
    ),
    # Complete float32 products are six passes of bfloat16 ones.
    "tpu:v4": Chip("tpu", 32 * 2**30, 275e12, 275e12 / 6, 3),
    "tpu:v5e": Chip("tpu", 16 * 2**30, 197e12, 197e12 / 6, 2),
    "tpu:v5p": Chip("tpu", 95 * 2**30, 459e12, 459e12 / 6, 3),
    "tpu:v6e": Chip("tpu", 32 * 2**30, 918e12, 918e12 / 6, 2),
}

# Only the compilers are used. libtpu would look for chips, complain that there are none, and lock
# them: another process would be refused, also after one that was killed.
_WITHOUT_HARDWARE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
}


class Target(NamedTuple):
    """Chips to compile for."""

    name: str  # of the chip
    chip: Chip
    shape: tuple[int, ...]  # chips along each axis

    @property
    def chips(self) -> int:
        """Number of chips."""
        return math.prod(self.shape)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Returns the target of `cpu:4`, `gpu:h100:8` or `tpu:v5e:2x2`.

        Raises:
          UsageError: another form, or an unknown chip.
        """
        name = next((each for each in CHIPS if re.fullmatch(rf"{each}(:\d+(x\d+)*)?", text)), None)
        if name is None:
            raise UsageError(
                f"--for {text} is unknown; allowed: {', '.join(CHIPS)}, with the number "
                "of devices (cpu:4, gpu:h100:8) or the topology (tpu:v5e:2x2)"
            )
        chip, sizes = CHIPS[name], text[len(name) + 1 :]
        axes = chip.axes or 1
        shape = tuple(map(int, sizes.split("x"))) if sizes else (1,) * axes
        if len(shape) != axes or 0 in shape:
            example = "x".join(["2"] * axes) if axes > 1 else "8"
            raise UsageError(f"--for {text}: write the devices of {name} as {name}:{example}")
        return cls(name, chip, shape)

    def check_peak(self) -> None:
        """Checks that the operations per second are known.

        Raises:
          UsageError: they are not.
        """
        if not self.chip.bfloat16:
            raise UsageError(
                f"--for {self.name} has no known peak: measure the step with --device pjrt:cpu"
            )

    def devices(self) -> list[Any]:
        """Returns the devices, real ones for a CPU.

        Raises:
          UserError: the compiler of the platform is missing.
        """
        require_jax(f"--for {self.name}", self.chip.platform)
        for variable, value in _WITHOUT_HARDWARE.items():
            os.environ.setdefault(variable, value)
        import jax
        from jax.experimental import topologies

        jax.config.update("jax_platforms", "cpu")
        if self.chip.platform == "cpu":
            jax.config.update("jax_num_cpu_devices", self.chips)
            return list(jax.devices("cpu"))[: self.chips]
        name, options = ":".join([self.name.partition(":")[2], "x".join(map(str, self.shape))]), {}
        if self.chip.platform == "cuda":
            name = f"1x1x{self.chips}"  # slices, hosts, GPUs of a host
            options = {"target_config": _gpu_config(self.name, self.chip), "topology": name}
        try:
            return list(
                topologies.get_topology_desc(
                    platform=self.chip.platform, topology_name=name, **options
                ).devices
            )
        except Exception as error:
            extra = "tpu" if self.chip.platform == "tpu" else "gpu"
            raise UserError(
                f"--for {self.name} needs the compiler for it ({str(error).splitlines()[0]}): "
                f"{install_line(extra)}"
            ) from None


def _gpu_config(name: str, chip: Chip) -> str:
    """Returns XLA's description of a GPU (stream_executor.GpuTargetConfigProto) as text."""
    capability, cores, shared, threads, cache, bandwidth, clock, units = chip.build
    major, minor = divmod(round(10 * capability), 10)
    return f"""gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {int(shared) - 1024}
  shared_memory_per_core: {int(shared)}
  threads_per_core_limit: {int(threads)}
  core_count: {int(cores)}
  fpus_per_core: {int(units)}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {int(bandwidth)}
  l2_cache_size: {int(cache)}
  clock_rate_ghz: {clock}
  device_memory_size: {int(chip.memory)}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
device_description_str: "NVIDIA {name.partition(":")[2].upper()}"
"""
