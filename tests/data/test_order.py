"""The order of examples: reproducible, entered anywhere, mixed by weight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from electra_zh.data import order
from electra_zh.errors import UserError


def test_the_order_is_frozen() -> None:
    runs = list(itertools.islice(order.shuffled_runs([3, 4], seed=7, start=0), 3))
    expected = [(0, [0, 2, 1]), (1, [0, 2, 3, 1]), (0, [0, 2, 1])]
    assert [(shard, rows.tolist()) for shard, rows in runs] == expected


@pytest.mark.parametrize("weights", [[1.0], [3, 1], [1, 1, 1], [0.7, 0.2, 0.1]])
def test_a_mixture_has_its_weights(weights: list[float]) -> None:
    mixture = order.Mixture(weights, seed=0)
    counts = np.array(mixture.counts_before(10 * order._BLOCK))
    assert counts.sum() == 10 * order._BLOCK
    assert np.abs(counts / counts.sum() - np.array(weights) / sum(weights)).max() < 1e-5


def test_a_mixture_can_be_entered_anywhere() -> None:
    mixture = order.Mixture([3, 1, 2], seed=0)
    sources = np.concatenate(list(itertools.islice(mixture.sources(0), 3)))
    for position in (0, 1, 70_000, 140_000):
        later = next(mixture.sources(position))
        assert np.array_equal(later, sources[position : position + len(later)])
        expected = np.bincount(sources[:position], minlength=3).tolist()
        assert mixture.counts_before(position) == expected


def test_a_tiny_weight_is_refused() -> None:
    with pytest.raises(UserError, match="too small: give at least"):
        order.Mixture([1, 1e-6], seed=0)
