"""Random numbers: their seeds, with and without XLA, and their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models.random import RandomKey, glorot_uniform, truncated_normal

KEY = RandomKey(7, tf.constant(3, tf.int64))


def test_a_key_determines_its_numbers() -> None:
    numbers = KEY.uniform("a", [1000]).numpy()
    assert np.array_equal(numbers, KEY.uniform("a", [1000]))
    others = [
        KEY.uniform("b", [1000]),
        KEY._replace(seed=8).uniform("a", [1000]),
        KEY._replace(step=tf.constant(4, tf.int64)).uniform("a", [1000]),
        KEY._replace(trial=1).uniform("a", [1000]),
    ]
    for other in others:
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.15
        assert not np.any(numbers == other.numpy()) or np.mean(numbers == other.numpy()) < 0.01
    assert 0.0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1.0


def test_the_seed_words_of_a_key() -> None:
    crc = 3904355907  # crc32 of "a"
    assert RandomKey(7, 3).stateless_seed("a").numpy().tolist() == [7 * 2**32 + crc, 3]
    assert RandomKey(0, 3, 5).stateless_seed("a").numpy().tolist() == [crc, 5 * 2**40 + 3]
    assert RandomKey(2**33 + 1, 0).stateless_seed("a").numpy().tolist() == [2**32 + crc, 0]
    tensors = RandomKey(*(tf.constant(number, tf.int64) for number in (7, 3, 5)))
    expected = RandomKey(7, 3, 5).stateless_seed("a")
    assert np.array_equal(tensors.stateless_seed("a"), expected)


def test_a_key_s_numbers_are_the_same_when_compiled_by_xla() -> None:
    for draw in (lambda: KEY.bits("a", [1001]), lambda: KEY.uniform("a", [1001])):
        assert np.array_equal(draw(), tf.function(draw, jit_compile=True, autograph=False)())


def test_truncated_normal() -> None:
    values = truncated_normal("a", [500, 400], stddev=0.02, seed=1).numpy()
    assert abs(values).max() <= 2 * 0.02
    assert abs(values).max() > 1.99 * 0.02
    assert abs(values.mean()) < 2e-4
    # What is left of a standard deviation of 1 after cutting at 2.
    assert values.std() == pytest.approx(0.8796 * 0.02, rel=0.01)


def test_glorot_uniform() -> None:
    values = glorot_uniform("a", [300, 200], seed=1).numpy()
    limit = (6.0 / 500.0) ** 0.5
    assert 0.999 * limit < abs(values).max() <= limit
    assert abs(values.mean()) < 0.01 * limit
    assert values.std() == pytest.approx(limit / 3**0.5, rel=0.01)


def test_initial_values_depend_on_seed_and_name() -> None:
    def start(name: str, seed: int) -> np.ndarray:
        return truncated_normal(name, [50, 4], stddev=1.0, seed=seed).numpy()

    assert np.array_equal(start("a", 1), start("a", 1))
    assert not np.any(start("a", 1) == start("b", 1))
    assert not np.any(start("a", 1) == start("a", 2))
