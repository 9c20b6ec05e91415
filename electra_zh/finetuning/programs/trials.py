"""The training steps of trials on a device; the variables of TensorFlow are the host's copy."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.programs.steps import TaskPrograms
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import StepProgram

# The most steps of one call, as in `training.loop`.
_CALL = 1024


class DeviceTrainer:
    """The training steps of one task, or of several that are trained jointly."""

    def __init__(
        self,
        lower: Callable[[str, int], StepProgram],
        rows: Mapping[str, EncodedSplit],
        lengths: Mapping[str, Sequence[int]],
        variables: Mapping[str, Any],
        *,
        batch_size: int,
        device: Device,
    ) -> None:
        """Puts the rows on the device.

        Args:
          lower: returns the program of a task at a padded length.
          rows: by task.
          lengths: the padded lengths of each task.
          variables: the variables of TensorFlow by their names in the programs.
          batch_size: groups of a batch.
          device: the device; the first one is used.
        """
        self._variables = variables
        self._programs = {
            task: TaskPrograms(
                functools.partial(lower, task),
                lengths[task],
                device.found[:1],
                batch_size=batch_size,
                room=_CALL,
            )
            for task in rows
        }
        self._held = {task: self._programs[task].hold(each) for task, each in rows.items()}
        self._state: dict[str, Any] = {}
        self._is_ahead = False

    def compilations(self) -> list[Callable[[], Any]]:
        """Returns calls that compile the steps, and that may run at the same time."""
        return [
            call
            for task, programs in self._programs.items()
            for call in programs.compilations(self._held[task])
        ]

    def run(self, steps: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
        """Takes steps, each a task and the groups of its batch; returns the summed losses."""
        if not self._state:
            programs = next(iter(self._programs.values()))
            self._state = programs.put(
                {name: variable.numpy() for name, variable in self._variables.items()}
            )
        self._is_ahead = True
        pending = []
        for task, same in itertools.groupby(steps, key=lambda step: step[0]):
            plan = [groups for _, groups in same]
            self._state, sums = self._programs[task].run(self._state, self._held[task], plan)
            pending.append(sums)
        return np.concatenate([each.losses() for each in pending])

    def sync(self) -> None:
        """Assigns the state of the device to the variables."""
        for name, value in self._state.items() if self._is_ahead else ():
            variable = self._variables[name]
            variable.assign(np.asarray(value).astype(variable.dtype.as_numpy_dtype))
        self._is_ahead = False

    def forget(self) -> None:
        """Takes the state from the variables before the next step."""
        self._state, self._is_ahead = {}, False
