"""The order of training examples: pure functions of the random seed and the position.

A position is the number of examples read before. So a resumed run continues exactly from one
number, and every process of a run knows the order of all of them. NumPy alone, so that all devices
and runtimes see one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from electra_zh.errors import UserError

# Version of the order, stored with a run's position.
VERSION = 2
# Positions in which a mixture has its weights exactly.
_BLOCK = 1 << 16
# Streams of random numbers of a seed, apart from those of the epochs.
_MIX = 2**40


def shuffled_runs(
    counts: Sequence[int], *, seed: int, start: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields a shard's number and its rows in order, epoch after epoch, from example `start` on.

    `counts` are the examples of the shards. Each epoch has each example once: the shards are
    permuted, and the rows of each shard. `build-data` has shuffled across the corpus already.
    """
    epoch, skip = divmod(start, sum(counts))
    while True:
        generator = np.random.Generator(np.random.PCG64([seed, epoch]))
        for shard in generator.permutation(len(counts)).tolist():
            count = counts[shard]
            if skip >= count:
                skip -= count
                continue
            rows = np.random.Generator(np.random.PCG64([seed, epoch, shard])).permutation(count)
            yield shard, rows[skip:]
            skip = 0
        epoch += 1


class Mixture:
    """A random sequence of sources in which each has its weight exactly in every long block."""

    def __init__(self, weights: Sequence[float], *, seed: int) -> None:
        """Raises a UserError for a weight that is too small to be met."""
        self._seed = seed
        total = sum(weights)
        for weight in weights:
            if weight * _BLOCK < 2 * total:
                raise UserError(
                    f"A weight of {weight:g} of {total:g} is too small: give at least "
                    f"{2 * total / _BLOCK:.2g}, or remove that data"
                )
        self._bounds = np.array([0.0, *np.cumsum(weights)[:-1] / total, 1.0])

    def _totals(self, block: int) -> np.ndarray:
        """Returns the examples of each source before a block, int64 [K]."""
        return np.diff(np.rint(self._bounds * float(_BLOCK) * block).astype(np.int64))

    def _block(self, block: int) -> np.ndarray:
        """Returns the sources of the positions of one block, int64 [_BLOCK]."""
        counts = self._totals(block + 1) - self._totals(block)
        sources = np.repeat(np.arange(len(counts)), counts)
        generator = np.random.Generator(np.random.PCG64([self._seed, _MIX, block]))
        return generator.permutation(sources)

    def counts_before(self, position: int) -> list[int]:
        """Returns the examples of each source before a position."""
        block, rest = divmod(position, _BLOCK)
        inside = np.bincount(self._block(block)[:rest], minlength=len(self._bounds) - 1)
        counts: list[int] = (self._totals(block) + inside).tolist()
        return counts

    def sources(self, position: int) -> Iterator[np.ndarray]:
        """Yields the sources of the positions from one on, in pieces."""
        block, rest = divmod(position, _BLOCK)
        while True:
            yield self._block(block)[rest:]
            block, rest = block + 1, 0
