"""Steps with NaN or infinite gradients change nothing, are counted, and end a run after a few."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh import progress
from electra_zh.data import records
from electra_zh.errors import UserError
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.health import numerics
from electra_zh.pretraining.health.skipped import SkippedSteps
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.programs.lower import lower_step
from electra_zh.pretraining.running.reporter import Reporter
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.runtime import device
from electra_zh.runtime.device_steps import DeviceSteps
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training import loop
from electra_zh.training.logs import MetricsLog
from electra_zh.training.optimizers import optimizer_class, optimizer_names
from support.networks import VOCAB_SIZE, make_batch, tiny

VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *map(chr, range(0x4E00, 0x4E00 + VOCAB_SIZE - 5))])
# The discriminator's embedding of this token is infinite, and the generator never draws it: a batch
# with it has no finite gradients.
BAD_TOKEN = VOCAB_SIZE - 1


def _config(**changes: object) -> PretrainConfig:
    return tiny(untied_generator_embeddings=True, **changes)


def _state(config: PretrainConfig) -> TrainState:
    state = TrainState(config, VOCABULARY)
    found = {value.name: value for value in state.objective.variables}
    for name, wrong in (
        ("encoder/embeddings/word_embeddings:0", np.inf),
        ("masked_lm_head/output_bias:0", -1e9),
    ):
        values = found[name].numpy()
        values[BAD_TOKEN] = wrong
        found[name].assign(values)
    return state


def _batches(*bad: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of which those of the numbers `bad` have the token."""
    for number in itertools.count():
        batch = {name: value.numpy() for name, value in make_batch(seed=number).items()}
        batch["input_ids"][batch["input_ids"] == BAD_TOKEN] = 7
        if number in bad:
            batch["input_ids"][0, 1:5] = BAD_TOKEN
        yield {name: batch[name] for name in records.FEATURES}


def _values(state: TrainState) -> dict[str, np.ndarray]:
    return {value.name: value.numpy() for value in state.variables if "step" not in value.name}


@pytest.mark.parametrize("name", optimizer_names())
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
def test_an_update_without_finite_gradients_changes_nothing(name: str, wrong: float) -> None:
    kernel = tf.Variable([[1.0, -2.0]], name="encoder/layers/0/output/kernel")
    variables = [kernel, tf.Variable([0.5], name="bias")]
    optimizer = optimizer_class(name)(variables, lambda step: tf.constant(0.1))
    optimizer.apply([tf.constant([[1.0, 2.0]]), tf.constant([3.0])])
    state = [*variables, *optimizer.state_tensors().values()]
    before = [value.numpy() for value in state]
    norm = optimizer.apply([tf.constant([[1.0, wrong]]), tf.constant([3.0])])
    assert not np.isfinite(norm)
    assert int(optimizer.step) == 2
    for old, new in zip(before, state, strict=True):
        np.testing.assert_array_equal(old, new)


def _inner(kind: str, state: TrainState, batches: Iterator[dict[str, np.ndarray]]) -> object:
    if kind == "tensorflow":
        return loop.make_inner_loop(PretrainStep(state).compiled(), batches)
    on = device.choose("pjrt:cpu", most=1)
    return DeviceSteps(lower_step(state), state.variables, batches, device=on)


def _run(steps: object, count: int) -> StepSums:
    sums = steps(count)  # type: ignore[operator]
    return StepSums.of_values(sums) if isinstance(sums, list) else sums


@pytest.mark.parametrize("kind", ["tensorflow", "jax"])
def test_a_skipped_step_is_counted_and_its_draws_are_used_up(kind: str) -> None:
    state = _state(_config())
    steps = _inner(kind, state, _batches(1, 3))
    first = _run(steps, 1)
    if isinstance(steps, DeviceSteps):
        steps.sync()
    before = _values(state)
    second = _run(steps, 1)
    if isinstance(steps, DeviceSteps):
        steps.sync()
    assert (first.skipped, second.skipped) == (0, 1)
    assert int(state.optimizer.step) == 2
    for name, value in _values(state).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    both = _run(steps, 2)
    counts = dict(zip(metrics.NUMBERS, both.not_finite, strict=True))
    assert counts == {"gradients": 1, "gen_loss": 0, "disc_loss": 1, "clm_loss": 0}
    assert float(both.objective.steps) == 1
    assert np.isfinite(both.objective.loss)


def _sums(*, steps: int, skipped: int) -> StepSums:
    zeros = metrics.zeros(metrics.TrainingSums)
    objective = zeros._replace(steps=np.float32(steps), loss=np.float32(2.0 * steps))
    counts = np.array([skipped, skipped, 0, 0], np.float32)
    return StepSums(objective, np.float32(steps), counts)


def test_a_run_stops_after_so_many_skipped_steps_in_a_row() -> None:
    guard = SkippedSteps(5)
    guard.check(1, 3, _sums(steps=0, skipped=3))
    guard.check(4, 6, _sums(steps=2, skipped=1))
    guard.check(7, 10, _sums(steps=0, skipped=4))
    with pytest.raises(
        UserError, match=r"step 11: the last 5 steps were skipped.*gen_loss"
    ) as error:
        guard.check(11, 11, _sums(steps=0, skipped=1))
    assert "--debug-numerics" in str(error.value)


def test_a_skipped_step_is_explained_when_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    guard = SkippedSteps(5, lambda step: f"The layer of step {step}")
    with caplog.at_level("WARNING", logger="absl"):
        guard.check(8, 8, _sums(steps=0, skipped=1))
    assert "Skipped step 8" in caplog.text
    assert "The layer of step 8" in caplog.text


def test_metrics_count_skipped_steps_and_average_the_others(tmp_path: Path) -> None:
    log = MetricsLog(str(tmp_path), resume_step=0)
    with progress.silent("pretrain", total=30, unit="step") as bar:
        reporter = Reporter(tiny(log_steps=10), log, bar, None, SkippedSteps(100))
        for index, sums in enumerate([(10, 0), (6, 4), (0, 10)]):
            reporter.add(10 * index + 1, 10 * index + 10, _sums(steps=sums[0], skipped=sums[1]))
            reporter.log(10 * index + 10)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("skipped_steps") for line in lines] == [None, 4, 10]
    assert [line.get("loss") for line in lines] == [2.0, 2.0, None]
    assert [line.get("gradient_norm") for line in lines] == [1.0, 1.0, None]


def _explained(state: TrainState) -> str:
    batch = next(_batches(0))
    return numerics.explain(state.objective, batch, 0)


def test_weights_that_are_not_finite_are_named() -> None:
    assert "word_embeddings" in _explained(_state(_config()))


def test_the_first_layer_with_an_infinite_output_is_named() -> None:
    state = TrainState(_config(), VOCABULARY)
    (kernel,) = [v for v in state.objective.variables if "encoder/layers/1/output/kernel" in v.name]
    kernel.assign(tf.fill(kernel.shape, 3e38))
    assert _explained(state).endswith("not finite: encoder/layers/1")


def test_healthy_steps_are_said_to_be_finite() -> None:
    state = TrainState(_config(), VOCABULARY)
    assert "all numbers are finite" in _explained(state)
