"""Rows and the batches that they are cut into."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit

LENGTHS = batches.all_lengths(64)


def make_rows(lengths: list[int], *, group: int = 1) -> EncodedSplit:
    """Row i holds i + 1 over and over; its tokens carry their place as a label."""
    ends = np.cumsum(lengths).astype(np.int64)
    ids = np.repeat(np.arange(1, len(lengths) + 1), lengths).astype(np.int32)
    places = np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int32)
    groups = len(lengths) // group
    return EncodedSplit(
        ids,
        ends,
        (places > 2).astype(np.int32),
        np.arange(groups),
        group=group,
        per_token={"place": places},
        per_group={"label": np.arange(groups, dtype=np.int32)},
    )


def test_batch_is_padded_to_the_bucket_of_its_longest_row() -> None:
    rows = make_rows([3, 17, 5, 40])
    batch = batches.make_batch(
        rows, np.array([0, 1]), batch_size=2, lengths=batches.all_lengths(64)
    )
    assert batch["input_ids"].shape == (2, 24)
    assert batch["input_ids"][0].tolist() == [1, 1, 1] + [0] * 21
    assert batch["input_mask"].sum(1).tolist() == [3, 17]
    assert batch["segment_ids"][0].tolist() == [0, 0, 1] + [0] * 21
    assert batch["place"][1].tolist() == [*range(1, 18), *[0] * 7]
    assert batch["label"].tolist() == [0, 1]


def test_without_buckets_every_batch_has_one_shape() -> None:
    rows = make_rows([3, 17, 5, 40])
    for groups in ([0, 1], [3]):
        batch = batches.make_batch(rows, np.array(groups), batch_size=2, lengths=(64,))
        assert batch["input_ids"].shape == (2, 64)


def test_a_short_batch_is_filled_up_with_weightless_groups() -> None:
    rows = make_rows([3, 4, 5])
    batch = batches.make_batch(rows, np.array([2]), batch_size=4, lengths=LENGTHS)
    assert batch["weight"].tolist() == [1, 0, 0, 0]
    assert batch["label"].shape == (4,)


def test_rows_of_a_group_stay_together() -> None:
    rows = make_rows([3, 4, 5, 6, 7, 8], group=2)
    assert rows.group_lengths.tolist() == [4, 6, 8]
    batch = batches.make_batch(
        rows, np.array([2, 0]), batch_size=2, lengths=batches.all_lengths(64)
    )
    assert batch["input_ids"][:, 0].tolist() == [5, 6, 1, 2]
    assert batch["label"].tolist() == [2, 0]


@pytest.mark.parametrize(("length", "expected"), [(1, 16), (16, 16), (17, 24), (90, 96), (97, 100)])
def test_bucket_is_the_next_length_and_never_beyond_the_most(length: int, expected: int) -> None:
    assert batches.bucket(length, batches.all_lengths(100)) == expected


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_holds_every_group_once(lengths: list[int], batch_size: int, epoch: int) -> None:
    rows = make_rows(lengths)
    plan = batches.training_plan(rows, batch_size=batch_size, seed=1, epoch=epoch)
    assert len(plan) == batches.steps_per_epoch(rows, batch_size)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(lengths)))
    assert all(len(groups) <= batch_size for groups in plan)


def test_plan_follows_from_seed_and_epoch() -> None:
    rows = make_rows(np.random.default_rng(0).integers(1, 60, 500).tolist())

    def plan(seed: int, epoch: int) -> list[int]:
        plan = batches.training_plan(rows, batch_size=8, seed=seed, epoch=epoch)
        return np.concatenate(plan).tolist()

    assert plan(3, 1) == plan(3, 1)
    assert plan(3, 1) != plan(3, 2)
    assert plan(3, 1) != plan(4, 1)


def test_sorting_by_length_saves_most_of_the_padding() -> None:
    lengths = np.random.default_rng(0).gamma(4, 8, 2000).clip(3, 128).astype(int)
    rows = make_rows(lengths.tolist())

    def padded(by_length: bool) -> int:
        plan = batches.training_plan(rows, batch_size=32, seed=0, epoch=0, by_length=by_length)
        padded_to = batches.all_lengths(128) if by_length else (128,)
        made = (
            batches.make_batch(rows, groups, batch_size=32, lengths=padded_to) for groups in plan
        )
        return sum(batch["input_ids"].size for batch in made)

    assert padded(False) == 63 * 32 * 128
    assert padded(True) < 1.3 * lengths.sum()


@pytest.mark.parametrize(
    ("steps", "cost", "expected"),
    [
        (1, 1e6, (104,)),  # a small data set: each length costs more than all padding
        (20, 600, (32, 48, 104)),
        (1000, 300, (24, 32, 48, 104)),
        (1000, 0, (24, 32, 48, 104)),  # no length without a batch of its own
    ],
)
def test_lengths_are_those_with_the_least_work(
    steps: int, cost: float, expected: tuple[int, ...]
) -> None:
    longest = np.array([20, 24, 30, 32, 42] * steps)
    chosen = batches.choose_lengths(longest, most=100, max_seq_length=128, cost=cost)
    assert chosen == expected


def test_of_at_most_two_lengths_those_with_the_least_work() -> None:
    longest = np.array([20, 24, 30, 32, 42] * 1000)
    chosen = batches.choose_lengths(longest, most=100, max_seq_length=128, cost=300, at_most=2)
    assert chosen == (32, 104)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(0, 900))
def test_lengths_hold_every_batch(longest: list[int], cost: int) -> None:
    most = max(longest) + 12
    chosen = batches.choose_lengths(
        np.array(longest), most=most, max_seq_length=312, cost=float(cost)
    )
    assert list(chosen) == sorted(set(chosen))
    assert most <= chosen[-1] <= 312
    assert all(batches.bucket(each, chosen) >= each for each in longest)


def test_evaluation_begins_with_the_longest() -> None:
    rows = make_rows([5, 9, 2, 7])
    plan = batches.evaluation_plan(rows, batch_size=3)
    assert [groups.tolist() for groups in plan] == [[1, 3, 0], [2]]
