"""Evaluation of a run on devices, by JAX alone. TensorFlow is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from electra_zh.data.pipeline import OnePass
from electra_zh.errors import UserError
from electra_zh.pretraining.metrics import EvaluationSums, evaluation_results
from electra_zh.runtime.device import Device
from electra_zh.runtime.program import StepProgram

if TYPE_CHECKING:
    from electra_zh.runtime.pjrt import PjrtSteps

BATCHES = "batches"  # name of the number of batches before, among the variables


class DeviceEvaluation:
    """The evaluation of a run's networks on devices of this process."""

    def __init__(
        self,
        program: StepProgram,
        batches: OnePass,
        device: Device,
        *,
        before_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Takes the program, which is compiled for the first evaluation.

        Each of several processes evaluates all batches, as one does. What `before_batch` raises
        ends an evaluation; it is called before some batches.

        Raises:
          UserError: there are fewer examples than in a batch of the program.
        """
        size = program.batch[0].shape[0]
        if batches.batch_size != size:
            raise UserError(
                f"The held-out data has {batches.batch_size} examples, and the evaluation was "
                f"exported for batches of {size}: export it with eval_batch_size="
                f"{batches.batch_size}"
            )
        own = [each for each in device.found if each.process_index == device.here.number]
        count = max(each for each in range(1, len(own) + 1) if size % each == 0)
        self._program, self._batches, self._devices = program, batches, own[:count]
        self._before_batch = before_batch
        self._steps: PjrtSteps | None = None

    def __call__(self, weights: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Returns the results for weights by their names in checkpoints."""
        from electra_zh.runtime.pjrt import PjrtSteps

        start = {**weights, BATCHES: np.zeros((), np.int64)}, iter(self._batches)
        if self._steps is None:
            self._steps = PjrtSteps(self._program, *start, devices=self._devices)
        else:
            self._steps.start(*start)
        left, totals = len(self._batches), EvaluationSums._make([0.0] * len(EvaluationSums._fields))
        while left:
            self._before_batch()
            count = min(left, self._program.block)
            totals = EvaluationSums._make(map(np.add, totals, self._steps(count)))
            left -= count
        self._steps.stop()
        return evaluation_results(totals)
