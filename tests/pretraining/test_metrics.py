"""Metrics by hand, against TensorFlow's own AUC, and over several batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.pretraining import metrics
from electra_zh.pretraining.mask_tensors import MaskedBatch
from electra_zh.pretraining.objectives.base import (
    DiscriminatorOutput,
    MaskedLmOutput,
    PretrainOutput,
)

# Two sequences of five tokens; the second has two tokens of padding.
MASK = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
REPLACED = [[0, 1, 0, 1, 0], [0, 1, 0, 0, 0]]
LOGITS = [[-2.0, 1.0, 0.5, -1.0, -3.0], [-1.0, 2.0, -0.5, 9.0, 9.0]]


def _output(
    *,
    logits: list[list[float]] = LOGITS,
    replaced: list[list[int]] = REPLACED,
    mask: list[list[int]] = MASK,
    with_discriminator: bool = True,
) -> PretrainOutput:
    weights = tf.constant([[1.0, 1.0], [1.0, 0.0]])
    ids = tf.constant([[3, 1], [2, 0]])
    # The likeliest tokens are 3, 0, 2, 0: two of three are right, the last slot is unused.
    mlm_logits = tf.one_hot([3, 0, 2, 0], 4)
    losses = tf.constant([[0.5, 2.0], [1.0, 77.0]])
    masked = MaskedBatch(tf.zeros([2, 5], tf.int32), tf.zeros([2, 2], tf.int32), ids, weights)
    mlm = MaskedLmOutput(tf.constant(3.5 / 3), losses, mlm_logits, masked)
    if not with_discriminator:
        return PretrainOutput(mlm.loss, mlm, None)
    real, labels = tf.constant(mask, tf.float32), tf.constant(replaced)
    losses = real * tf.nn.sigmoid_cross_entropy_with_logits(
        tf.cast(labels, tf.float32), tf.constant(logits)
    )
    disc = DiscriminatorOutput(
        loss=tf.reduce_sum(losses) / tf.reduce_sum(real),
        losses=losses,
        logits=tf.constant(logits),
        input_ids=tf.zeros([2, 5], tf.int32),
        is_replaced=labels,
        # Right at one of three used slots.
        sampled_ids=tf.constant([[0, 1], [1, 0]]),
        counted=real,
    )
    return PretrainOutput(mlm.loss + 50.0 * disc.loss, mlm, disc)


def _evaluate(output: PretrainOutput, mask: list[list[int]] = MASK) -> dict[str, float]:
    return metrics.evaluation_results(metrics.evaluation_sums(output, tf.constant(mask)))


def test_by_hand() -> None:
    output = _output()
    found = _evaluate(output)
    assert output.disc is not None

    def loss(logit: float, label: int) -> float:
        return math.log(1.0 + math.exp(-logit if label else logit))

    per_example = [
        np.mean([loss(*pair) for pair in zip(LOGITS[0], REPLACED[0], strict=True)]),
        np.mean([loss(*pair) for pair in zip(LOGITS[1][:3], REPLACED[1][:3], strict=True)]),
    ]
    expected = {
        "loss": float(output.loss),
        "masked_lm_accuracy": 2 / 3,
        "masked_lm_loss": 3.5 / 3,
        "sampled_masked_lm_accuracy": 1 / 3,
        # The mean over examples, not over tokens.
        "disc_loss": np.mean(per_example),
        # Wrong: one original taken to be replaced, one replaced not found; padding not counted.
        "disc_accuracy": 6 / 8,
        "disc_precision": 2 / 3,
        "disc_recall": 2 / 3,
        # Of 3 * 5 pairs of a replaced and an original token, the one of logit -1 is above two
        # originals and level with one.
        "disc_auc_real": (5 + 5 + 2.5) / 15,
        # And above the two of padding; the others are above all.
        "disc_auc": (7 + 7 + 4.5) / 21,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_a_replaced_mark_at_padding_does_not_count() -> None:
    marked = [REPLACED[0], [0, 1, 0, 1, 1]]
    plain, found = _evaluate(_output()), _evaluate(_output(replaced=marked))
    for name in plain:
        assert found[name] == pytest.approx(plain[name]), name


def test_two_batches_are_one_of_both() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=[2, 2, 5]).tolist()
    replaced = generator.integers(0, 2, [2, 2, 5]).tolist()
    parts = [
        _output(logits=one, replaced=marks) for one, marks in zip(logits, replaced, strict=True)
    ]
    sums = [metrics.evaluation_sums(part, tf.constant(MASK)) for part in parts]
    total = metrics.evaluation_results(tf.nest.map_structure(tf.add, *sums))
    both = tf.nest.map_structure(
        lambda one, other: (one + other) / 2 if one.shape.rank == 0 else tf.concat([one, other], 0),
        *(part._replace(clm_loss=tf.zeros([])) for part in parts),
    )
    together = _evaluate(both, MASK * 2)
    assert total.keys() == together.keys()
    for name, value in together.items():
        assert total[name] == pytest.approx(value, rel=1e-6), name
    zero = tf.nest.map_structure(tf.add, metrics.zeros(metrics.EvaluationSums), sums[0])
    assert metrics.evaluation_results(zero) == metrics.evaluation_results(sums[0])


def test_without_discriminator() -> None:
    found = _evaluate(_output(with_discriminator=False))
    assert found.keys() == {"loss", "masked_lm_accuracy", "masked_lm_loss"}
    assert found["masked_lm_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("logit", [-5.0, 5.0, 0.0])
@pytest.mark.parametrize("label", [0, 1])
def test_nothing_predicted_or_replaced_is_no_nan(logit: float, label: int) -> None:
    output = _output(logits=[[logit] * 5] * 2, replaced=[[label] * 5] * 2)
    found = _evaluate(output)
    assert all(math.isfinite(value) for value in found.values())
    # A logit of 0 predicts an original token.
    predicted = logit > 0
    assert found["disc_recall"] == float(predicted and label)
    assert found["disc_precision"] == float(predicted and label)
    assert found["disc_accuracy"] == float(predicted == bool(label))


def test_no_batch_is_no_nan() -> None:
    found = metrics.evaluation_results(metrics.zeros(metrics.EvaluationSums))
    assert all(math.isfinite(value) for value in found.values())
    found = metrics.training_results(metrics.zeros(metrics.TrainingSums))
    assert all(math.isfinite(value) for value in found.values())


# --- AUC -------------------------------------------------------------------------------------


def _reference_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        value, update = tf.compat.v1.metrics.auc(
            labels.astype(bool), probabilities.astype(np.float32), num_thresholds=200
        )
        session.run(tf.compat.v1.local_variables_initializer())
        session.run(update)
        return float(session.run(value))


def _exact_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs in the right order, ties counted half."""
    replaced, original = scores[labels == 1], scores[labels == 0]
    above = replaced[:, None] > original[None, :]
    level = replaced[:, None] == original[None, :]
    return float(np.mean(above + 0.5 * level))


@pytest.mark.parametrize("kind", ["spread", "narrow", "saturated", "rare"])
def test_auc_is_tensorflow_s(kind: str) -> None:
    generator = np.random.default_rng(1)
    shape, share = [64, 128], 0.002 if kind == "rare" else 0.12
    labels = (generator.random(shape) < share).astype(np.int32)
    mask = (np.arange(128) < generator.integers(20, 129, [64, 1])).astype(np.int32)
    labels *= mask
    spread = {"spread": 2.0, "narrow": 0.02, "saturated": 40.0, "rare": 1.0}[kind]
    logits = spread * (generator.normal(size=shape) + labels).astype(np.float32)
    base = _output()
    assert base.disc is not None
    disc = base.disc._replace(
        logits=tf.constant(logits),
        is_replaced=tf.constant(labels),
        losses=tf.zeros(shape),
        counted=tf.constant(mask, tf.float32),
    )
    sums = metrics.evaluation_sums(base._replace(disc=disc), tf.constant(mask))
    found = metrics.evaluation_results(sums)
    probabilities = tf.sigmoid(logits).numpy()
    # The reference's: probability and label times mask.
    expected = _reference_auc((probabilities * mask).ravel(), (labels * mask).ravel())
    assert found["disc_auc"] == pytest.approx(expected, abs=2e-5)
    real = mask == 1
    expected = _reference_auc(probabilities[real], labels[real])
    assert found["disc_auc_real"] == pytest.approx(expected, abs=2e-5)
    if kind in ("spread", "rare"):
        exact = _exact_auc(probabilities[real], labels[real])
        assert found["disc_auc_real"] == pytest.approx(exact, abs=0.005)
    assert found["disc_auc"] > found["disc_auc_real"] - 1e-6


def test_auc_of_histograms_by_hand() -> None:
    positives, negatives = np.zeros(201), np.zeros(201)
    positives[[50, 150]] = 1.0
    negatives[[20, 100]] = 1.0
    # Of four pairs three are in order.
    assert metrics.auc(positives, negatives) == pytest.approx(0.75, abs=1e-5)
    assert metrics.auc(negatives, positives) == pytest.approx(0.25, abs=1e-5)
    assert metrics.auc(positives, positives) == pytest.approx(0.5, abs=1e-5)


# --- Training --------------------------------------------------------------------------------


def test_training_results_are_means_over_steps() -> None:
    logits = [[[1.0] * 5] * 2, [[-1.0] * 5] * 2]
    outputs = [_output(logits=one) for one in logits]
    sums = metrics.zeros(metrics.TrainingSums)
    for output in outputs:
        sums = tf.nest.map_structure(tf.add, sums, metrics.training_sums(output))
    assert float(sums.steps) == 2.0
    found = metrics.training_results(sums)
    assert found["loss"] == pytest.approx(np.mean([float(output.loss) for output in outputs]))
    assert found["gen_loss"] == pytest.approx(3.5 / 3)
    losses = [float(output.disc.loss) for output in outputs if output.disc is not None]
    assert found["disc_loss"] == pytest.approx(np.mean(losses))
    # The eight real positions of the first step.
    assert found["disc_predicted_replaced"] == 8.0
    assert found["disc_auc_real"] == pytest.approx(0.5, abs=1e-5)


def test_training_results_without_discriminator() -> None:
    sums = metrics.training_sums(_output(with_discriminator=False))
    found = metrics.training_results(sums)
    assert found == {"loss": pytest.approx(3.5 / 3), "gen_loss": pytest.approx(3.5 / 3)}
