"""Encoded examples of a split, and their batches.

Sequences of similar length go into one batch, padded to the next of a few lengths: each pair of
batch size and length is one static shape, compiled once, and short pairs do not pay for 128
positions. The order is a pure function of (seed, epoch), so a resumed trial repeats it.

Shapes: G groups of a batch (examples), S sequences of a group, R = G * S rows, L length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

# Lengths that batches of unknown texts are padded to.
LENGTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
# Lengths to choose from for texts that are known (`choose_lengths`).
_CANDIDATES = (*range(8, 128, 8), *range(128, 256, 16), *range(256, 512, 32), *range(512, 4097, 64))
# Number of batches that are sorted by length together.
_POOL = 64


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
    """Sequences of a split, flat. Rows of one group are neighbours and share a batch.

    Attributes:
      ids: integers [T], the token ids of all rows, [CLS] and [SEP] included.
      ends: int64 [rows], row i is ids[ends[i - 1]:ends[i]].
      segments: integers [T].
      group: rows of a group: 1, or the number of choices.
      example: int64 [rows / group], the example of each group; an example may have several groups
        (windows), one after the other, or none.
      per_token: name to int32 or float32 [T]; padded with 0 in batches, [R, L].
      per_group: name to [rows / group, ...]; in batches [G, ...].
      notes: lines about repaired and skipped answers, for the log and the results.
      cut: number of texts or pairs that lost tokens to the maximum length.
    """

    ids: np.ndarray
    ends: np.ndarray
    segments: np.ndarray
    example: np.ndarray
    group: int = 1
    per_token: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    per_group: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cut: int = 0

    def __post_init__(self) -> None:
        assert len(self.ends) == len(self.example) * self.group
        assert len(self.ids) == len(self.segments) == (self.ends[-1] if len(self.ends) else 0)
        assert all(len(values) == len(self.ids) for values in self.per_token.values())
        assert all(len(values) == len(self.example) for values in self.per_group.values())

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.example)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64 [rows], where each row begins in `ids`."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])[: len(self.ends)]

    @functools.cached_property
    def group_lengths(self) -> np.ndarray:
        """int64 [groups], the longest row of each group."""
        lengths = (self.ends - self.starts).reshape(-1, self.group)
        return lengths.max(1) if len(lengths) else np.zeros(0, np.int64)


def all_lengths(max_seq_length: int) -> tuple[int, ...]:
    """Returns the lengths that batches of unknown texts are padded to, ascending."""
    return (*(length for length in LENGTHS if length < max_seq_length), max_seq_length)


def bucket(length: int, lengths: Sequence[int]) -> int:
    """Returns the one of the lengths that a batch whose longest row has `length` is padded to."""
    return min(each for each in lengths if each >= length)


def longest_rows(rows: EncodedSplit, plan: Iterable[np.ndarray]) -> np.ndarray:
    """Returns int64 [batches], the longest row of each batch of a plan."""
    lengths = rows.group_lengths
    return np.array([lengths[groups].max() for groups in plan], np.int64)


def shortest_group(rows: EncodedSplit) -> np.ndarray:
    """Returns int64 [1], the group that fits into every length that the rows are padded to."""
    return np.array([np.argmin(rows.group_lengths)])


def choose_lengths(
    longest: np.ndarray, *, most: int, max_seq_length: int, cost: float, at_most: int = 0
) -> tuple[int, ...]:
    """Returns the lengths to pad batches to, ascending: those with the least work in total.

    Every batch costs the length that it is padded to, and every length costs `cost` for tracing
    and compiling it. So a small data set has one length or two, and a large one about ten.

    Args:
      longest: int64 [batches], the longest row of each batch that will be computed.
      most: the longest row that a batch may have.
      max_seq_length: the maximum.
      cost: of a new length, in positions of a row.
      at_most: the most lengths; 0 for any number.
    """
    below = sorted({min(each, max_seq_length) for each in _CANDIDATES} | {max_seq_length})
    lengths = [0, *(each for each in below if each < most), bucket(most, below)]
    batches = np.searchsorted(np.sort(longest), lengths, side="right")
    number = min(at_most or len(lengths), len(lengths) - 1)
    # By number of lengths and the last of them: the least work, and the lengths that give it.
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(0, 0): (0.0, ())}
    for last in range(1, len(lengths)):
        for count in range(1, min(number, last) + 1):
            best[count, last] = min(
                (
                    best[count - 1, first][0]
                    + cost
                    + lengths[last] * float(batches[last] - batches[first]),
                    (*best[count - 1, first][1], lengths[last]),
                )
                for first in range(last)
                if (count - 1, first) in best
            )
    # The first of equal ones has the fewest lengths.
    ways = [best[count, len(lengths) - 1] for count in range(1, number + 1)]
    return min(ways, key=lambda way: way[0])[1]


def steps_per_epoch(rows: EncodedSplit, batch_size: int) -> int:
    """Returns the number of training batches of an epoch; the last may be filled up."""
    return -(-rows.groups // batch_size)


def training_plan(
    rows: EncodedSplit, *, batch_size: int, seed: int, epoch: int, by_length: bool = True
) -> list[np.ndarray]:
    """Returns the groups of each batch of an epoch, shuffled.

    All groups are shuffled, pools of batches are sorted by length and cut, and the batches are
    shuffled; the same (seed, epoch) gives the same plan.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(rows.groups)
    lengths = rows.group_lengths
    batches: list[np.ndarray] = []
    for start in range(0, len(order), _POOL * batch_size):
        pool = order[start : start + _POOL * batch_size]
        if by_length:
            pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(pool[at : at + batch_size] for at in range(0, len(pool), batch_size))
    generator.shuffle(batches)
    return batches


def evaluation_plan(rows: EncodedSplit, *, batch_size: int) -> list[np.ndarray]:
    """Returns the groups of each batch, the longest first: memory runs out at once or never."""
    order = np.argsort(-rows.group_lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def make_batch(
    rows: EncodedSplit,
    groups: np.ndarray,
    *,
    batch_size: int,
    lengths: Sequence[int],
    part: tuple[int, int] = (0, 1),
) -> dict[str, np.ndarray]:
    """Returns the features of at most `batch_size` groups, filled up to that number.

    They are `input_ids`, `input_mask`, `segment_ids` int32 [R, L], `weight` float32 [G] (1, and 0
    for filler at the end), and the rows' own per_token and per_group. Rows are padded to the first
    of the lengths, ascending, that the longest fits into. With `part` (k, n) they are those of the
    groups k, k + n, ... alone.
    """
    number, parts = part
    filled = np.resize(groups, batch_size)[number::parts]
    length = bucket(int(rows.group_lengths[groups].max()), lengths)
    numbers = (filled[:, None] * rows.group + np.arange(rows.group)).reshape(-1)  # [R]
    starts, ends = rows.starts[numbers], rows.ends[numbers]
    columns = np.arange(length)
    real = columns < (ends - starts)[:, None]  # [R, L]
    places = np.where(real, starts[:, None] + columns, 0)

    def gather(values: np.ndarray) -> np.ndarray:
        return np.where(real, values[places], values.dtype.type(0))

    features = {name: gather(values) for name, values in rows.per_token.items()}
    features |= {name: values[filled] for name, values in rows.per_group.items()}
    features["input_ids"] = gather(rows.ids).astype(np.int32)
    features["segment_ids"] = gather(rows.segments).astype(np.int32)
    features["input_mask"] = real.astype(np.int32)
    is_group = np.arange(batch_size) < len(groups)
    features["weight"] = is_group[number::parts].astype(np.float32)
    return features


def collect(
    collected: dict[str, np.ndarray], name: str, total: int, groups: np.ndarray, found: np.ndarray
) -> None:
    """Writes an output of some groups, [groups, ...], to that of all, [total, ...].

    It is made at the first call. That is for the longest rows: no later one is wider, and narrower
    ones are filled up with 0.
    """
    if name not in collected:
        collected[name] = np.zeros((total, *found.shape[1:]), found.dtype)
    sizes = zip(collected[name].shape[1:], found.shape[1:], strict=True)
    padding = [(0, widest - size) for widest, size in sizes]
    collected[name][groups] = np.pad(found, [(0, 0), *padding])
