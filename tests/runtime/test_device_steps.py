"""One step lowered and run by JAX gives the numbers of TensorFlow's, on any number of devices."""

from __future__ import annotations

import re
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from electra_zh.data import records
from electra_zh.pretraining.config import PretrainConfig, resolve
from electra_zh.pretraining.run import PretrainStep
from electra_zh.pretraining.state import TrainState
from electra_zh.runtime import device, lowering
from electra_zh.runtime.device_steps import DeviceSteps
from electra_zh.training import loop
from support import loss_curve

COLLECTIVES = (
    r" (all-reduce|all-gather|all-to-all|collective-\w+|reduce-scatter|ragged-\S+)(?:-start)?\("
)


def _config(**changes: str) -> PretrainConfig:
    overrides = {**loss_curve.OVERRIDES, "num_hidden_layers": 1, **changes}
    return resolve("nano", overrides, vocab_size=loss_curve.VOCABULARY.size).settings


def _shape(config: PretrainConfig) -> tuple[int, int]:
    return config.train_batch_size, config.max_seq_length


def _batches(config: PretrainConfig) -> Iterator[dict[str, np.ndarray]]:
    return loss_curve.make_batches(*_shape(config))


def _device_steps(state: TrainState, devices: int) -> DeviceSteps:
    config = state.objective.config
    return DeviceSteps(
        PretrainStep(state),
        state.variables,
        _batches(config),
        shapes=dict.fromkeys(records.FEATURES, _shape(config)),
        device=device.choose("pjrt:cpu", most=devices),
        full_precision=True,
    )


def _values(state: TrainState) -> dict[str, np.ndarray]:
    return {variable.name: variable.numpy() for variable in state.variables}


def _check_step(changes: dict[str, str], devices: int) -> DeviceSteps:
    """Compares a step on devices with TensorFlow's."""
    config = _config(**changes)
    ours, theirs = (TrainState(config, loss_curve.VOCABULARY) for _ in range(2))
    expected = loop.make_inner_loop(PretrainStep(ours), _batches(config))(1)
    on_devices = _device_steps(theirs, devices)
    sums = on_devices(1)
    np.testing.assert_allclose(sums.objective.loss, expected.objective.loss, rtol=1e-5)
    np.testing.assert_allclose(sums.gradient_norm, expected.gradient_norm, rtol=1e-4)
    before = _values(theirs)
    on_devices.sync()
    after, wanted = _values(theirs), _values(ours)
    assert int(theirs.optimizer.step) == 1
    assert any(np.any(after[name] != before[name]) for name in after)
    for name, value in wanted.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)
    return on_devices


DROPOUT = {"hidden_dropout_prob": "0.1", "attention_probs_dropout_prob": "0.1"}


@pytest.fixture(scope="module")
def on_four_devices() -> DeviceSteps:
    """Returns the steps on four devices, after one that was compared with TensorFlow's."""
    return _check_step(DROPOUT, 4)


def test_a_step_on_four_devices_is_that_of_tensorflow(on_four_devices: DeviceSteps) -> None:
    assert on_four_devices is not None


def test_devices_exchange_sums_alone(on_four_devices: DeviceSteps) -> None:
    """Gradients, counts and the norm are added up; no device needs rows of another."""
    found = re.findall(COLLECTIVES, on_four_devices.compiled_text())
    assert set(found) == {"all-reduce"}
    assert len(found) <= 4


def test_a_step_of_lamb_is_that_of_tensorflow() -> None:
    _check_step({"objective": "masked_lm", "optimizer": "lamb"}, 1)


def test_weights_gradients_are_float32_products_of_bfloat16() -> None:
    config = _config(precision="bfloat16")
    state = TrainState(config, loss_curve.VOCABULARY)
    program = lowering.lower(
        PretrainStep(state).train_step,
        dict.fromkeys(records.FEATURES, _shape(config)),
        state.variables,
        full_precision=False,
    )
    module = jax.export.deserialize(bytearray(program.exported)).mlir_module()
    types = r"\(tensor<(\d+)x(\d+)xbf16>, tensor<(\d+)x(\d+)xbf16>\) -> tensor<(\d+)x(\d+)x(\w+)>"
    products = re.findall(rf"stablehlo.dot_general .* : {types}", module)
    weights = {info.shape for info in program.variables}
    tokens = str(np.prod(_shape(config)))
    gradients = [
        p for p in products if p[0] == p[2] == tokens and tuple(map(int, p[4:6])) in weights
    ]
    assert len(gradients) >= 10
    assert {product[6] for product in gradients} == {"f32"}
