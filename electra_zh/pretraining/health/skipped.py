"""Steps that are skipped for NaN or infinite gradients: logged, and the end of a run of them.

A skipped step changes no weight and no slot of the optimizer, so that one bad batch does not end a
run. Random draws, data and learning rate continue with the next step. This module does not import
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable

from absl import logging

from electra_zh.errors import UserError
from electra_zh.pretraining.metrics import NUMBERS, StepSums


class SkippedSteps:
    """The skipped steps of a run, call by call."""

    def __init__(self, most: int, explain: Callable[[int], str] | None = None) -> None:
        """Stops the run after `most` skipped steps in a row, at the end of their call.

        `explain` returns sentences about the origin of the numbers of a step, with the weights as
        they are; without it the advice names --debug-numerics.
        """
        self._most, self._explain = most, explain
        self._in_row = 0

    def check(self, first: int, last: int, sums: StepSums) -> None:
        """Takes the sums of a call that did the steps `first` to `last`.

        Raises:
          UserError: the last steps were skipped, too many in a row.
        """
        count = last + 1 - first
        # Where only some of a call's steps are skipped, its sums do not tell which.
        self._in_row = self._in_row + count if sums.skipped == count else 0
        if not sums.skipped:
            return
        seen = _seen(sums)
        if self._explain is not None:
            seen += f". {self._explain(last)}"
        steps = (
            f"step {first}" if first == last else f"{sums.skipped} of the steps {first} to {last}"
        )
        logging.warning("Skipped %s: %s.", steps, seen)
        if self._in_row >= self._most:
            where = "" if self._explain else " Add --debug-numerics to see the layer."
            raise UserError(
                f"Training stopped at step {last}: the last {self._in_row} steps were skipped. "
                f"Seen in them: {seen}. The checkpoints before them are valid.{where} Try a lower "
                "learning_rate, a longer warm-up, or precision=float32"
            )


def _seen(sums: StepSums) -> str:
    """Returns the numbers that were NaN or infinite, and how often."""
    counts = zip(NUMBERS, sums.not_finite, strict=True)
    found = [f"{name} ({int(count)})" if count > 1 else name for name, count in counts if count]
    return f"NaN or infinite {', '.join(found)}"
