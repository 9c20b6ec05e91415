"""The training loop: many steps in one call to the device, and what happens between the calls.

The inner loop runs n steps and knows only that a step takes a batch. The outer loop decides n,
watches for NaN and signals, and runs the actions (logging, checkpoints, evaluation) at their steps.
Neither knows what is being trained. How the steps are cut into calls never changes the numbers: a
step's randomness follows from the step's number alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from electra_zh.errors import UserError
from electra_zh.interrupts import StopRequest

# A NamedTuple of numbers or arrays (or of such NamedTuples) that are summed over steps.
Sums = Any


def use_xla() -> bool | None:
    """Returns whether whole steps are compiled by XLA: True on a GPU, None (no) on CPU.

    On CPU XLA's matrix products are slower than TensorFlow's, and only the operations between them
    are compiled (`models/layers.py`).
    """
    import tensorflow as tf

    return True if tf.config.get_visible_devices("GPU") else None


def make_inner_loop(step: Callable[[Any], Sums], batches: Iterator[Any]) -> Callable[[int], Sums]:
    """Returns a function that runs n steps in one call and returns the sums over them.

    `step` takes one optimizer step on a batch of tensors and returns its sums, float32 tensors. The
    batches are endless, nested NumPy arrays of one shape.
    """
    import tensorflow as tf

    def inner(count: int) -> Sums:
        sums = None
        # Not a data set of TensorFlow: its generators make the allocator give memory back.
        for batch in itertools.islice(batches, count):
            found = step(tf.nest.map_structure(tf.constant, batch))
            # In float64, whose sums do not depend on where calls begin.
            found = tf.nest.map_structure(lambda value: value.numpy().astype(np.float64), found)
            sums = found if sums is None else tf.nest.map_structure(np.add, sums, found)
        return sums

    return inner


@dataclasses.dataclass(frozen=True)
class Action:
    """A function that runs at every step that `every` divides, and at the last step."""

    every: int  # steps between two runs
    run: Callable[[int], object]  # called with the step's number, after that step


def run(
    inner: Callable[[int], Sums],
    *,
    first_step: int,
    last_step: int,
    actions: list[Action],
    on_call: Callable[[int, int, Sums], None],
    stop: StopRequest,
    steps_per_call: int = 0,
) -> int:
    """Runs the steps first_step + 1 to last_step and returns the last step that was done.

    Args:
      inner: runs n steps, from `make_inner_loop`.
      first_step: steps that are already done.
      last_step: steps to have done at the end.
      actions: run in this order after the steps that they name.
      on_call: called after each call with (first step, last step, sums), before the actions.
      stop: checked between calls; when it is set, the loop returns early.
      steps_per_call: the most steps of one call; 0 fits them to about a second.

    Raises:
      UserError: a sum is NaN or infinite; the message names the steps.
    """
    step, fitted = first_step, 1
    while step < last_step and not stop.is_set:
        to_action = min(action.every - step % action.every for action in actions)
        count = min(steps_per_call or fitted, to_action, last_step - step)
        start = time.perf_counter()
        sums = inner(count)
        seconds = time.perf_counter() - start
        _check_finite(sums, step + 1, step + count)
        on_call(step + 1, step + count, sums)
        # The first call traces the graph: its time says nothing about a step's.
        if step > first_step:
            fitted = max(1, min(1000, round(count / max(seconds, 1e-3))))
        step += count
        for action in actions:
            if step % action.every == 0 or step == last_step:
                action.run(step)
    return step


def _check_finite(sums: Sums, first: int, last: int) -> None:
    for name, value in sums._asdict().items():
        if isinstance(value, tuple):
            _check_finite(value, first, last)
        elif not np.all(np.isfinite(value)):
            steps = f"step {first}" if first == last else f"one of the steps {first} to {last}"
            raise UserError(
                f"Training stopped: {name} became NaN or infinite in {steps}. The checkpoints "
                "before it are valid. Try a lower learning_rate, a longer warm-up, or "
                "precision=float32."
            )
