"""The device of a run, by the name that the user gives. JAX is imported where it is needed."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

from electra_zh.errors import UserError

NAMES = ("auto", "cpu", "gpu", "tpu", "pjrt:cpu")


class Device(NamedTuple):
    """The devices of a run: TensorFlow's own, or those that JAX has."""

    platform: str  # cpu, gpu or tpu
    found: tuple[Any, ...] = ()  # of JAX; empty for TensorFlow's

    def __str__(self) -> str:
        if not self.found:
            return f"{self.platform} (TensorFlow)"
        kind = getattr(self.found[0], "device_kind", self.platform)
        return f"{len(self.found)} x {kind} ({self.platform}, JAX)"


def has_jax() -> bool:
    """Returns whether JAX is installed, without importing it."""
    return importlib.util.find_spec("jax") is not None


def choose(name: str, *, most: int | None = None, by_jax: bool = False) -> Device:
    """Returns the devices that a name means: auto takes an accelerator if JAX has one.

    With `by_jax` the CPU is that of JAX, too.

    Raises:
      UserError: JAX or the device is missing, or there are fewer devices than `most`.
    """
    platform = name.removeprefix("pjrt:")
    if not by_jax and (name == "cpu" or (name == "auto" and not has_jax())):
        return _tensorflow(most)
    if not has_jax():
        extra = "tpu" if platform == "tpu" else "gpu"
        raise UserError(f"--device {name} needs JAX: pip install 'electra-zh[{extra}]'")
    from electra_zh.runtime.pjrt import default_platform, find_devices

    if name == "auto":
        platform = default_platform()
        if platform == "cpu" and not by_jax:
            return _tensorflow(most)
    return Device(platform, tuple(find_devices(platform, most=most)))


def _tensorflow(most: int | None) -> Device:
    if most not in (None, 1):
        raise UserError(
            f"--devices is {most}, but there is no accelerator. Add --device gpu, tpu or pjrt:cpu"
        )
    return Device("cpu")
