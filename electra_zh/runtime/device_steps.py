"""The steps of a program on the devices that JAX has; the variables are the host's copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_zh.runtime.device import Device
from electra_zh.runtime.pjrt import PjrtSteps
from electra_zh.runtime.program import StepProgram


class DeviceSteps(PjrtSteps):
    """Steps on the devices, and the way of their state back to the variables of TensorFlow."""

    def __init__(
        self,
        program: StepProgram,
        variables: Sequence[Any],
        batches: Iterator[Mapping[str, np.ndarray]],
        *,
        device: Device,
        state_sharding: str = "none",
        compiled: str | None = None,
    ) -> None:
        """Puts the variables on the devices; see `PjrtSteps`."""
        self._variables = {variable.name.partition(":")[0]: variable for variable in variables}
        state = {name: variable.numpy() for name, variable in self._variables.items()}
        self._is_ahead = False
        super().__init__(
            *(program, state, batches),
            devices=device.found,
            state_sharding=state_sharding,
            compiled=compiled,
        )

    def __call__(self, count: int) -> list[np.ndarray]:
        """Runs steps and returns the sums over them, in the order of the program."""
        self._is_ahead = True
        return super().__call__(count)

    def sync(self) -> None:
        """Assigns the state of the devices to the variables."""
        if self._is_ahead:
            for name, value in self.state().items():
                self._variables[name].assign(value)
        self._is_ahead = False
