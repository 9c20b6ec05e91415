"""Masking: how many, which, and what is shown, for any batch and over many steps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.models import split
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.mask_tensors import MaskedBatch, MaskingRequest
from support.networks import SPECIAL, golden_figures

SPECIALS = [SPECIAL.cls, SPECIAL.sep, SPECIAL.mask]


def _key(step: int, seed: int = 0) -> RandomKey:
    return RandomKey(seed, tf.constant(step, tf.int64))


def _mask(
    ids: np.ndarray,
    mask: np.ndarray,
    *,
    mask_prob: float = 0.15,
    max_predictions: int = 4,
    step: int = 0,
    seed: int = 0,
) -> MaskedBatch:
    """The masked batch as NumPy arrays."""
    batch = {"input_ids": tf.constant(ids, tf.int32), "input_mask": tf.constant(mask, tf.int32)}
    key = _key(step, seed)
    found = mask_tensors.uniform(MaskingRequest(batch, SPECIAL, key, mask_prob, max_predictions))
    assert [value.dtype for value in found] == [tf.int32, tf.int32, tf.int32, tf.float32]
    return MaskedBatch(*[value.numpy() for value in found])


@st.composite
def _batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Rows of any tokens, special ones in any place, then padding; some rows are padding alone."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(4, 24))
    special_share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = generator.integers(0, length + 1, [rows, 1])
    mask = np.arange(length) < lengths
    ids = generator.integers(5, 50, [rows, length])
    is_special = generator.random([rows, length]) < special_share
    ids = np.where(is_special, generator.choice(SPECIALS, [rows, length]), ids)
    return np.where(mask, ids, SPECIAL.pad).astype(np.int32), mask.astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    _batches(),
    st.sampled_from([0.05, 0.15, 0.25, 0.5]),
    st.integers(1, 4),
    st.integers(0, 2**40),
)
def test_any_batch(
    batch: tuple[np.ndarray, np.ndarray], mask_prob: float, max_predictions: int, step: int
) -> None:
    ids, mask = batch
    found = _mask(ids, mask, mask_prob=mask_prob, max_predictions=max_predictions, step=step)
    for row, (row_ids, row_mask) in enumerate(zip(ids, mask, strict=True)):
        candidates = np.flatnonzero((row_mask == 1) & ~np.isin(row_ids, SPECIALS))
        share = np.rint(np.float32(row_mask.sum()) * np.float32(mask_prob))
        wanted = max(1, min(max_predictions, int(share)))
        used = found.weights[row] == 1
        positions = found.positions[row][used]
        assert used.sum() == min(wanted, len(candidates))
        assert len(set(positions)) == len(positions)
        assert set(positions) <= set(candidates)
        assert np.array_equal(found.ids[row][used], row_ids[positions])
        for unused in (found.positions, found.ids, found.weights):
            assert not unused[row][~used].any()
        shown = found.input_ids[row]
        elsewhere = np.setdiff1d(np.arange(len(row_ids)), positions)
        assert np.array_equal(shown[elsewhere], row_ids[elsewhere])
        assert np.all((shown == SPECIAL.mask) | (shown == row_ids))


@pytest.mark.parametrize(
    ("tokens", "mask_prob", "max_predictions", "wanted"),
    [
        (128, 0.15, 19, 19),  # 19.2
        (70, 0.15, 19, 10),  # 10.5 to the even 10
        (90, 0.15, 19, 14),  # 13.5 to the even 14
        (3, 0.15, 19, 1),  # 0.45: at least one
        (128, 0.25, 32, 32),
        (128, 0.25, 30, 30),
    ],
)
def test_the_number_of_a_sequence(
    tokens: int, mask_prob: float, max_predictions: int, wanted: int
) -> None:
    """[CLS] and [SEP] are counted; half is rounded to even."""
    ids, mask = np.full([1, 128], 9), (np.arange(128) < tokens)[None, :]
    ids[:, 0], ids[:, tokens - 1] = SPECIAL.cls, SPECIAL.sep
    found = _mask(ids, mask, mask_prob=mask_prob, max_predictions=max_predictions)
    assert found.weights.sum() == wanted


def test_rows_without_candidates_are_left_alone() -> None:
    ids = np.array([[2, 3, 4, 3], [0, 0, 0, 0], [2, 7, 3, 0]])
    found = _mask(ids, ids != 0, max_predictions=2)
    assert found.weights.tolist() == [[0, 0], [0, 0], [1, 0]]
    assert found.positions.tolist() == [[0, 0], [0, 0], [1, 0]]
    assert np.array_equal(found.input_ids[:2], ids[:2])


def test_the_first_position_can_be_masked_and_is_else_untouched() -> None:
    """Unused slots point to it, too."""
    ids, mask = np.array([[7, 2, 3, 0], [7, 8, 3, 0]]), np.array([[1, 1, 1, 0]] * 2)
    seen = set()
    for step in range(50):
        found = _mask(ids, mask, max_predictions=3, step=step)
        assert found.weights.tolist() == [[1, 0, 0]] * 2
        assert found.positions[0].tolist() == [0, 0, 0]
        assert found.ids[0].tolist() == [7, 0, 0]
        seen.add((found.positions[1, 0], found.input_ids[1, 0]))
    assert seen == {(0, 7), (0, SPECIAL.mask), (1, 7)}


def test_a_step_fixes_the_mask() -> None:
    ids = np.random.default_rng(0).integers(5, 50, [8, 64])
    mask = np.ones_like(ids)
    first = _mask(ids, mask, max_predictions=9, step=2**33 + 1)
    for one, other in zip(first, _mask(ids, mask, max_predictions=9, step=2**33 + 1), strict=True):
        assert np.array_equal(one, other)
    for changed in ({"step": 2**33 + 2}, {"step": 1}, {"seed": 1, "step": 2**33 + 1}):
        other = _mask(ids, mask, max_predictions=9, **changed)
        assert np.mean(np.sort(first.positions) == np.sort(other.positions)) < 0.2


def test_positions_are_uniform_and_85_percent_shown_as_mask() -> None:
    """Over 200 steps of 100 rows, by bounds of five standard deviations."""
    rows, steps, chosen = 100, 200, 5
    ids = np.tile([2, *range(10, 20), 3, 4, *range(20, 30), 3, *[0] * 8], [rows, 1])
    candidates = np.flatnonzero(ids[0] >= 10)
    batch = {"input_ids": tf.constant(ids, tf.int32), "input_mask": tf.constant(ids != 0, tf.int32)}

    @tf.function
    def mask(step: tf.Tensor) -> MaskedBatch:
        key = RandomKey(0, step)
        return mask_tensors.uniform(MaskingRequest(batch, SPECIAL, key, 0.2, chosen))

    counts, shown, pairs = np.zeros(ids.shape[1]), 0, np.zeros([ids.shape[1]] * 2)
    shown_by_slot = np.zeros(chosen)
    for step in range(steps):
        found = mask(tf.constant(step, tf.int64))
        assert np.all(found.weights == 1)
        positions = found.positions.numpy()
        counts += np.bincount(positions.ravel(), minlength=ids.shape[1])
        np.add.at(pairs, (positions[:, 0], positions[:, 1]), 1)
        is_mask = np.take_along_axis(found.input_ids.numpy(), positions, 1) == SPECIAL.mask
        shown += is_mask.sum()
        shown_by_slot += is_mask.sum(0)
    draws, size = rows * steps, len(candidates)
    assert counts[candidates].sum() == draws * chosen == counts.sum()
    # A draw without replacement varies less than a multinomial.
    share = chosen / size
    expected = draws * share
    statistic = np.sum((counts[candidates] - expected) ** 2) / (expected * (1 - share))
    statistic *= (size - 1) / size
    assert abs(statistic - (size - 1)) < 5 * (2 * (size - 1)) ** 0.5
    # Which is drawn first says nothing about which is drawn second.
    pairs = pairs[np.ix_(candidates, candidates)][~np.eye(size, dtype=bool)]
    statistic = np.sum((pairs - draws / pairs.size) ** 2) / (draws / pairs.size)
    assert abs(statistic - pairs.size) < 5 * (2 * pairs.size) ** 0.5
    spread = (0.85 * 0.15 * draws) ** 0.5
    assert abs(shown - 0.85 * draws * chosen) < 5 * spread * chosen**0.5
    assert abs(shown_by_slot - 0.85 * draws).max() < 5 * spread


def test_replace_at_writes_used_slots_only() -> None:
    ids = tf.constant([[1, 2, 3], [4, 5, 6]])
    positions, values = tf.constant([[2, 0], [0, 0]]), tf.constant([[30, 99], [40, 99]])
    used = tf.constant([[True, False], [True, False]])
    found = split.write_at(ids, positions, values, used)
    assert found.numpy().tolist() == [[1, 2, 30], [40, 5, 6]]


def test_what_the_generator_sees_is_the_reference_s() -> None:
    """From the reference's positions, and its draw of which of them are shown as [MASK]."""
    figures = golden_figures()
    wanted = ("input_ids", "masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
    ids, positions, true, weights = (tf.constant(figures[name]) for name in wanted)
    is_mask = figures["replace_with_mask"] == 1
    shown = tf.where(is_mask, tf.constant(figures["special_ids"][3], tf.int32), true)
    found = split.write_at(ids, positions, shown, weights > 0)
    assert np.array_equal(found, figures["gen_input_ids"])
