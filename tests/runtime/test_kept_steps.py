"""Compiled steps of a folder are used where they are for this run, and else not."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from electra_zh.runtime import kept_steps, kernels, lowering
from electra_zh.runtime.placement import Placement


@pytest.fixture(scope="module")
def placement() -> Placement:
    """A step that adds the sum of a batch to a variable."""
    total = tf.Variable(0.0, name="total")

    def step(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        total.assign_add(tf.cast(tf.reduce_sum(batch["ids"]), tf.float32))
        return [total.read_value()]

    program = lowering.lower(step, {"ids": [2, 3]}, [total], full_precision=True)
    return Placement.on(jax.devices("cpu")[:1], program)


def test_a_compiled_step_is_used(placement: Placement, tmp_path: Path) -> None:
    kept_steps.save(str(tmp_path), placement.lowered().compile(), placement)
    found = kept_steps.load(str(tmp_path), placement)
    assert found is not None
    state = placement.put_state({"total": np.zeros(())})
    batch = {
        "ids": jax.device_put(np.ones([placement.program.block, 2, 3], np.int32), placement.batches)
    }
    state, _ = found(state, batch, np.int32(0), np.int32(1))
    assert state["total"] == 6


@pytest.mark.parametrize(
    ("module", "name", "value", "message"),
    [
        (kernels, "version", lambda devices: "0123", "its kernels are not those of this run"),
        (jax, "__version__", "99.1", "it is for version JAX 99.1, jaxlib"),
    ],
)
def test_a_compiled_step_of_others_is_not(
    monkeypatch: pytest.MonkeyPatch,
    placement: Placement,
    tmp_path: Path,
    module: object,
    name: str,
    value: object,
    message: str,
) -> None:
    """Of a build with kernels or with other ones, or of another version of JAX."""
    with monkeypatch.context() as patch:
        patch.setattr(module, name, value)
        kept_steps.save(str(tmp_path), placement.lowered().compile(), placement)
    warnings: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: warnings.append(text % args))
    assert kept_steps.load(str(tmp_path), placement) is None
    (warning,) = warnings
    assert warning.startswith(f"The compiled step in {tmp_path} is not used: {message}")
