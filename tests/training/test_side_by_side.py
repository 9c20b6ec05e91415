"""Threads side by side: results in order, few values ahead, errors reach the caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from absl import logging

from electra_zh import machine
from electra_zh.training import side_by_side


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(machine, "side_by_side", lambda: 2)
    side_by_side._threads.cache_clear()
    yield
    side_by_side._threads.cache_clear()


@pytest.mark.parametrize(
    ("rows", "at_once", "parts"), [(32, 2, 2), (32, 8, 8), (6, 4, 3), (25, 2, 1), (1, 8, 1)]
)
def test_parts_are_of_equal_size(
    monkeypatch: pytest.MonkeyPatch, rows: int, at_once: int, parts: int
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(logging, "warning", warnings.append)
    monkeypatch.setattr(machine, "side_by_side", lambda: at_once)
    assert side_by_side.parts_of(rows) == parts
    busy = f"{rows} rows keep {parts / at_once:.0%} of the threads busy"
    assert [each.startswith(busy) for each in warnings] == [True] * (parts < at_once)


def test_results_are_in_order_and_few_values_are_taken_ahead() -> None:
    taken: list[int] = []

    def values() -> Iterator[int]:
        for value in range(20):
            taken.append(value)
            yield value

    def later_first(value: int) -> int:
        time.sleep(0.01 * (value % 2 == 0))
        return value * value

    for index, found in enumerate(side_by_side.in_order(later_first)(values())):
        assert found == index * index
        assert len(taken) <= index + 4
    assert taken == list(range(20))


def test_only_the_first_value_of_all_calls_is_computed_alone() -> None:
    at_once = threading.Barrier(2)

    def compute(value: int) -> int:
        if value:
            at_once.wait(timeout=60)
        return value

    compute_all = side_by_side.in_order(compute)
    assert list(compute_all([0, 1, 2])) == [0, 1, 2]
    assert list(compute_all([3, 4])) == [3, 4]


def test_errors_reach_the_caller() -> None:
    def fail(value: int) -> int:
        if value == 3:
            raise ValueError(value)
        return value

    def values() -> Iterator[int]:
        yield from (0, 1)
        raise KeyError

    with pytest.raises(ValueError, match="3"):
        list(side_by_side.in_order(fail)(range(9)))
    with pytest.raises(KeyError):
        list(side_by_side.in_order(fail)(values()))
