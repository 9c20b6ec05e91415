"""Generators apart: disentangled embeddings, frozen ones, temperature and mask-rate schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.models.weight_names import split_own, variable_name
from electra_zh.pretraining.inference import detect
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import Objective, mask_rate
from electra_zh.pretraining.objectives.electra import Electra
from electra_zh.pretraining.state import TrainState
from electra_zh.report import fakes
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.converting import make_run
from support.networks import SPECIAL, VOCAB_SIZE, make_batch, tiny


def _moved(objective: Objective) -> set[str]:
    """Returns the weights that get a gradient."""
    variables = objective.trainable_variables
    with tf.GradientTape() as tape:
        loss = objective(make_batch(), step=3, training=False).loss
    gradients = zip(variables, tape.gradient(loss, variables), strict=True)
    return {
        variable_name(variable.name)
        for variable, gradient in gradients
        if gradient is not None and np.any(tf.convert_to_tensor(gradient))
    }


def test_disentangled_embeddings_start_as_the_generator_s() -> None:
    objective = build_objective(tiny(gdes=True, generator_hidden_size=0.75), SPECIAL)
    assert objective.generator is not None
    own = objective.generator.embeddings
    # As wide as the discriminator's, whatever the generator's width is.
    assert own.word_embeddings.shape == [VOCAB_SIZE, 8]
    assert np.array_equal(objective.encoder.embeddings.table(), own.word_embeddings)
    assert np.array_equal(objective.encoder.embeddings.positions(5), own.position_embeddings[:5])


@pytest.mark.parametrize("weights", [{"gen_weight": 0.0}, {"disc_weight": 0.0}], ids=str)
def test_each_loss_moves_its_own_embeddings(weights: dict[str, Any]) -> None:
    moved = _moved(build_objective(tiny(gdes=True, **weights), SPECIAL))
    embeddings = {name for name in moved if "word_embeddings" in name}
    expected = "encoder/embeddings/word_embeddings_delta"
    if weights.get("disc_weight") == 0.0:
        expected = "generator/embeddings/word_embeddings"
    assert embeddings == {expected}


def test_a_checkpoint_s_differences_become_embeddings() -> None:
    objective = build_objective(tiny(gdes=True, clm_weight=1.0, rtd_head="dot"), SPECIAL)
    delta = objective.encoder.embeddings.word_embeddings_delta
    delta.assign(tf.random.stateless_normal(delta.shape, [1, 2]))
    tensors = {variable_name(each.name): each.numpy() for each in objective.variables}
    shared, own = split_own(tensors)
    name = "encoder/embeddings/word_embeddings"
    np.testing.assert_array_equal(shared[name], objective.encoder.embeddings.table())
    assert not any(name.endswith("_delta") for name in (*shared, *own))
    # The official head is half of the head that was trained.
    assert {name.partition("/")[0] for name in own} == {"clm_head", "dot_head", "rtd_head"}


def test_a_frozen_generator_is_not_trained() -> None:
    frozen = {"generator_frozen": True, "untied_generator_embeddings": True}
    vocabulary = Vocabulary(
        [*SPECIAL_TOKENS, *(chr(0x4E00 + i) for i in range(VOCAB_SIZE - len(SPECIAL_TOKENS)))]
    )
    state = TrainState(tiny(**frozen), vocabulary)
    names = {variable_name(each.name).partition("/")[0] for each in state.objective.variables}
    assert names == {"encoder", "generator", "masked_lm_head", "rtd_head"}
    assert {name.split("/")[1] for name in state.optimizer.state_tensors()} == {
        "encoder",
        "rtd_head",
    }
    output = state.objective(make_batch(), step=3, training=True)
    assert output.disc is not None
    assert float(output.loss) == pytest.approx(50.0 * float(output.disc.loss), rel=1e-6)
    # It draws as it is in use, without dropout.
    used = state.objective(make_batch(), step=3, training=False)
    assert np.array_equal(output.mlm.logits, used.mlm.logits)


def test_the_generator_s_rate_is_its_own() -> None:
    vocabulary = Vocabulary(
        [*SPECIAL_TOKENS, *(chr(0x4E00 + i) for i in range(VOCAB_SIZE - len(SPECIAL_TOKENS)))]
    )
    config = tiny(learning_rate=1e-3, generator_learning_rate=4e-3, weight_decay_rate=0.5)
    state = TrainState(config, vocabulary)
    before = {each.name: each.numpy() for each in state.objective.variables}
    state.optimizer.apply([None] * len(before))
    rate = 1e-3 * 0.1 * 0.999
    for variable in state.objective.variables:
        if variable.name.endswith("kernel:0"):
            factor = 4 if variable.name.startswith(("generator/", "masked_lm_head/")) else 1
            expected = before[variable.name] * (1 - 0.5 * rate * factor)
            np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_the_temperature_falls_exponentially() -> None:
    config = tiny(temperature=1.0, temperature_start=3.0, temperature_decay=0.1)
    objective = build_objective(config, SPECIAL)
    assert isinstance(objective, Electra)
    found = [float(objective.temperature(step)) for step in (0, 100, 1000, 2**33)]
    expected = [3.0, 1 + 2 * np.exp(-1), 1 + 2 * np.exp(-10), 1.0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert build_objective(tiny(temperature=0.7), SPECIAL).temperature(5) == 0.7


def test_a_temperature_of_a_step_draws_as_a_constant_one() -> None:
    drawn = []
    for changes in ({"temperature": 2.0}, {"temperature": 1.0, "temperature_start": 2.0}):
        output = build_objective(tiny(**changes), SPECIAL)(make_batch(), step=0, training=False)
        assert output.disc is not None
        assert output.disc.sampled_ids is not None
        drawn.append(output.disc.sampled_ids.numpy())
    assert np.array_equal(*drawn)


@pytest.mark.parametrize("masking", ["uniform", "whole_word"])
def test_the_mask_rate_moves_evenly_in_fixed_slots(masking: str) -> None:
    config = tiny(mask_prob=0.4, mask_prob_end=0.2, masking=masking, objective="masked_lm")
    assert float(mask_rate(config, 500)) == pytest.approx(0.3)
    objective, batch = build_objective(config, SPECIAL), make_batch(64)
    tokens = float(tf.reduce_sum(batch["input_mask"]))
    rates = []
    for step in (0, 1000, 2**33):
        masked = objective(batch, step=step, training=False).mlm.masked
        assert masked.ids.shape == [64, config.max_predictions_per_seq]
        rates.append(float(tf.reduce_sum(masked.weights)) / tokens)
    np.testing.assert_allclose(rates, [0.4, 0.2, 0.2], atol=0.04)
    rising = tiny(mask_prob=0.2, mask_prob_end=0.4, masking=masking)
    assert rising.max_predictions_per_seq == config.max_predictions_per_seq


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clm_weight": 1.0, "objective": "joint"}, "clm_weight is for objective=electra; remove"),
        ({"gdes": True, "objective": "electric"}, "gdes is for objective=electra"),
        ({"gdes": True, "untied_generator_embeddings": True}, "gdes shares the embeddings"),
        ({"gdes": True, "uniform_generator": True}, "separate generator network; remove unif"),
        (
            {"generator_frozen": True},
            "embeddings that the discriminator does not train: add untied",
        ),
        ({"temperature_start": 0.5}, "temperature_start 0.5 must not be below temperature 1.0"),
        ({"mask_prob_end": 0.01}, "mask_prob_end 0.01 masks no position of 16: raise it"),
        (
            {"uniform_generator": True, "objective": "electric"},
            "objective=electric draws its noise",
        ),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(**changes)


@pytest.mark.parametrize("own", [False, True], ids=["shared embeddings", "own embeddings"])
def test_a_generator_learns_first_without_the_discriminator(own: bool) -> None:
    config = tiny(discriminator_frozen=True, untied_generator_embeddings=own)
    objective = build_objective(config, SPECIAL)
    trained = {variable_name(each.name) for each in objective.trainable_variables}
    assert trained == _moved(objective)
    parts = {"/".join(name.split("/")[:2]) for name in trained if name.startswith("encoder")}
    assert parts == (set() if own else {"encoder/embeddings"})
    assert objective(make_batch(), step=3, training=True).disc is None


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"discriminator_frozen": True}, "generator"), ({"objective": "masked_lm"}, "masked LM")],
)
def test_a_discriminator_that_was_not_trained_judges_nothing(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    run, _ = make_run(tmp_path / "run", **changes)
    with pytest.raises(UserError, match=f"was trained as a {what} and has no discriminator"):
        list(detect(run, ["天地"]))
    with pytest.raises(UserError, match=f"was trained as a {what} and has no discriminator"):
        fakes.judge(run.folder, ["none"])
    is_random = "discriminator_frozen" in changes
    assert open_source(run.folder).notes == ("its encoder has random weights",) * is_random


@pytest.mark.parametrize(
    "changes",
    [
        {"uniform_generator": True},
        {"untied_generator": False},
        {"generator_frozen": True, "untied_generator_embeddings": True},
    ],
)
def test_a_generator_that_cannot_learn_first_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="discriminator_frozen needs a separate generator network"):
        tiny(discriminator_frozen=True, **changes)
