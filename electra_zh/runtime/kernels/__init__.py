"""Kernels for GPUs, in place of the marked regions of a program (`regions.py`)."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import AbstractDevice

SWITCH = "ELECTRA_ZH_KERNELS"  # environment variable: 1 for kernels


def allowed_on(devices: Sequence[Any]) -> bool:
    """Returns whether steps on devices may have kernels: on GPUs, if the user wants them."""
    return devices[0].platform in ("gpu", "cuda") and os.environ.get(SWITCH) == "1"


def version(devices: Sequence[Any]) -> str:
    """Returns a digest of the code of the kernels for devices; "none" without any."""
    if not allowed_on(devices):
        return "none"
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Kernels:
    """The kernels of devices, and those that a step uses."""

    def __init__(self, devices: Sequence[Any], *, interpret: bool = False) -> None:
        """Takes the devices that the batch is split over.

        `interpret` makes operations of JAX for any platform.
        """
        first = devices[0]
        self.platform = "cuda" if first.platform == "gpu" else first.platform
        # JAX 0.11 lowers for the GPU of this machine, if it is not told of another.
        self.device = AbstractDevice(first.device_kind, None, first.platform)
        self._count, self._interpret = len(devices), interpret
        self.used: set[str] = set()

    def find(
        self, kind: str, inputs: Sequence[Any], settings: dict[str, Any]
    ) -> Callable[..., Any] | None:
        """Returns the kernel for a kind of region and its inputs; None if there is none."""
        from electra_zh.runtime.kernels import attention, devices, norm

        is_attention = kind.startswith("attention")
        module: Any = attention if is_attention else norm
        first, *others = inputs[0].shape
        rows, left = divmod(settings.get("rows", first), self._count)  # of the batch
        if left or not module.fits((first // self._count, *others), inputs[0].dtype):
            return None
        self.used.add(kind)
        form = attention.AttentionSetting if is_attention else norm.NormSetting
        own = {**settings, "rows": rows} if "rows" in settings else settings
        kernel = functools.partial(
            module.backward if kind.endswith("gradient") else module.forward,
            setting=form(**own, interpret=self._interpret),
        )
        if self._count == 1:
            return kernel
        return devices.split(kernel, self._count, rows, self.device)
