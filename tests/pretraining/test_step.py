"""A step computed in parts, or with parts of it computed again, is the step of the whole batch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from electra_zh import machine
from electra_zh.errors import UserError
from electra_zh.pretraining.config import PretrainConfig, resolve
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.step import PretrainStep
from electra_zh.training import loop
from support import loss_curve
from support.repeatable import wide_sums

DROPOUT = {"hidden_dropout_prob": "0.1", "attention_probs_dropout_prob": "0.1"}
KINDS: dict[str, dict[str, str]] = {
    "electra": {"clm_weight": "1", "rtd_head": "dot", "untied_generator_embeddings": "false"},
    "joint": {"objective": "joint"},
    "electric": {"objective": "electric"},
}


def _config(changes: dict[str, str]) -> PretrainConfig:
    size = {"hidden_size": "16", "embedding_size": "8", "intermediate_size": "24"}
    small = {**loss_curve.OVERRIDES, **size, **DROPOUT, "train_batch_size": "6"}
    vocab_size = loss_curve.VOCABULARY.size
    return resolve("nano", {**small, **changes}, vocab_size=vocab_size).settings


def _step(changes: dict[str, str]) -> tuple[StepSums, dict[str, np.ndarray]]:
    """Returns the sums of the second step, and the weights after it."""
    config = _config(changes)
    state = TrainState(config, loss_curve.VOCABULARY)
    batches = loss_curve.make_batches(config.train_batch_size, config.max_seq_length)
    steps = loop.make_inner_loop(PretrainStep(state).compiled(), batches)
    steps(1)
    sums = steps(1)
    return sums, {value.name: value.numpy() for value in state.objective.variables}


def test_parts_side_by_side_have_no_sum_of_three_or_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "side_by_side", lambda: 3)
    config = _config(KINDS["electra"])
    batch = next(loss_curve.make_batches(config.train_batch_size, config.max_seq_length))
    step = PretrainStep(TrainState(config, loss_curve.VOCABULARY)).compiled()
    assert wide_sums(step, tf.nest.map_structure(tf.constant, batch)) == []


@functools.cache
def _whole(kind: str) -> tuple[StepSums, dict[str, np.ndarray]]:
    return _step(KINDS[kind])


def _check(kind: str, changes: dict[str, str]) -> None:
    expected, weights = _whole(kind)
    sums, found = _step({**KINDS[kind], **changes})
    for ours, theirs in zip(tf.nest.flatten(sums), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_batch_give_the_step_of_the_whole(kind: str) -> None:
    _check(kind, {"gradient_accumulation_steps": "3"})


@pytest.mark.parametrize("accumulated", ["1", "3"])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_side_by_side_give_the_step_of_the_whole(
    kind: str, accumulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _whole(kind)
    monkeypatch.setattr(machine, "side_by_side", lambda: 2)
    _check(kind, {"gradient_accumulation_steps": accumulated})


@pytest.mark.parametrize("parts", ["attention", "layers"])
def test_recomputation_changes_no_number(parts: str) -> None:
    _check("electra", {"recompute": parts})


@pytest.mark.parametrize("parts", ["attention", "layers"])
def test_recomputation_computes_again(parts: str) -> None:
    def products(recompute: str) -> int:
        config = _config({"recompute": recompute, "objective": "masked_lm"})
        step = PretrainStep(TrainState(config, loss_curve.VOCABULARY))
        batch = next(loss_curve.make_batches(6, config.max_seq_length))
        graph = tf.function(step, autograph=False).get_concrete_function(batch).graph
        return sum("MatMul" in op.type for op in graph.get_operations())

    assert products(parts) > products("none")


def test_a_batch_must_have_even_parts() -> None:
    with pytest.raises(
        UserError, match="6 cannot be split evenly into gradient_accumulation_steps=4"
    ):
        _config({"gradient_accumulation_steps": "4"})
