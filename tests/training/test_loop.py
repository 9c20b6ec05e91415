"""The loop cuts steps into calls without changing them, and stops when it must."""

from __future__ import annotations

import os
import signal
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.interrupts import StopRequest
from electra_zh.training import loop


class Sums(NamedTuple):
    steps: tf.Tensor
    loss: tf.Tensor


class Counter(tf.Module):
    """A program that adds up what it is given; its loss is NaN from a step on."""

    def __init__(self, nan_from: int = 10**6) -> None:
        super().__init__()
        self.step = tf.Variable(0, dtype=tf.int64)
        self.total = tf.Variable(0, dtype=tf.int64)
        self._nan_from = nan_from

    def __call__(self, batch: tf.Tensor) -> Sums:
        self.step.assign_add(1)
        self.total.assign_add(batch)
        bad = self.step >= self._nan_from
        return Sums(tf.ones([]), tf.where(bad, np.float32("nan"), np.float32(1)))


def _run(
    program: Counter, *, last_step: int = 20, **settings: int
) -> tuple[list[Any], list[int], int]:
    calls, acted = [], []
    inner = loop.make_inner_loop(program, iter(np.arange(10**6)))
    actions = [loop.Action(6, lambda step: acted.append(step))]
    with StopRequest() as stop:
        step = loop.run(
            inner,
            first_step=0,
            last_step=last_step,
            actions=actions,
            on_call=lambda first, last, sums: calls.append((first, last, float(sums.steps))),
            stop=stop,
            **settings,
        )
    return calls, acted, step


@pytest.mark.parametrize("steps_per_call", [0, 1, 4, 100])
def test_every_step_is_done_once(steps_per_call: int) -> None:
    program = Counter()
    calls, acted, step = _run(program, steps_per_call=steps_per_call)
    assert step == 20
    assert int(program.total) == sum(range(20))
    assert acted == [6, 12, 18, 20]
    assert [first for first, _, _ in calls] == [1, *[last + 1 for _, last, _ in calls[:-1]]]
    assert all(count == last - first + 1 for first, last, count in calls)


def test_sums_do_not_depend_on_the_calls() -> None:
    def step(batch: tf.Tensor) -> Sums:
        return Sums(tf.ones([]), tf.sqrt(tf.cast(batch, tf.float32)))

    at_once, alone = (loop.make_inner_loop(step, iter(np.arange(1, 10**6))) for _ in range(2))
    assert at_once(1000).loss == sum(float(alone(1).loss) for _ in range(1000))


def test_nan_names_the_steps() -> None:
    program = Counter(nan_from=8)
    with pytest.raises(UserError, match=r"loss became NaN or infinite in one of the steps 7 to 10"):
        _run(program, steps_per_call=4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_between_calls(number: signal.Signals) -> None:
    program = Counter()
    inner = loop.make_inner_loop(program, iter(np.arange(10**6)))
    before = signal.getsignal(signal.SIGTERM)  # of pytest, or of a command in this process
    with StopRequest() as stop:
        step = loop.run(
            inner,
            first_step=0,
            last_step=20,
            actions=[loop.Action(20, lambda step: None)],
            on_call=lambda first, last, sums: os.kill(os.getpid(), number) if last == 5 else None,
            stop=stop,
            steps_per_call=5,
        )
    assert step == 5
    assert int(program.step) == 5
    assert stop.is_set
    assert signal.getsignal(signal.SIGTERM) is before
