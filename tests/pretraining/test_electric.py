"""Electric: a cloze model that does not see what it predicts, and logits by its probabilities."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.electric import Electric
from support.networks import LENGTH, SPECIAL, VOCAB_SIZE, make_batch, tiny

CONFIG = tiny(objective="electric", generator_layers=1.0)


@pytest.fixture(scope="module")
def objective() -> Electric:
    made = cast(Electric, build_objective(CONFIG, SPECIAL))
    table = made.encoder.embeddings.word_embeddings
    table.assign(table * 20.0)  # untrained probabilities are nearly flat
    return made


def _cloze(objective: Electric, batch: dict[str, tf.Tensor]) -> np.ndarray:
    places = tf.tile(tf.range(LENGTH)[None], [batch["input_ids"].shape[0], 1])
    return np.asarray(objective.generator_logits(batch, places))


def test_no_position_sees_its_own_token(objective: Electric) -> None:
    batch = make_batch()
    plain = _cloze(objective, batch)
    place = 4
    changed = batch["input_ids"].numpy()
    changed[:, place] = (changed[:, place] + 1) % VOCAB_SIZE
    found = _cloze(objective, {**batch, "input_ids": tf.constant(changed)})
    np.testing.assert_allclose(found[:, place], plain[:, place], atol=1e-5)
    for other in (1, place - 1, place + 1):
        assert np.abs(found[:, other] - plain[:, other]).max() > 1e-3


def test_the_logit_is_the_energy_and_the_noise(objective: Electric) -> None:
    batch = make_batch()
    output = objective(batch, step=3, training=False)
    disc, masked = output.disc, output.mlm.masked
    assert disc is not None
    assert disc.sampled_ids is not None
    q = tf.nn.log_softmax(_cloze(objective, batch)).numpy()
    log_q = np.take_along_axis(q, disc.input_ids.numpy()[..., None], -1)[..., 0]
    hidden = objective.encoder(disc.input_ids, batch["input_mask"], batch["segment_ids"])
    energy = tf.reshape(objective.rtd_head(hidden), disc.logits.shape)
    expected = energy + log_q + np.log(0.3 / 0.7)
    np.testing.assert_allclose(disc.logits, expected, rtol=1e-4, atol=1e-4)
    # Every masked position is noise, drawn right or not.
    assert disc.is_replaced.numpy().sum() == masked.weights.numpy().sum()
    real = batch["input_mask"].numpy() > 0
    usable = real & (batch["input_ids"].numpy() >= 5)
    own = np.take_along_axis(q, batch["input_ids"].numpy()[..., None], -1)[..., 0]
    cloze = -own[usable].mean()
    assert float(output.loss) == pytest.approx(cloze + 50 * float(disc.loss), rel=1e-4)


def test_no_gradient_reaches_the_noise_from_the_discriminator() -> None:
    objective = build_objective(tiny(objective="electric", gen_weight=0.0), SPECIAL)
    variables = objective.trainable_variables
    with tf.GradientTape() as tape:
        loss = objective(make_batch(), step=3, training=True).loss
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        if objective.is_generators(variable):
            assert gradient is None or not np.any(gradient), variable.name


def test_replaced_probabilities_are_the_logits(objective: Electric) -> None:
    batch = make_batch()
    nothing = objective(batch, step=0, training=False, sampled_ids=_true_ids(objective, batch)).disc
    assert nothing is not None
    found = objective.replaced_probabilities(batch)
    np.testing.assert_allclose(found, tf.sigmoid(nothing.logits), rtol=1e-4, atol=1e-6)


def _true_ids(objective: Electric, batch: dict[str, tf.Tensor]) -> tf.Tensor:
    return objective(batch, step=0, training=False).mlm.masked.ids
