"""Work on several cores: parts of a batch, or whole batches, that are computed at the same time.

Each operation of TensorFlow runs on one core then. Two cores that share every operation wait for
each other between any two of them: a step of `small` kept them busy 85 % of the time, and parts
side by side 98 % (docs/results.md).
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from absl import logging

from electra_zh import machine
from electra_zh.training import loop

A = TypeVar("A")
B = TypeVar("B")


def parts_of(rows: int) -> int:
    """Returns the number of parts of equal size that a batch of `rows` rows is computed in."""
    if loop.use_xla():
        return 1
    most = machine.side_by_side()
    parts = max(n for n in range(1, most + 1) if rows % n == 0)
    if parts < most:
        logging.warning(
            f"{rows} rows keep {parts / most:.0%} of the threads busy. "
            f"Faster: a batch that {most} divides, or TF_NUM_INTRAOP_THREADS={machine.threads()}."
        )
    return parts


def in_order(function: Callable[[A], B]) -> Callable[[Iterable[A]], Iterator[B]]:
    """Returns a function that yields the results for values in their order, few taken ahead.

    Of all its calls the first value is computed alone: it compiles kernels. With two threads
    TensorFlow once ended there with std::bad_alloc. That both wanted the same kernel is a guess.
    """
    is_first = True

    def compute(values: Iterable[A]) -> Iterator[B]:
        nonlocal is_first
        running: deque[Future[B]] = deque()
        rest = iter(values)
        for value in itertools.islice(rest, 1 if is_first else 0):
            yield function(value)
            is_first = False
        for value in rest:
            running.append(_threads().submit(function, value))
            if len(running) > machine.side_by_side():
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    return compute


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(machine.side_by_side(), thread_name_prefix="side_by_side")
