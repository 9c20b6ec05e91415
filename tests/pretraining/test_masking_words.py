"""Masking of words and n-grams: whole, never too many, and drawn at the rates that are promised.

The draws follow from seed and step, so the statistical tests always see the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.mask_tensors import MaskedBatch, MaskingRequest, ReplacementRates
from electra_zh.pretraining.masking import NGRAM_FRACTIONS
from support.networks import SPECIAL

SPECIALS = [SPECIAL.cls, SPECIAL.sep, SPECIAL.mask]
KINDS = {"words": (), "ngrams": NGRAM_FRACTIONS}
# Of real Chinese text: shares of words of 1, 2, 3 and 4 tokens.
WORD_LENGTHS = (0.45, 0.475, 0.047, 0.028)

both_kinds = pytest.mark.parametrize("shares", KINDS.values(), ids=KINDS.keys())


def _batch(ids: np.ndarray, starts: np.ndarray) -> dict[str, tf.Tensor]:
    arrays = {"input_ids": ids, "input_mask": ids != SPECIAL.pad, "word_starts": starts}
    return {name: tf.constant(value, tf.int32) for name, value in arrays.items()}


def _two_segments(words: list[int], rows: int = 64) -> dict[str, tf.Tensor]:
    """Equal rows: [CLS], half of the words of these lengths, [SEP], the other half, [SEP]."""
    half = len(words) // 2
    ids, starts = [SPECIAL.cls], [1]
    for segment in (words[:half], words[half:]):
        for length in segment:
            ids += [9] * length
            starts += [1] + [0] * (length - 1)
        ids.append(SPECIAL.sep)
        starts.append(1)
    return _batch(np.tile(ids, [rows, 1]), np.tile(starts, [rows, 1]))


def _real_words(tokens: int) -> list[int]:
    """Lengths of words of this many tokens together."""
    generator = np.random.default_rng(tokens)
    words: list[int] = []
    while sum(words) < tokens:
        word = 1 + int(generator.choice(len(WORD_LENGTHS), p=WORD_LENGTHS))
        words.append(min(word, tokens - sum(words)))
    return words


def _mask(
    batch: dict[str, tf.Tensor],
    step: int | tf.Tensor,
    *,
    mask_prob: float = 0.15,
    slots: int,
    shares: tuple[float, ...] = (),
    shown: ReplacementRates | None = None,
) -> MaskedBatch:
    key, rates = RandomKey(0, tf.cast(step, tf.int64)), shown or ReplacementRates()
    request = MaskingRequest(batch, SPECIAL, key, mask_prob, slots, rates)
    return mask_tensors.whole_words(request, shares)


def _is_masked(found: MaskedBatch) -> np.ndarray:
    """Returns bool [B, L]."""
    masked = np.zeros(found.input_ids.shape, bool)
    rows, slots = np.nonzero(found.weights.numpy())
    masked[rows, found.positions.numpy()[rows, slots]] = True
    return masked


def _draws(
    batch: dict[str, tf.Tensor], steps: int, **choices: object
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the step and bool [B, L], the masked positions, for many steps."""
    draw = tf.function(lambda step: _mask(batch, step, **choices))  # type: ignore[arg-type]
    for step in range(steps):
        yield step, _is_masked(draw(tf.constant(step, tf.int64)))


def _words(ids: np.ndarray, starts: np.ndarray) -> list[list[int]]:
    """The positions of each word of a row that may be masked."""
    words: list[list[int]] = []
    for position, (token, start) in enumerate(zip(ids, starts, strict=True)):
        if token == SPECIAL.pad or token in SPECIALS:
            continue
        follows = bool(words) and words[-1][-1] == position - 1
        if start or not follows:
            words.append([])
        words[-1].append(position)
    return words


# --- Any batch -------------------------------------------------------------------------------


@st.composite
def _batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Rows with special tokens and word starts in any place, then padding; some all padding."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(4, 24))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = generator.integers(0, length + 1, [rows, 1])
    is_special = generator.random([rows, length]) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    ids = generator.integers(5, 50, [rows, length])
    ids = np.where(is_special, generator.choice(SPECIALS, [rows, length]), ids)
    ids = np.where(np.arange(length) < lengths, ids, SPECIAL.pad)
    starts = generator.random([rows, length]) < draw(st.sampled_from([0.0, 0.3, 0.6, 1.0]))
    return ids, np.where(ids == SPECIAL.pad, 0, starts)


@settings(max_examples=80, deadline=None)
@given(
    _batches(),
    st.sampled_from([0.05, 0.15, 0.5, 0.95]),
    st.integers(1, 4),
    st.sampled_from(list(KINDS.values())),
    st.integers(0, 2**40),
)
def test_any_batch(
    batch: tuple[np.ndarray, np.ndarray],
    mask_prob: float,
    slots: int,
    shares: tuple[float, ...],
    step: int,
) -> None:
    ids, starts = batch
    found = _mask(_batch(ids, starts), step, mask_prob=mask_prob, slots=slots, shares=shares)
    assert [value.dtype for value in found] == [tf.int32, tf.int32, tf.int32, tf.float32]
    for row, (row_ids, row_starts) in enumerate(zip(ids, starts, strict=True)):
        used = found.weights.numpy()[row] == 1
        positions = found.positions.numpy()[row]
        masked = set(positions[used])
        words = _words(row_ids, row_starts)
        assert len(masked) == used.sum() <= slots
        assert masked <= {position for word in words for position in word}
        cut = [word for word in words if 0 < len(masked & set(word)) < len(word)]
        assert len(cut) <= (len(masked) == slots)
        assert not positions[~used].any()
        assert np.array_equal(found.ids.numpy()[row], np.where(used, row_ids[positions], 0))
        shown = found.input_ids.numpy()[row]
        assert np.all((shown == row_ids) | ((shown == SPECIAL.mask) & np.isin(ids[row], row_ids)))
        assert set(np.flatnonzero(shown != row_ids)) <= masked


@both_kinds
def test_compiled_is_the_same(shares: tuple[float, ...]) -> None:
    batch = _two_segments(_real_words(61), rows=8)
    shown = ReplacementRates(keep=0.1, random=0.1, vocab_size=150)

    def draw(step: tf.Tensor) -> MaskedBatch:
        return _mask(batch, step, slots=12, shares=shares, shown=shown)

    plain, compiled = tf.function(draw), tf.function(draw, jit_compile=True)
    for step in range(10):
        one, other = plain(tf.constant(step)), compiled(tf.constant(step))
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_step_fixes_the_mask() -> None:
    batch = _two_segments(_real_words(61))
    first, again, other = (_is_masked(_mask(batch, step, slots=12)) for step in (7, 7, 8))
    assert np.array_equal(first, again)
    assert np.mean(first[first] == other[first]) < 0.3
    assert len({row.tobytes() for row in first}) == len(first)


@both_kinds
def test_rows_without_candidates_are_left_alone(shares: tuple[float, ...]) -> None:
    ids = np.array([[2, 3, 4, 3], [0, 0, 0, 0], [2, 7, 3, 0], [7, 0, 0, 0]])
    found = _mask(_batch(ids, np.ones_like(ids)), 0, slots=2, shares=shares)
    assert found.weights.numpy().tolist() == [[0, 0], [0, 0], [1, 0], [1, 0]]
    assert found.positions.numpy().tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]


def test_a_word_ends_at_a_special_token() -> None:
    """Packing cuts words: the second segment may begin without a word start."""
    ids = np.tile([2, 7, 7, 3, 7, 7, 7, 3], [200, 1])
    starts = np.tile([1, 1, 0, 1, 0, 0, 1, 1], [200, 1])
    masked = _is_masked(_mask(_batch(ids, starts), 0, mask_prob=0.4, slots=7))
    words = [[1, 2], [4, 5], [6]]
    assert all(np.all(masked[:, word].all(1) == masked[:, word].any(1)) for word in words)
    assert len({tuple(row) for row in masked[:, [1, 4, 6]]}) == 6  # 2 to 4 tokens of 5


# --- How many, and which ----------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "mask_prob"), [(128, 0.15), (40, 0.15), (128, 0.4), (9, 0.15)])
@pytest.mark.parametrize("spare", [0, 2])
@both_kinds
def test_the_expected_number_is_exact(
    shares: tuple[float, ...], spare: int, tokens: int, mask_prob: float
) -> None:
    """Slots that cut words do not change it."""
    wanted = mask_prob * tokens
    slots = int(np.ceil(wanted)) + spare
    batch = _two_segments(_real_words(tokens - 3))
    draws = _draws(batch, 60, mask_prob=mask_prob, slots=slots, shares=shares)
    counts = np.concatenate([masked.sum(1) for _, masked in draws])
    assert counts.max() <= slots
    error = counts.std() / len(counts) ** 0.5
    assert abs(counts.mean() - wanted) < 4 * error + 1e-6


def test_the_number_is_near_the_expected_one() -> None:
    """By no more than the word across it: of 19.2 tokens, 16 to 23 with words of 1 to 4."""
    draws = _draws(_two_segments(_real_words(125)), 60, slots=24)
    counts = np.bincount(np.concatenate([masked.sum(1) for _, masked in draws]))
    seen = np.flatnonzero(counts)
    assert (seen[0], seen[-1]) == (16, 23)
    assert counts[18:22].sum() > 0.97 * counts.sum()


@both_kinds
def test_words_of_one_length_are_drawn_evenly(shares: tuple[float, ...]) -> None:
    """By a chi-square test; of n-grams, words far from a segment's ends."""
    words, rows, steps = 40, 64, 150
    batch = _two_segments([2] * words, rows)
    starts = np.flatnonzero((batch["input_ids"][0] == 9).numpy())[::2]
    counts, numbers = np.zeros(words), []
    for _, masked in _draws(batch, steps, mask_prob=0.2, slots=30, shares=shares):
        counts += masked[:, starts].sum(0)
        numbers.append(masked[:, starts].sum(1))
    draws = rows * steps
    number = np.concatenate(numbers)
    rate = counts.mean() / draws
    if shares:
        # Neighbours come together: each count is tested by itself, at the level of all.
        z = (counts - draws * rate) / (draws * rate * (1 - rate)) ** 0.5
        assert stats.norm.sf(abs(z).max()) * 2 * words > 1e-3
        return
    # Draws without replacement: the variance of a count less the covariance of two.
    together = np.mean(number * (number - 1)) / (words * (words - 1))
    spread = rate * (1 - rate) - (together - rate**2)
    statistic = np.sum((counts - draws * rate) ** 2) / (draws * spread)
    assert 1e-3 < stats.chi2.sf(statistic, words - 1) < 1 - 1e-3


@pytest.mark.parametrize(("tokens", "bound"), [(128, 0.02), (40, 0.06)])
def test_a_word_s_rate_hardly_depends_on_its_length(tokens: int, bound: float) -> None:
    """Drawn in an order without preference, words of four would be masked 6 and 19 % less."""
    lengths = [1, 2, 4, 1, 2, 3, 1, 1, 2, 3] * 9
    words = lengths[: int(np.searchsorted(np.cumsum(lengths), tokens - 3))]
    batch = _two_segments(words)
    layout = _words(batch["input_ids"][0].numpy(), batch["word_starts"][0].numpy())
    assert [len(word) for word in layout] == words
    counts, draws = np.zeros(len(words)), 0
    for _, masked in _draws(batch, 400, slots=int(np.ceil(0.15 * tokens)) + 3):
        counts += masked[:, [word[0] for word in layout]].sum(0)
        draws += len(masked)
    rate = 0.15 * tokens / sum(words)
    for length in set(words):
        of_length = counts[np.equal(words, length)] / draws
        error = (rate / (draws * len(of_length))) ** 0.5
        assert abs(of_length.mean() / rate - 1) < bound + 4 * error / rate


# --- N-grams ----------------------------------------------------------------------------------


def test_ngrams_have_their_shares() -> None:
    """Those of a segment, counted from its start, and those that are masked."""
    batch = _two_segments([1] * 120)
    candidates = batch["input_ids"] == 9
    drawn, masked_ones = np.zeros(4), np.zeros(4)
    draws = _draws(batch, 40, slots=40, shares=NGRAM_FRACTIONS)
    for step, masked in draws:
        key = RandomKey(0, tf.constant(step, tf.int64))
        units = mask_tensors._units(batch["word_starts"], candidates, NGRAM_FRACTIONS, key).numpy()
        for row, row_masked in zip(units, masked, strict=True):
            sizes = np.bincount(row[row_masked], minlength=len(row))
            masked_ones += np.bincount(sizes, minlength=5)[1:5]
            for segment in (row[1:61], row[62:122]):
                _, all_sizes = np.unique(segment, return_counts=True)
                # The end of a segment cuts what may be its 15th.
                drawn += np.bincount(all_sizes[:14], minlength=5)[1:]
    expected = np.array(NGRAM_FRACTIONS)
    for counts in (drawn, masked_ones):
        assert stats.chisquare(counts, expected * counts.sum()).pvalue > 1e-3


def test_ngrams_are_of_whole_words_and_end_at_special_tokens() -> None:
    words = _real_words(60)
    batch = _two_segments(words, rows=16)
    ids, starts = batch["input_ids"].numpy(), batch["word_starts"].numpy()
    candidates = tf.constant(ids == 9)
    key = RandomKey(0, tf.constant(3, tf.int64))
    units = mask_tensors._units(batch["word_starts"], candidates, NGRAM_FRACTIONS, key).numpy()
    for row in range(16):
        layout = _words(ids[row], starts[row])
        numbers = [set(units[row][word]) for word in layout]
        assert all(len(number) == 1 for number in numbers)
        in_order = [number.pop() for number in numbers]
        assert set(np.diff(in_order)) <= {0, 1}
        assert in_order[0] == 0
        half = len(words) // 2
        assert in_order[half] == in_order[half - 1] + 1
        assert 1 < max(np.bincount(in_order)) <= 4


# --- What is shown ----------------------------------------------------------------------------


def test_bert_s_shares_of_what_is_shown() -> None:
    """80 % [MASK], 10 % random, 10 % kept; random ones evenly from the whole vocabulary."""
    vocab_size, true = 60, 55
    ids = np.full([200, 64], true)
    draws = [
        _mask(
            _batch(ids, np.ones_like(ids)),
            step,
            mask_prob=0.3,
            slots=22,
            shown=ReplacementRates(keep=0.1, random=0.1, vocab_size=vocab_size),
        )
        for step in range(10)
    ]
    at_masked = np.concatenate([found.input_ids.numpy()[_is_masked(found)] for found in draws])
    counts = np.bincount(at_masked, minlength=vocab_size)
    expected = np.full(vocab_size, 0.1 / vocab_size)
    expected[true] += 0.1
    expected[SPECIAL.mask] += 0.8
    assert len(at_masked) > 30_000
    assert stats.chisquare(counts, expected * len(at_masked)).pvalue > 1e-4
    everywhere = np.concatenate([found.input_ids.numpy()[~_is_masked(found)] for found in draws])
    assert np.all(everywhere == true)


@pytest.mark.parametrize(("keep", "allowed"), [(0.0, {SPECIAL.mask}), (1.0, {9})])
def test_all_kept_or_none(keep: float, allowed: set[int]) -> None:
    found = _mask(_two_segments([1] * 40), 0, slots=12, shown=ReplacementRates(keep=keep))
    assert set(found.input_ids.numpy()[_is_masked(found)]) == allowed


def test_the_largest_of_a_row_so_far() -> None:
    rows = np.random.default_rng(0).integers(0, 9, [4, 13])
    rows[0] = [5, *[0] * 12]
    found = mask_tensors._running_max(tf.constant(rows))
    assert np.array_equal(found, np.maximum.accumulate(rows, axis=1))
