"""Kernels for one GPU, in place of the marked regions of a program (`regions.py`)."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SWITCH = "ELECTRA_ZH_KERNELS"  # environment variable: 1 for kernels


def allowed_on(devices: Sequence[Any]) -> bool:
    """Returns whether steps on devices may have kernels: on one GPU, if the user wants them.

    Several devices split the operations of a step; they cannot split a kernel.
    """
    is_gpu = devices[0].platform in ("gpu", "cuda")
    return is_gpu and len(devices) == 1 and os.environ.get(SWITCH) == "1"


def version(devices: Sequence[Any]) -> str:
    """Returns a digest of the code of the kernels for devices; "none" without any."""
    if not allowed_on(devices):
        return "none"
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Kernels:
    """The kernels of a platform, and those that a step uses."""

    def __init__(self, platform: str = "cuda", *, interpret: bool = False) -> None:
        """Takes the platform to lower for; `interpret` makes operations of JAX for any platform."""
        self.platform, self._interpret = platform, interpret
        self.used: set[str] = set()

    def find(
        self, kind: str, inputs: Sequence[Any], settings: dict[str, Any]
    ) -> Callable[..., Any] | None:
        """Returns the kernel for a kind of region and its inputs; None if there is none.

        Regions without dropout, of evaluations, have none: it was not tried on a GPU.
        """
        from electra_zh.runtime.kernels import attention, norm

        is_attention = kind.startswith("attention")
        module: Any = attention if is_attention else norm
        if not (settings["rate"] and module.fits(inputs[0].shape, inputs[0].dtype)):
            return None
        self.used.add(kind)
        form = attention.AttentionSetting if is_attention else norm.NormSetting
        kernel = module.backward if kind.endswith("gradient") else module.forward
        return functools.partial(kernel, setting=form(**settings, interpret=self._interpret))
