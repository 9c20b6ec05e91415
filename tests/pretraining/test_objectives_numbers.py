"""The objectives' numbers: the reference's, and those of bfloat16 and XLA next to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.pretraining.mask_tensors import MaskedBatch
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import PretrainOutput
from electra_zh.pretraining.objectives.electra import Electra
from support.networks import SPECIAL, Golden, load_golden, make_batch, thin_out, tiny

# --- The reference's figures -----------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> tuple[Golden, PretrainOutput, dict[str, np.ndarray]]:
    figures = load_golden()
    output, gradients = figures.compute()
    arrays = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
    return figures, output, dict(zip(figures.variables, arrays, strict=True))


def test_outputs_are_the_reference_s(golden: tuple[Golden, PretrainOutput, dict[str, Any]]) -> None:
    figures, output, _ = golden
    assert output.disc is not None
    real = tf.reduce_sum(tf.cast(figures.tensors("input_mask")[0], tf.float32), -1)
    found = {
        "gen_logits": thin_out(output.mlm.logits.numpy()),
        "mlm_per_position_loss": output.mlm.losses,
        "mlm_loss": output.mlm.loss,
        "disc_logits": output.disc.logits,
        "disc_per_example_loss": tf.reduce_sum(output.disc.losses, -1) / real,
        "disc_loss": output.disc.loss,
        "total_loss": output.loss,
    }
    for name, value in found.items():
        expected = figures.figures[name]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5, err_msg=name)
    predictions = np.argmax(output.mlm.logits, -1)
    assert np.array_equal(predictions, figures.figures["mlm_preds"].ravel())
    assert np.array_equal(output.disc.input_ids, figures.figures["disc_input_ids"])
    assert np.array_equal(output.disc.is_replaced, figures.figures["disc_labels"])


def test_gradients_are_the_reference_s(
    golden: tuple[Golden, PretrainOutput, dict[str, Any]],
) -> None:
    figures, _, gradients = golden
    assert len(gradients) == 80
    for name, gradient in gradients.items():
        expected = figures.figures[f"grad/{name}"]
        np.testing.assert_allclose(thin_out(gradient), expected, rtol=1e-5, atol=2e-6, err_msg=name)
        norm = figures.figures[f"grad_norm/{name}"]
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=1e-5, abs=1e-6), name
    norm = tf.linalg.global_norm(list(gradients.values()))
    assert float(norm) == pytest.approx(figures.figures["grad_global_norm"], rel=1e-5)


# --- Other ways to compute -------------------------------------------------------------------


def _step(
    objective: Electra, number: int | tf.Tensor, **drawn: tf.Tensor | MaskedBatch
) -> tuple[PretrainOutput, list[tf.Tensor]]:
    variables = objective.trainable_variables
    with tf.GradientTape() as tape:
        output = objective(make_batch(), step=number, training=True, **drawn)
    gradients = tape.gradient(output.loss, variables)
    return output, [tf.convert_to_tensor(gradient) for gradient in gradients]


def test_bfloat16_is_close_to_float32() -> None:
    """8 bits of mantissa: logits of about 0.1 to 0.005, losses to 1 %."""
    single = build_objective(tiny(), SPECIAL)
    half = build_objective(tiny(precision="bfloat16"), SPECIAL)
    assert isinstance(single, Electra)
    assert isinstance(half, Electra)
    assert all(variable.dtype == tf.float32 for variable in half.variables)
    exact, exact_gradients = _step(single, 3)
    assert exact.disc is not None
    found, gradients = _step(half, 3, masked=exact.mlm.masked, sampled_ids=exact.disc.sampled_ids)
    assert found.disc is not None
    assert found.mlm.logits.dtype == tf.bfloat16
    for value in (found.loss, found.mlm.losses, found.disc.logits, found.disc.losses):
        assert value.dtype == tf.float32
    np.testing.assert_allclose(found.disc.logits, exact.disc.logits, atol=0.02)
    logits = tf.cast(found.mlm.logits, tf.float32)
    np.testing.assert_allclose(logits, exact.mlm.logits, atol=0.005, rtol=0.05)
    assert float(found.loss) == pytest.approx(float(exact.loss), rel=0.01)
    assert all(gradient.dtype == tf.float32 for gradient in gradients)
    differences = [one - other for one, other in zip(gradients, exact_gradients, strict=True)]
    norm = float(tf.linalg.global_norm(exact_gradients))
    assert float(tf.linalg.global_norm(differences)) < 0.05 * norm


def test_a_step_compiled_by_xla_gives_the_same_numbers() -> None:
    """Masks and samples are equal, dropout is on, losses and gradients agree to 1e-5."""
    objective = build_objective(tiny(model={"num_hidden_layers": 1}, generator_layers=1.0), SPECIAL)
    assert isinstance(objective, Electra)
    number = tf.constant(3, tf.int64)
    compiled = tf.function(lambda step: _step(objective, step), jit_compile=True, autograph=False)
    found, gradients = compiled(number)
    plain, plain_gradients = _step(objective, number)
    assert found.disc is not None
    assert plain.disc is not None
    drawn = [
        [*output.mlm.masked, disc.sampled_ids, disc.input_ids]
        for output, disc in ((found, found.disc), (plain, plain.disc))
    ]
    for one, other in zip(*drawn, strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_allclose(found.loss, plain.loss, rtol=1e-5)
    np.testing.assert_allclose(found.mlm.logits, plain.mlm.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.disc.logits, plain.disc.logits, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
