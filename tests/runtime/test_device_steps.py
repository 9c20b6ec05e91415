"""One step lowered and run by JAX gives the numbers of TensorFlow's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from electra_zh.data import records
from electra_zh.pretraining.config import resolve
from electra_zh.pretraining.run import PretrainStep
from electra_zh.pretraining.state import TrainState
from electra_zh.runtime import device
from electra_zh.runtime.device_steps import DeviceSteps
from electra_zh.training import loop
from support import loss_curve


def _values(state: TrainState) -> dict[str, np.ndarray]:
    return {variable.name: variable.numpy() for variable in state.variables}


@pytest.mark.parametrize("changes", [{}, {"objective": "masked_lm", "optimizer": "lamb"}])
def test_a_step_on_a_device_is_that_of_tensorflow(changes: dict[str, str]) -> None:
    config = resolve(
        "nano",
        {**loss_curve.OVERRIDES, "num_hidden_layers": 1, **changes},
        vocab_size=loss_curve.VOCABULARY.size,
    ).settings
    shape = (config.train_batch_size, config.max_seq_length)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        return loss_curve.make_batches(*shape)

    ours, theirs = (TrainState(config, loss_curve.VOCABULARY) for _ in range(2))
    expected = loop.make_inner_loop(PretrainStep(ours), batches())(1)
    on_device = DeviceSteps(
        PretrainStep(theirs),
        theirs.variables,
        batches(),
        shapes=dict.fromkeys(records.FEATURES, shape),
        device=device.choose("pjrt:cpu", most=1),
        full_precision=True,
    )
    sums = on_device(1)
    np.testing.assert_allclose(sums.objective.loss, expected.objective.loss, rtol=1e-5)
    np.testing.assert_allclose(sums.gradient_norm, expected.gradient_norm, rtol=1e-4)
    before = _values(theirs)
    on_device.sync()
    after, wanted = _values(theirs), _values(ours)
    assert int(theirs.optimizer.step) == 1
    assert any(np.any(after[name] != before[name]) for name in after)
    for name, value in wanted.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)
