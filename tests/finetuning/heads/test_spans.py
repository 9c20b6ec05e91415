"""Heads of span extraction: losses and best spans against NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.finetuning.heads.spans import SpanHead
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.tasks import SpanConfig
from electra_zh.models.layers import Dense
from support.asking import (
    SMALL,
    random_hidden,
)


def log_softmax(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    scores = np.where(allowed, scores.astype(np.float64), -np.inf)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def gelu(x: np.ndarray) -> np.ndarray:
    erf = np.vectorize(math.erf)
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def dense(layer: Dense, x: np.ndarray) -> np.ndarray:
    return x @ layer.kernel.numpy() + layer.bias.numpy()


LOSS_FEATURES = {
    "context_mask": np.array([[0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0]], np.int32),
    "start": np.array([3, 0], np.int32),
    "end": np.array([5, 0], np.int32),
    "answerable": np.array([1.0, 0.0], np.float32),
    "answer_type": np.array([0, 3], np.int32),
}


def make_head(*, answer_types: int = 0, **reading: object) -> tuple[SpanHead, SpanConfig]:
    settings = SpanConfig(max_answer_length=4, n_best=6, **reading)  # type: ignore[arg-type]
    head = SpanHead(SMALL, "heads/reading", settings, answer_types=answer_types, seed=1)
    for variable in head.trainable_variables:  # biases too
        variable.assign(np.random.default_rng(2).normal(size=variable.shape, scale=0.3))
    return head, settings


def expected_losses(
    head: SpanHead, features: Mapping[str, np.ndarray], hidden: Hidden
) -> np.ndarray:
    """The losses in NumPy."""
    x = hidden.sequence.numpy().reshape(2, 8, -1).astype(np.float64)
    allowed = features["context_mask"] > 0
    allowed[:, 0] = True
    pick = np.arange(2)
    if head.reading.joint_prediction:
        start = dense(head.start, x)[..., 0]
        chosen = np.broadcast_to(x[pick, features["start"]][:, None], x.shape)
        inner = gelu(dense(head.end_hidden, np.concatenate([chosen, x], -1)))
        end = dense(head.end, inner)[..., 0]
    else:
        start, end = np.moveaxis(dense(head.output, x), -1, 0)
    start, end = log_softmax(start, allowed), log_softmax(end, allowed)
    losses = -(start[pick, features["start"]] + end[pick, features["end"]]) / 2
    if head.reading.answerability:
        mean = (np.exp(start)[..., None] * x).sum(1)
        inner = gelu(dense(head.unanswerable_hidden, np.concatenate([x[:, 0], mean], -1)))
        logits = dense(head.unanswerable, inner)[:, 0]
        sign = np.where(features["answerable"] > 0, -1.0, 1.0)
        losses += head.reading.answerable_weight * np.log1p(np.exp(-sign * logits))
    if head.verdict is not None:
        scores = dense(head.verdict, x[:, 0])
        losses -= log_softmax(scores, np.ones_like(scores, bool))[pick, features["answer_type"]]
    return losses


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("answerability", [False, True])
@pytest.mark.parametrize("answer_types", [0, 4])
def test_losses_are_those_of_numpy(joint: bool, answerability: bool, answer_types: int) -> None:
    head, _ = make_head(
        answer_types=answer_types, joint_prediction=joint, answerability=answerability
    )
    hidden = random_hidden(2, 8)
    features = {name: tf.constant(value) for name, value in LOSS_FEATURES.items()}
    found = head.losses(hidden, features).numpy()
    copies = {name: value.copy() for name, value in LOSS_FEATURES.items()}
    np.testing.assert_allclose(found, expected_losses(head, copies, hidden), rtol=1e-5)


def test_tokens_outside_the_context_have_no_part_in_the_loss() -> None:
    head, _ = make_head()
    hidden = random_hidden(2, 8)
    features = {name: tf.constant(value) for name, value in LOSS_FEATURES.items()}
    changed = hidden.sequence.numpy()
    changed[[1, 2, 6, 7, 9, 15]] += 5.0
    other = hidden._replace(sequence=tf.constant(changed))
    np.testing.assert_array_equal(head.losses(hidden, features), head.losses(other, features))


def test_every_variable_has_a_gradient_and_the_name_of_its_place() -> None:
    head, _ = make_head(answer_types=4, joint_prediction=True, answerability=True)
    features = {name: tf.constant(value) for name, value in LOSS_FEATURES.items()}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(head.losses(random_hidden(2, 8), features))
    gradients = tape.gradient(loss, head.trainable_variables)
    kernels = [gradient for gradient in gradients if gradient.shape.rank == 2]
    assert len(kernels) == 6
    assert all(np.abs(gradient).max() > 0 for gradient in kernels)
    names = {variable.name.partition(":")[0] for variable in head.trainable_variables}
    layers = ("start", "end_hidden", "end", "unanswerable_hidden", "unanswerable", "verdict")
    assert names == {f"heads/reading/{x}/{part}" for x in layers for part in ("kernel", "bias")}


def test_default_head_is_one_layer_of_two_outputs() -> None:
    head = SpanHead(SMALL, "heads/reading", SpanConfig(), answer_types=0, seed=1)
    shapes = {variable.name.partition(":")[0]: variable.shape for variable in head.variables}
    assert shapes == {"heads/reading/output/kernel": (16, 2), "heads/reading/output/bias": (2,)}


MAX_CONTEXT = {"max_context": np.array([[3, 5], [2, 7]], np.int32)}


def make_outputs(head: SpanHead, hidden: Hidden) -> dict[str, tf.Tensor]:
    features = {"context_mask": LOSS_FEATURES["context_mask"], **MAX_CONTEXT}
    return head.outputs(hidden, {name: tf.constant(value) for name, value in features.items()})


def legal_pairs(row: int, longest: int) -> list[tuple[int, int]]:
    """Starts with the most context in this window, ends in the context."""
    first, end = MAX_CONTEXT["max_context"][row]
    in_context = np.flatnonzero(LOSS_FEATURES["context_mask"][row]).tolist()
    return [(i, j) for i in range(first, end) for j in in_context if i <= j < i + longest]


def test_best_spans_of_the_default_head() -> None:
    head, reading = make_head()
    hidden = random_hidden(2, 8)
    found = make_outputs(head, hidden)
    x = hidden.sequence.numpy().reshape(2, 8, -1)
    start, end = np.moveaxis(dense(head.output, x), -1, 0)
    for row in range(2):
        pairs = legal_pairs(row, reading.max_answer_length)
        best = sorted(pairs, key=lambda pair: -start[row, pair[0]] - end[row, pair[1]])[:6]
        shown = list(zip(found["starts"].numpy()[row], found["ends"].numpy()[row], strict=True))
        assert shown[: len(best)] == best
        assert (found["scores"].numpy()[row, len(best) :] < -1e8).all()
        assert found["null"].numpy()[row] == pytest.approx(start[row, 0] + end[row, 0], rel=1e-4)


def test_best_spans_of_the_joint_head() -> None:
    head, reading = make_head(joint_prediction=True)
    hidden = random_hidden(2, 8)
    found = make_outputs(head, hidden)
    x = hidden.sequence.numpy().reshape(2, 8, -1)
    allowed = LOSS_FEATURES["context_mask"] > 0
    allowed[:, 0] = True
    start = log_softmax(dense(head.start, x)[..., 0], allowed)
    for row in range(2):
        tokens = x[row]

        def end_given(place: int, row: int = row, tokens: np.ndarray = tokens) -> np.ndarray:
            both = np.concatenate([np.broadcast_to(tokens[place], tokens.shape), tokens], -1)
            scores = dense(head.end, gelu(dense(head.end_hidden, both)))[:, 0]
            return log_softmax(scores, allowed[row])

        scores = {
            (i, j): start[row, i] + end_given(i)[j]
            for i, j in legal_pairs(row, reading.max_answer_length)
        }
        best = sorted(scores, key=lambda pair: -scores[pair])[:6]
        shown = list(zip(found["starts"].numpy()[row], found["ends"].numpy()[row], strict=True))
        assert shown[: len(best)] == best
        np.testing.assert_allclose(
            found["scores"].numpy()[row, : len(best)], [scores[pair] for pair in best], rtol=1e-4
        )
        assert found["null"].numpy()[row] == pytest.approx(
            start[row, 0] + end_given(0)[0], rel=1e-4
        )


def test_heads_for_other_answers_are_among_the_outputs() -> None:
    head, _ = make_head(answer_types=4, answerability=True)
    found = make_outputs(head, random_hidden(2, 8))
    assert found["unanswerable"].shape == (2,)
    np.testing.assert_allclose(np.exp(found["answer_types"].numpy()).sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("joint", [False, True])
def test_bfloat16_hidden_states_give_float32(joint: bool) -> None:
    head, _ = make_head(answer_types=4, joint_prediction=joint, answerability=True)
    hidden = random_hidden(2, 8)
    hidden = hidden._replace(sequence=tf.cast(hidden.sequence, tf.bfloat16))
    features = {name: tf.constant(value) for name, value in LOSS_FEATURES.items()}
    assert head.losses(hidden, features).dtype == tf.float32
    found = make_outputs(head, hidden)
    assert {part.dtype for part in (found["scores"], found["null"], found["unanswerable"])} == {
        tf.float32
    }
