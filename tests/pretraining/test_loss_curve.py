"""The loss curve of 50 nano steps is the frozen one (scripts/make_golden_loss_curve.py)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support import loss_curve

# Another number of threads, or initial weights changed in their last bit, move no value by more
# than 7e-7; a changed draw or formula moves them by 1e-3 and more. JAX's steps have the same
# tolerance in tests/runtime/test_device_steps.py.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def curve() -> dict[str, list[float]]:
    return loss_curve.compute()


@pytest.mark.parametrize("name", [*loss_curve.CURVES, "gradient_norm"])
def test_curve_is_the_frozen_one(curve: dict[str, list[float]], name: str) -> None:
    frozen = json.loads(loss_curve.FILE.read_text(encoding="utf-8"))[name]
    np.testing.assert_allclose(curve[name], frozen, rtol=TOLERANCE)


def test_the_curve_repeats_bit_for_bit(curve: dict[str, list[float]]) -> None:
    assert loss_curve.compute() == curve


def test_training_learns(curve: dict[str, list[float]]) -> None:
    first, last = np.mean(curve["gen_loss"][:5]), np.mean(curve["gen_loss"][-5:])
    assert last < first - 0.3
