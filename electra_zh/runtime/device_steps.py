"""A step of TensorFlow on the devices that JAX has; the variables are the host's copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from electra_zh.runtime import lowering
from electra_zh.runtime.device import Device
from electra_zh.runtime.pjrt import PjrtSteps


class LowerableStep(Protocol):
    """A training step that writes variables, and the sums that it returns."""

    def zero_sums(self) -> Any:
        """Returns the sums before the first step."""

    def train_step(self, batch: Any) -> Any:
        """Takes one optimizer step on a batch and returns the step's sums."""


class DeviceSteps:
    """Steps on the devices, and the way of their state back to the variables."""

    def __init__(
        self,
        step: LowerableStep,
        variables: Sequence[tf.Variable],
        batches: Iterator[Mapping[str, np.ndarray]],
        *,
        shapes: Mapping[str, Sequence[int]],
        device: Device,
        full_precision: bool,
    ) -> None:
        """Lowers the step and puts the variables on the devices.

        `shapes` are those of a batch by name; see `lowering.lower` and `PjrtSteps`.
        """
        start = time.perf_counter()
        self._variables = {variable.name.partition(":")[0]: variable for variable in variables}
        program = lowering.lower(step.train_step, shapes, variables, full_precision=full_precision)
        self._zeros = step.zero_sums()
        self._steps = PjrtSteps(
            program,
            {name: variable.numpy() for name, variable in self._variables.items()},
            batches,
            devices=device.found,
        )
        self._is_new, self._is_ahead = True, False
        size, seconds = len(program.exported) / 1e6, time.perf_counter() - start
        logging.info("The step is lowered: %.1f MB in %.0f s. Compiling it.", size, seconds)

    def __call__(self, count: int) -> Any:
        """Runs steps and returns the sums over them."""
        start = time.perf_counter()
        sums = tf.nest.pack_sequence_as(self._zeros, self._steps(count))
        if self._is_new:
            logging.info("Compiled; the first call took %.0f s.", time.perf_counter() - start)
        self._is_new, self._is_ahead = False, True
        return sums

    def sync(self) -> None:
        """Assigns the state of the devices to the variables."""
        if self._is_ahead:
            for name, value in self._steps.state().items():
                self._variables[name].assign(value)
        self._is_ahead = False

    def compiled_text(self) -> str:
        """Returns the compiled module as text, to be looked at."""
        return self._steps.lowered_text()
