"""The device of a run, by the name that the user gives. JAX is imported where it is needed."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

from electra_zh.errors import UserError, install_line
from electra_zh.runtime.processes import Group, Here

NAMES = ("auto", "cpu", "gpu", "tpu", "pjrt:cpu")


class Device(NamedTuple):
    """The devices of a run: TensorFlow's own, or those that JAX has."""

    platform: str  # cpu, gpu or tpu
    found: tuple[Any, ...] = ()  # of JAX, in all processes; empty for TensorFlow's
    here: Here = Here()  # this process among those that train together
    may_be_gpu: bool = False  # TensorFlow's own may be its GPUs

    def __str__(self) -> str:
        if not self.found:
            return f"{self.platform} (TensorFlow)"
        kind = getattr(self.found[0], "device_kind", self.platform)
        many = f", {self.here.size} processes" if self.here.size > 1 else ""
        return f"{len(self.found)} x {kind} ({self.platform}, JAX{many})"


# TensorFlow's own.
CPU = Device("cpu")


def has_jax() -> bool:
    """Returns whether JAX is installed, without importing it."""
    return importlib.util.find_spec("jax") is not None


def require_jax(what: str, platform: str = "gpu") -> None:
    """Raises a UserError if JAX is missing, which `what` needs."""
    if not has_jax():
        extra = "tpu" if platform == "tpu" else "gpu"
        raise UserError(f"{what} needs JAX: {install_line(extra)}")


def choose(
    name: str, *, most: int | None = None, by_jax: bool = False, group: Group | None = None
) -> Device:
    """Returns the devices that a name means: auto takes an accelerator if JAX has one.

    With `by_jax` the CPU is that of JAX, too. The processes of `group` are connected first.

    Raises:
      UserError: JAX or the device is missing, or there are fewer devices than `most`.
    """
    platform = name.removeprefix("pjrt:")
    joins = group is not None and group.is_given and (has_jax() or group.coordinator is not None)
    joins = joins and (name != "cpu" or by_jax)
    if not joins and not by_jax and (name == "cpu" or (name == "auto" and not has_jax())):
        return _tensorflow(name, most)
    require_jax(f"--device {name}", platform)
    from electra_zh.runtime.pjrt import default_platform, find_devices

    here = Here()
    if joins:
        assert group is not None
        group.join()
        here, by_jax = Here.of_jax(), True
    if name == "auto":
        platform = default_platform()
        if platform == "cpu" and not by_jax:
            return _tensorflow(name, most)
    return Device(platform, tuple(find_devices(platform, most=most)), here)


def _tensorflow(name: str, most: int | None) -> Device:
    if most not in (None, 1):
        raise UserError(
            f"--devices is {most}, but there is no accelerator. Add --device gpu, tpu or pjrt:cpu"
        )
    return CPU._replace(may_be_gpu=name == "auto")
