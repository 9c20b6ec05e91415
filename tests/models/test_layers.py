"""The parts of the networks: derivatives by hand against TensorFlow's, dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models import layers
from electra_zh.models.layers import LayerNorm
from electra_zh.models.random import RandomKey

KEY = RandomKey(7, tf.constant(3, tf.int64))
ROWS, WIDTH = 12, 8
RATES = [0.0, 0.25]


def _normal(shape: Sequence[int], *, seed: int, stddev: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, stddev, shape).astype(np.float32)


def _dropped(shape: list[int], rate: float) -> tuple[layers.Dropout | None, tf.Tensor]:
    """A dropout and, as float64, what it multiplies by."""
    dropped = layers.draw_dropout(KEY, "test", rate)
    factors = layers.dropout(tf.ones(shape), dropped)
    return dropped, tf.cast(factors, tf.float64)


def _check(
    ours: Callable[..., tf.Tensor], plain: Callable[..., tf.Tensor], *arguments: np.ndarray
) -> None:
    """Compares values and derivatives, for a random derivative of the result.

    `plain` computes in float64.
    """
    inputs = [tf.constant(argument) for argument in arguments]
    exact = [tf.constant(argument, tf.float64) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = ours(*inputs)
        weights = _normal(found.shape, seed=99)
        total = tf.reduce_sum(found * weights)
    with tf.GradientTape() as exact_tape:
        exact_tape.watch(exact)
        expected = plain(*exact)
        exact_total = tf.reduce_sum(expected * tf.constant(weights, tf.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    pairs = zip(tape.gradient(total, inputs), exact_tape.gradient(exact_total, exact), strict=True)
    for gradient, exact_gradient in pairs:
        np.testing.assert_allclose(gradient, exact_gradient, rtol=2e-5, atol=5e-6)


def _plain_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-12) * gamma + beta


def _norm(path: str = "x/layer_norm") -> LayerNorm:
    return LayerNorm(path, WIDTH, eps=1e-12)


def _with_weights(norm: LayerNorm, function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Puts tensors in the place of the norm's variables, so that they can be differentiated."""

    def call(*arguments: tf.Tensor) -> tf.Tensor:
        norm.gamma, norm.beta = arguments[-2:]
        return function(*arguments[:-2])

    return call


# --- Derivatives -----------------------------------------------------------------------------


def test_gelu() -> None:
    # Far out the error is x times that of erf, 1e-7.
    x = np.concatenate([_normal([400], seed=1, stddev=2.0), [0.0, -6.0, 6.0, -9.0, 9.0]])

    def plain(x: tf.Tensor) -> tf.Tensor:
        return x * 0.5 * (1.0 + tf.math.erf(x / np.sqrt(2.0)))

    _check(layers.gelu, plain, x.astype(np.float32).reshape(-1, 5))


def test_gelu_of_every_bfloat16_number() -> None:
    """The tables give what the formulas give, infinities and NaNs too."""
    x = tf.bitcast(tf.cast(tf.range(2**16), tf.uint16), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = layers.gelu(x)
    slopes = tape.gradient(found, x, tf.fill(x.shape, tf.constant(1.5, tf.bfloat16)))
    x32 = tf.cast(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x32)
        expected = layers.gelu(x32)
    expected_slopes = tape.gradient(expected, x32, tf.fill(x.shape, 1.5))
    for ours, plain in ((found, expected), (slopes, expected_slopes)):
        ours32, plain32 = (tf.cast(tf.cast(y, tf.bfloat16), tf.float32) for y in (ours, plain))
        np.testing.assert_array_equal(ours32, plain32)


def test_layer_norm() -> None:
    x = _normal([ROWS, WIDTH], seed=1, stddev=3.0) + 2.0
    gamma, beta = _normal([WIDTH], seed=2), _normal([WIDTH], seed=3)
    norm = _norm()
    _check(_with_weights(norm, norm), _plain_norm, x, gamma, beta)


@pytest.mark.parametrize("rate", RATES)
def test_layer_norm_of_a_sum(rate: float) -> None:
    x, y = _normal([ROWS, WIDTH], seed=1), _normal([ROWS, WIDTH], seed=2)
    gamma, beta = _normal([WIDTH], seed=3), _normal([WIDTH], seed=4)
    dropped, factors = _dropped([ROWS, WIDTH], rate)
    norm = _norm()

    def plain(x: tf.Tensor, y: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        return _plain_norm(x + y * factors, gamma, beta)

    ours = _with_weights(norm, lambda x, y: norm.add(x, y, dropped))
    _check(ours, plain, x, y, gamma, beta)


@pytest.mark.parametrize("rate", RATES)
def test_attention_probabilities(rate: float) -> None:
    shape = [2, 3, 5, 5]
    scores = _normal(shape, seed=1, stddev=4.0)
    real = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.float32)
    attention_bias = (1.0 - real[:, None, None, :]) * -10000.0
    dropped, factors = _dropped(shape, rate)

    def plain(scores: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(scores * 0.5 + attention_bias.astype(np.float64)) * factors

    def ours(scores: tf.Tensor) -> tf.Tensor:
        return layers.attention_probabilities(scores, tf.constant(attention_bias), 0.5, dropped)

    _check(ours, plain, scores)
    probabilities = ours(tf.constant(scores)).numpy()
    assert not probabilities[1, :, :, 2:].any()


@pytest.mark.parametrize("rate", RATES)
def test_dropout(rate: float) -> None:
    x = _normal([ROWS, WIDTH], seed=1)
    dropped, factors = _dropped([ROWS, WIDTH], rate)
    _check(lambda x: layers.dropout(x, dropped), lambda x: x * factors, x)


def test_dense() -> None:
    x, kernel, bias = _normal([6, 3], seed=1), _normal([3, 4], seed=2), _normal([4], seed=3)
    _check(layers.dense, lambda x, kernel, bias: tf.matmul(x, kernel) + bias, x, kernel, bias)


def test_bfloat16_rounds_the_float32_result() -> None:
    """Everything between the matrix products is computed in float32 and rounded once."""
    x = tf.cast(tf.constant(_normal([ROWS, WIDTH], seed=1, stddev=3.0)), tf.bfloat16)
    x32, norm = tf.cast(x, tf.float32), _norm()
    pairs = [
        (layers.gelu(x), layers.gelu(x32)),
        (norm(x), norm(x32)),
        (norm.add(x, x, None), norm.add(x32, x32, None)),
    ]
    for found, expected in pairs:
        assert found.dtype == tf.bfloat16
        assert np.array_equal(
            tf.cast(found, tf.float32), tf.cast(tf.cast(expected, x.dtype), tf.float32)
        )
    assert norm(x32, dtype=tf.bfloat16).dtype == tf.bfloat16


def test_rounding_to_bfloat16_is_that_of_a_cast() -> None:
    draws = np.random.default_rng(0).integers(0, 2**32, 2**18, np.uint32)
    halves = (np.arange(2**16, dtype=np.uint32) << 16) + 2**15  # between two bfloat16 numbers
    numbers = tf.constant(np.concatenate([draws, halves, halves - 1, halves + 1]).view(np.float32))
    found = layers.fused(lambda x: layers.rounded(x, tf.bfloat16))(numbers)
    expected = tf.cast(numbers, tf.bfloat16)
    is_nan = tf.math.is_nan(numbers).numpy()
    assert is_nan.any()
    assert tf.reduce_all(tf.math.is_nan(found[is_nan]))
    bits, expected_bits = (tf.bitcast(x, tf.uint16).numpy() for x in (found, expected))
    assert np.array_equal(bits[~is_nan], expected_bits[~is_nan])
    assert layers.rounded(numbers, tf.float32).dtype == tf.float32


@pytest.mark.parametrize("width", [1, 7, 8, 24, 31, 78, 96, 256, 312, 509, 769, 3000, 21128])
def test_sums_and_maxima_of_rows(width: int) -> None:
    x = _normal([2, 3, width], seed=width)
    sums, maxima = (layers.fused(each)(x) for each in (layers.row_sums, layers.row_maxima))
    exact = x.astype(np.float64).sum(-1, keepdims=True)
    np.testing.assert_allclose(sums, exact, rtol=1e-5, atol=1e-5 * width**0.5)
    assert np.array_equal(maxima, x.max(-1, keepdims=True))


def test_derivatives_inside_a_graph_are_those_outside() -> None:
    x = tf.constant(_normal([ROWS, WIDTH], seed=1))
    norm = _norm()
    dropped, _ = _dropped([ROWS, WIDTH], 0.25)

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(norm.add(x, layers.gelu(x), dropped) ** 3)
        return tape.gradient(total, [x, norm.gamma, norm.beta])

    for compiled in (False, True):
        inside = tf.function(gradients, autograph=False, jit_compile=compiled)()
        for found, expected in zip(inside, gradients(), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# --- Dropout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_rate_and_scale(rate: float) -> None:
    shape = [701, 301]
    factors = layers.dropout(tf.ones(shape), layers.draw_dropout(KEY, "x", rate)).numpy()
    dropped = np.mean(factors == 0.0)
    # Six standard deviations of a binomial share.
    assert abs(dropped - rate) < 6 * (rate * (1 - rate) / factors.size) ** 0.5
    np.testing.assert_allclose(factors[factors > 0], 1.0 / (1.0 - rate), rtol=1e-6)
    # No row or column is dropped more than another.
    for axis in (0, 1):
        shares = np.mean(factors == 0, axis)
        assert abs(shares - rate).max() < 6 * (rate * (1 - rate) / shape[axis]) ** 0.5


def test_dropout_at_one_place_says_nothing_about_another() -> None:
    """By correlations, of 2^18 pairs each: at any distance, of two steps, of two purposes."""
    size = 2**18

    def draw(stream: str = "x", step: int = 3, seed: int = 7) -> np.ndarray:
        key = RandomKey(seed, tf.constant(step, tf.int64))
        dropped = layers.draw_dropout(key, stream, 0.1)
        return (layers.dropout(tf.ones([size]), dropped).numpy() == 0).astype(float) - 0.1

    plain, bound = draw(), 6 * size**-0.5
    distances = {*range(1, 17), *(2**power + one for power in range(5, 15) for one in (-1, 0, 1))}
    others = [np.roll(plain, distance) for distance in distances]
    others += [draw(step=4), draw(step=3 + 2**32), draw(step=3 + 2**40), draw("y"), draw(seed=8)]
    # A stream that is another's, shifted by a little.
    others += [np.roll(draw(step=4), distance) for distance in range(-8, 9)]
    for other in others:
        assert abs(np.mean(plain * other) / 0.09) < bound


def test_dropout_at_one_place_over_many_steps() -> None:
    """Each of 64 places is dropped at its rate, and pairs of them independently."""

    @tf.function
    def draw(step: tf.Tensor) -> tf.Tensor:
        dropped = layers.draw_dropout(RandomKey(0, step), "x", 0.25)
        return layers.dropout(tf.ones([64]), dropped) == 0

    steps = 2000
    drawn = np.array([draw(tf.constant(step, tf.int64)) for step in range(steps)]) - 0.25
    assert abs(drawn.mean(0)).max() < 5 * (0.25 * 0.75 / steps) ** 0.5
    correlations = (drawn.T @ drawn)[~np.eye(64, dtype=bool)] / (0.25 * 0.75 * steps)
    assert abs(correlations).max() < 6 * steps**-0.5


def test_no_dropout_without_key_or_rate() -> None:
    assert layers.draw_dropout(None, "x", 0.5) is None
    assert layers.draw_dropout(KEY, "x", 0.0) is None
    x = tf.constant([1.0, 2.0])
    assert layers.dropout(x, None) is x


# --- Derivatives of a tensor that is used several times --------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fan_out_adds_the_derivatives_from_the_last(n: int) -> None:
    # Numbers whose float32 sum depends on the order of the additions.
    weights = [tf.fill([4], value) for value in (1e8, 1.0, -1e8, 3.0, 0.25)][:n]
    x = tf.constant(_normal([4], seed=1))

    @tf.function(autograph=False)
    def derivative(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            copies = layers.fan_out(x, n)
            total = tf.add_n([tf.reduce_sum(a * w) for a, w in zip(copies, weights, strict=True)])
        assert all(copy.shape == x.shape for copy in copies)
        return tape.gradient(total, x)

    expected = np.float32(0.0)
    for weight in reversed(weights):
        expected = np.float32(weight[0]) + expected
    assert derivative(x).numpy().tolist() == [float(expected)] * 4


def test_copies_of_fan_out_may_be_unused() -> None:
    x = tf.constant([2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        first, _, last = layers.fan_out(x, 3)
        total = first * 3.0 + last
    assert tape.gradient(total, x).numpy().tolist() == [4.0]


def test_plain_operations_compute_the_same() -> None:
    x = tf.constant(_normal([ROWS, WIDTH], seed=1))
    expected = layers.gelu(x)
    with layers.plain_operations():
        np.testing.assert_allclose(layers.gelu(x), expected, rtol=1e-6, atol=1e-7)
        assert all(copy is not None for copy in layers.fan_out(x, 2))
    assert np.array_equal(layers.gelu(x), expected)
