"""Learning rates, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from electra_zh.training.schedules import SCHEDULES, layerwise_factors, learning_rate
from support.networks import tiny


def _rate(step: int, *, warmup: int = 10, power: float = 1.0, peak: float = 0.5) -> float:
    rate = learning_rate(
        tf.constant(step, tf.int64),
        peak,
        num_train_steps=100,
        num_warmup_steps=warmup,
        power=power,
    )
    assert rate.dtype == tf.float32
    without_tensorflow = learning_rate(
        step, peak, num_train_steps=100, num_warmup_steps=warmup, power=power
    )
    assert float(without_tensorflow) == pytest.approx(float(rate), rel=1e-6)
    return float(rate)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, 0.5 * 0.99 * 0.1),  # warm-up multiplies the decay
        (5, 0.5 * 0.95 * 0.5),
        (10, 0.5 * 0.90),
        (11, 0.5 * 0.89),
        (50, 0.5 * 0.50),
        (99, 0.5 * 0.01),
        (100, 0.0),
        (250, 0.0),
    ],
)
def test_warmup_times_decay(step: int, expected: float) -> None:
    assert _rate(step) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_no_warmup() -> None:
    assert _rate(1, warmup=0) == pytest.approx(0.5 * 0.99)
    assert _rate(100, warmup=0) == 0.0


def test_power() -> None:
    assert _rate(50, power=2.0) == pytest.approx(0.5 * 0.25)
    assert _rate(40, power=0.5, warmup=80) == pytest.approx(0.5 * 0.6**0.5 * 0.5)


def test_the_first_rate_is_not_zero_and_the_last_one_is() -> None:
    rates = [_rate(step) for step in range(1, 101)]
    assert all(rate > 0 for rate in rates[:-1])
    assert rates[-1] == 0.0


def test_the_reference_s_rate_of_step_101() -> None:
    rate = learning_rate(tf.constant(101), 2e-3, num_train_steps=1000, num_warmup_steps=200)
    assert float(rate) == pytest.approx(2e-3 * 0.899 * 0.505, rel=1e-6)


def test_steps_beyond_float32_integers() -> None:
    rate = learning_rate(
        tf.constant(2**25 + 1, tf.int64), 1.0, num_train_steps=2**26, num_warmup_steps=0
    )
    assert float(rate) == pytest.approx(0.5, rel=1e-6)


def test_a_constant_rate_has_the_warm_up_alone() -> None:
    settings: dict[str, Any] = {
        "num_train_steps": 100,
        "num_warmup_steps": 10,
        "schedule": "constant",
    }
    rates = [float(learning_rate(tf.constant(step), 2.0, **settings)) for step in (1, 10, 50, 100)]
    assert rates == pytest.approx([0.2, 2.0, 2.0, 2.0])
    settings["num_warmup_steps"] = 0
    assert float(learning_rate(tf.constant(7), 2.0, **settings)) == 2.0


def test_an_entry_adds_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "half", lambda left, decay: 0.5)
    config = tiny(objective="masked_lm", lr_schedule="half")
    rate = learning_rate(
        tf.constant(50), 1.0, num_train_steps=9, num_warmup_steps=0, schedule=config.lr_schedule
    )
    assert float(rate) == 0.5


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        # At the start, a half, three quarters, nine tenths, and the end, by hand.
        ("cosine", [1.0, 0.5, 0.5 - 0.5**1.5, 0.02447174, 0.0]),
        ("wsd", [1.0, 1.0, 1.0, 0.5, 0.0]),
    ],
)
def test_other_decays(schedule: str, rates: list[float]) -> None:
    found = [
        float(
            learning_rate(
                tf.constant(step),
                1.0,
                num_train_steps=1000,
                num_warmup_steps=0,
                schedule=schedule,
                fraction=0.2,
            )
        )
        for step in (0, 500, 750, 900, 1000)
    ]
    assert found == pytest.approx(rates, abs=1e-6)


def test_a_decay_in_the_last_steps_has_a_power() -> None:
    rate = learning_rate(
        tf.constant(900),
        2.0,
        num_train_steps=1000,
        num_warmup_steps=0,
        schedule="wsd",
        power=2.0,
        fraction=0.2,
    )
    assert float(rate) == pytest.approx(2.0 * 0.25)


def test_defaults() -> None:
    names = ["encoder/layers/1/output/kernel", "encoder/embeddings/word_embeddings", "head/kernel"]
    factors = layerwise_factors(names, num_hidden_layers=2, decay=0.5)
    assert factors == [0.25, 0.0625, 1.0]
    step = tf.constant(95, tf.int64)
    rate = learning_rate(step, 1.0, num_train_steps=100, num_warmup_steps=0, schedule="wsd")
    assert float(rate) == pytest.approx(0.5, rel=1e-5)
