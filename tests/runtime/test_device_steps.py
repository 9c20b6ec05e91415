"""One step lowered and run by JAX gives the numbers of TensorFlow's, on any number of devices."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from electra_zh.errors import UserError
from electra_zh.pretraining.config import PretrainConfig, resolve
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.programs.lower import lower_step
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.runtime import device
from electra_zh.runtime.device_steps import DeviceSteps
from electra_zh.runtime.program import check_split
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


def _device_steps(state: TrainState, devices: int, **changes: str) -> DeviceSteps:
    on = device.choose("pjrt:cpu", most=devices)
    batches = _batches(state.objective.config)
    return DeviceSteps(lower_step(state), state.variables, batches, device=on, **changes)


def _values(state: TrainState) -> dict[str, np.ndarray]:
    return {variable.name: variable.numpy() for variable in state.variables}


def _check_step(changes: dict[str, str], devices: int, **placement: str) -> DeviceSteps:
    """Compares a step on devices with TensorFlow's."""
    config = _config(**changes)
    ours, theirs = (TrainState(config, loss_curve.VOCABULARY) for _ in range(2))
    expected = loop.make_inner_loop(PretrainStep(ours).compiled(), _batches(config))(1)
    on_devices = _device_steps(theirs, devices, **placement)
    sums = StepSums.of_values(on_devices(1))
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


WEIGHTS = 51  # of the networks, as the optimizer has them
DROPOUT = {"hidden_dropout_prob": "0.1", "attention_probs_dropout_prob": "0.1"}


@pytest.fixture(scope="module")
def on_four_devices() -> DeviceSteps:
    """Returns the steps on four devices, after one that was compared with TensorFlow's."""
    return _check_step(DROPOUT, 4)


def test_a_step_on_four_devices_is_that_of_tensorflow(on_four_devices: DeviceSteps) -> None:
    assert on_four_devices is not None


def test_devices_exchange_sums_alone(on_four_devices: DeviceSteps) -> None:
    """Gradients, counts and the norm are added up; no device needs rows of another."""
    found = re.findall(COLLECTIVES, on_four_devices.compiled.as_text())
    assert set(found) == {"all-reduce"}
    assert len(found) <= 4


def _curve_on_a_device() -> dict[str, list[float]]:
    state, batches = loss_curve.make_state()
    on = device.choose("pjrt:cpu", most=1)
    steps = DeviceSteps(lower_step(state), state.variables, batches, device=on)
    return loss_curve.curve_of(lambda count: StepSums.of_values(steps(count)))


@pytest.mark.slow
def test_the_curve_on_devices_is_the_frozen_one_and_repeats_bit_for_bit() -> None:
    curve = _curve_on_a_device()
    assert _curve_on_a_device() == curve
    frozen = json.loads(loss_curve.FILE.read_text(encoding="utf-8"))
    for name, values in curve.items():
        np.testing.assert_allclose(values, frozen[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", ["lamb", "muon"])
def test_a_step_of_other_optimizers_is_that_of_tensorflow(optimizer: str) -> None:
    _check_step({"objective": "masked_lm", "optimizer": optimizer}, 1)


def test_weights_gradients_are_float32_products_of_bfloat16() -> None:
    config = _config(precision="bfloat16")
    state = TrainState(config, loss_curve.VOCABULARY)
    program = lower_step(state)
    module = jax.export.deserialize(bytearray(program.exported)).mlir_module()
    sums_over_rows = r"contracting_dims = \[0\] x \[0\]"
    types = r": \(tensor<\w+xbf16>, tensor<\w+xbf16>\) -> tensor<\w+x(\w+)>"
    products = (line for line in module.splitlines() if "batching_dims" not in line)
    found = [re.search(f"{sums_over_rows}.*{types}", line) for line in products]
    gradients = [match[1] for match in found if match]
    assert len(gradients) >= 10
    assert set(gradients) == {"f32"}


def _check_exchanges(steps: DeviceSteps, weights: int) -> None:
    """Checks that devices exchange sums, and each weight once: no activation is moved."""
    found = Counter(re.findall(COLLECTIVES, steps.compiled.as_text()))
    assert set(found) <= {"all-reduce", "reduce-scatter", "all-gather"}
    assert found["all-reduce"] + found["reduce-scatter"] <= 4
    assert 0 < found["all-gather"] <= weights


@pytest.mark.slow
def test_devices_split_the_state(on_four_devices: DeviceSteps) -> None:
    """The same numbers, with a fraction of the memory of each device."""
    split = _check_step(DROPOUT, 4, state_sharding="all")
    _check_exchanges(split, WEIGHTS)
    ours, theirs = (each.compiled.memory_analysis() for each in (split, on_four_devices))
    assert ours.argument_size_in_bytes < 0.4 * theirs.argument_size_in_bytes


@pytest.mark.slow
def test_recomputed_layers_take_less_memory(on_four_devices: DeviceSteps) -> None:
    """The compiler does not undo the recomputation."""
    again = _check_step({**DROPOUT, "recompute": "layers"}, 4)
    ours, theirs = (each.compiled.as_text().count(" dot(") for each in (again, on_four_devices))
    assert ours > theirs


@pytest.mark.slow
def test_parts_of_a_batch_on_devices_are_the_step_of_tensorflow() -> None:
    changes = {**DROPOUT, "gradient_accumulation_steps": "2", "state_sharding": "optimizer"}
    _check_exchanges(_check_step(changes, 4, state_sharding="optimizer"), WEIGHTS)


@pytest.mark.slow
def test_devices_that_split_the_state_multiply_its_matrices() -> None:
    """Muon's products have the whole of each matrix."""
    changes = {"objective": "masked_lm", "optimizer": "muon"}
    for what in ("optimizer", "all"):
        _check_step(changes, 4, state_sharding=what)


def test_a_batch_must_be_split_evenly() -> None:
    with pytest.raises(UserError, match="train_batch_size 6 cannot be split evenly over 4 devices"):
        check_split(6, 4, 1)
    with pytest.raises(UserError, match="gradient_accumulation_steps=2 parts"):
        check_split(12, 4, 2)
