"""The masked LM's cross-entropy and the sampler's draws."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models import heads
from electra_zh.models.random import RandomKey

# Three blocks of the sampler, the last of them not full.
SIZE = 300
DRAWS = 2**12
JUST_BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
SETTINGS = [(1.0, False), (0.5, False), (2.0, False), (1.0, True), (0.5, True)]


def _logits(kind: str, *, size: int = SIZE) -> np.ndarray:
    normal = np.random.default_rng(0).normal(0.0, 1.0, size)
    logits = {
        "flat": np.zeros(size),
        "usual": 2.0 * normal,
        "peaked": np.where(np.arange(size) == 200, 30.0, normal),
        "far from 0": 2.0 * normal - 3000.0,
        "first and last": np.where(np.isin(np.arange(size), [0, size - 1]), 0.0, -200.0),
    }
    return logits[kind].astype(np.float32)


def _probabilities(
    logits: np.ndarray, *, temperature: float = 1.0, forbidden: int | None = None
) -> np.ndarray:
    scaled = logits.astype(np.float64) / temperature
    if forbidden is not None:
        scaled[forbidden] = -np.inf
    exponentials = np.exp(scaled - scaled.max())
    return exponentials / exponentials.sum()


def _draw(
    logits: np.ndarray,
    uniform: np.ndarray,
    *,
    true_id: int = 0,
    temperature: float = 1.0,
    disallow_correct: bool = False,
    compiled: bool = False,
) -> np.ndarray:
    """One token for each number, all from the same logits [V]."""
    rows = len(uniform)
    ids = tf.fill([rows], true_id)
    settings = {"temperature": temperature, "disallow_correct": disallow_correct}

    def draw(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        sums = heads.masked_lm_losses(logits, ids, **settings)  # type: ignore[arg-type]
        return heads.sample_tokens(logits, sums, uniform, ids=ids, **settings)  # type: ignore[arg-type]

    tiled = tf.tile(tf.constant(logits)[None, :], [rows, 1])
    if compiled:
        draw = tf.function(draw, jit_compile=True, autograph=False)
    found = draw(tiled, tf.constant(uniform, tf.float32)).numpy()
    assert found.dtype == np.int32
    assert found.min() >= 0
    assert found.max() < len(logits)
    return found


# --- The cross-entropy -----------------------------------------------------------------------


def test_losses_are_the_cross_entropy() -> None:
    generator = np.random.default_rng(1)
    logits = tf.constant(generator.normal(0.0, 4.0, [24, SIZE]), tf.float32)
    ids = tf.constant(generator.integers(0, SIZE, 24), tf.int32)
    weights = tf.constant(generator.normal(size=24), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = heads.masked_lm_losses(logits, ids).losses
        total = tf.reduce_sum(losses * weights)
    with tf.GradientTape() as plain_tape:
        plain_tape.watch(logits)
        plain = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        plain_total = tf.reduce_sum(plain * weights)
    np.testing.assert_allclose(losses, plain, rtol=1e-5, atol=1e-6)
    found, expected = tape.gradient(total, logits), plain_tape.gradient(plain_total, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("temperature", "disallow_correct"), SETTINGS)
def test_sampling_does_not_change_the_losses(temperature: float, disallow_correct: bool) -> None:
    logits = tf.constant(np.stack([_logits("usual"), _logits("peaked"), _logits("far from 0")]))
    ids = tf.constant([3, 200, 299])
    found = heads.masked_lm_losses(
        logits, ids, temperature=temperature, disallow_correct=disallow_correct
    )
    plain = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
    np.testing.assert_allclose(found.losses, plain, rtol=1e-5, atol=1e-6)
    assert found.block_mass.shape == [3, 3]


def test_nothing_of_sampling_carries_a_derivative() -> None:
    logits = tf.constant(_logits("usual")[None, :])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        sums = heads.masked_lm_losses(logits, tf.constant([5]))
        total = tf.reduce_sum(sums.block_mass) + tf.reduce_sum(sums.maximum)
    gradient = tape.gradient(total, logits)
    assert gradient is None or not np.any(gradient)


def test_sigmoid_losses_are_the_binary_cross_entropy() -> None:
    logits = tf.constant([-90.0, -3.0, -0.25, 0.0, 0.5, 4.0, 90.0] * 2)
    labels = tf.constant([0.0] * 7 + [1.0] * 7)
    weights = tf.constant(np.random.default_rng(0).normal(size=14), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        losses = heads.sigmoid_losses(logits, labels)
        plain = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        total, plain_total = tf.reduce_sum(losses * weights), tf.reduce_sum(plain * weights)
    np.testing.assert_allclose(losses, plain, rtol=1e-6, atol=1e-7)
    found, expected = tape.gradient(total, logits), tape.gradient(plain_total, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


# --- The sampler -----------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "disallow_correct"), SETTINGS)
@pytest.mark.parametrize("kind", ["flat", "usual", "peaked", "far from 0", "first and last"])
def test_evenly_spaced_numbers_draw_each_token_by_its_share(
    kind: str, temperature: float, disallow_correct: bool
) -> None:
    """The distribution function is inverted: a token's count is right to the edges' two draws."""
    logits, true_id = _logits(kind), 7
    uniform = (np.arange(DRAWS) + 0.5) / DRAWS
    found = _draw(
        logits,
        uniform,
        true_id=true_id,
        temperature=temperature,
        disallow_correct=disallow_correct,
    )
    forbidden = true_id if disallow_correct else None
    expected = DRAWS * _probabilities(logits, temperature=temperature, forbidden=forbidden)
    counts = np.bincount(found, minlength=SIZE)
    assert abs(counts - expected).max() <= 2.0
    if disallow_correct:
        assert counts[true_id] == 0


@pytest.mark.parametrize(("temperature", "disallow_correct"), SETTINGS)
def test_random_draws_follow_the_softmax(temperature: float, disallow_correct: bool) -> None:
    logits, true_id = _logits("usual"), 7
    settings = {"temperature": temperature, "disallow_correct": disallow_correct}
    counts = np.zeros(SIZE)
    for step in range(4):
        uniform = RandomKey(1, tf.constant(step, tf.int64)).uniform("sampling", [DRAWS]).numpy()
        found = _draw(logits, uniform, true_id=true_id, **settings)  # type: ignore[arg-type]
        counts += np.bincount(found, minlength=SIZE)
    forbidden = true_id if disallow_correct else None
    expected = 4 * DRAWS * _probabilities(logits, temperature=temperature, forbidden=forbidden)
    assert _chi_square_is_usual(counts, expected)


def _chi_square_is_usual(counts: np.ndarray, expected: np.ndarray) -> bool:
    """True if the statistic is within 5 standard deviations; rare cells are merged."""
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 1
    statistic = np.sum((counts[used] - expected[used]) ** 2 / expected[used])
    freedom = used.sum() - 1
    return bool(abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5)


@pytest.mark.parametrize("kind", ["flat", "usual", "peaked", "first and last"])
def test_the_ends_of_the_interval(kind: str) -> None:
    logits = _logits(kind)
    probabilities = _probabilities(logits)
    found = _draw(logits, np.tile([0.0, JUST_BELOW_ONE, 1e-38, 0.5], DRAWS // 4))
    # 0 is the first token that has any probability, however small.
    assert found[0] == found[2] == np.flatnonzero(probabilities > 1e-30)[0]
    assert probabilities[: found[1] + 1].sum() > 1 - 1e-6
    below, above = probabilities[: found[3]].sum(), probabilities[: found[3] + 1].sum()
    assert below - 1e-6 <= 0.5 <= above + 1e-6
    if kind == "first and last":
        assert found[:2].tolist() == [0, SIZE - 1]


@pytest.mark.parametrize("true_id", [0, 127, 128, 256, SIZE - 1])
@pytest.mark.parametrize("gap", [20.0, 80.0, 200.0])
def test_a_disallowed_token_is_never_drawn(true_id: int, gap: float) -> None:
    """Neither where it has nearly all of the probability, nor at the ends of a block."""
    logits = np.where(np.arange(SIZE) == true_id, gap, 0.0).astype(np.float32)
    uniform = (np.arange(DRAWS) + 0.5) / DRAWS
    uniform[[0, -1]] = 0.0, JUST_BELOW_ONE
    counts = np.bincount(
        _draw(logits, uniform, true_id=true_id, disallow_correct=True), minlength=SIZE
    )
    assert counts[true_id] == 0
    expected = DRAWS * _probabilities(logits, forbidden=true_id)
    assert abs(counts - expected).max() <= 3.0


@pytest.mark.parametrize("size", [1, 100, 128, 129])
def test_vocabularies_of_other_sizes(size: int) -> None:
    logits = _logits("usual", size=size)
    found = _draw(logits, (np.arange(1000) + 0.5) / 1000)
    expected = 1000 * _probabilities(logits)
    assert abs(np.bincount(found, minlength=size) - expected).max() <= 2.0


@pytest.mark.parametrize("disallow_correct", [False, True])
def test_inside_a_compiled_step_the_draws_are_the_same(disallow_correct: bool) -> None:
    """But for numbers at the very border between two tokens."""
    logits = _logits("usual", size=5000)
    uniform = np.random.default_rng(3).random(1024, np.float32)
    true_id = int(np.argmax(logits) // 128 * 128)
    plain, compiled = (
        _draw(
            logits,
            uniform,
            true_id=true_id,
            disallow_correct=disallow_correct,
            compiled=compiled,
        )
        for compiled in (False, True)
    )
    assert np.mean(plain != compiled) < 0.005
    assert disallow_correct != np.any(compiled == true_id) or not disallow_correct


def test_bfloat16_logits() -> None:
    logits = _logits("usual")
    rounded = tf.cast(tf.constant(logits), tf.bfloat16)
    ids = tf.fill([DRAWS], 7)
    tiled = tf.tile(rounded[None, :], [DRAWS, 1])
    sums = heads.masked_lm_losses(tiled, ids)
    assert sums.losses.dtype == tf.float32
    uniform = tf.constant((np.arange(DRAWS) + 0.5) / DRAWS, tf.float32)
    found = heads.sample_tokens(tiled, sums, uniform, ids=ids).numpy()
    expected = DRAWS * _probabilities(tf.cast(rounded, tf.float32).numpy())
    assert abs(np.bincount(found, minlength=SIZE) - expected).max() <= 2.0
