"""A step repeats bit for bit: nothing in it adds in an order that the threads decide."""

from __future__ import annotations

import pytest
import tensorflow as tf

from electra_zh.pretraining.masking import MASKINGS
from electra_zh.pretraining.objectives import build_objective, objective_names
from electra_zh.training.optimizers import optimizer_class, optimizer_names
from support import networks
from support.repeatable import wide_sums

KINDS: dict[str, dict[str, object]] = {
    "electra": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network": {"untied_generator": False},
    "uniform generator": {"uniform_generator": True},
    "masked LM": {"objective": "masked_lm"},
    "whole words": {"masking": "whole_word"},
    "n-grams": {"masking": "ngram", "mask_random_prob": 0.1},
    "LAMB": {"optimizer": "lamb"},
    "Muon": {"optimizer": "muon"},
    "generator first": {"discriminator_frozen": True},
    "bfloat16": {"precision": "bfloat16"},
    **networks.FURTHER_KINDS,
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def step(request: pytest.FixtureRequest) -> tf.types.experimental.PolymorphicFunction:
    """A whole training step that gives back its gradients and weights."""
    objective = build_objective(networks.tiny(**request.param), networks.SPECIAL)
    variables = objective.trainable_variables
    kind = optimizer_class(objective.config.optimizer)
    optimizer = kind(variables, lambda step: tf.constant(1e-3))

    @tf.function(autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            output = objective(batch, step=3, training=True)
        gradients = tape.gradient(output.loss, variables)
        norm = optimizer.apply(gradients)
        return [norm, output.loss, *map(tf.convert_to_tensor, filter(_is_there, gradients))]

    return step


def _is_there(gradient: tf.Tensor | tf.IndexedSlices | None) -> bool:
    return gradient is not None


def test_no_sum_of_three_or_more(step: tf.types.experimental.PolymorphicFunction) -> None:
    assert wide_sums(step, networks.make_batch()) == []


def test_every_choice_has_a_case() -> None:
    configs = [networks.tiny(**changes) for changes in KINDS.values()]
    assert {config.objective for config in configs} == set(objective_names())
    assert {config.masking for config in configs} == set(MASKINGS)
    assert {config.optimizer for config in configs} == set(optimizer_names())


@pytest.mark.parametrize("uses", [2, 3])
def test_a_wide_sum_is_found(uses: int) -> None:
    @tf.function(autograph=False)
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.tanh(x)
            total = tf.add_n([tf.reduce_sum(tf.sin(y + i)) for i in range(uses)])
            for i in range(40):
                total += tf.reduce_sum(tf.cos(tf.fill([2], float(i)) * total))
        return tape.gradient(total, x)

    assert bool(wide_sums(step, tf.ones([8, 8]))) == (uses == 3)


def test_gradients_repeat() -> None:
    objective = build_objective(networks.tiny(), networks.SPECIAL)
    variables = objective.trainable_variables

    @tf.function(autograph=False)
    def gradients(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            output = objective(batch, step=3, training=True)
        return [tf.convert_to_tensor(each) for each in tape.gradient(output.loss, variables)]

    batch = networks.make_batch()
    first = [gradient.numpy().tobytes() for gradient in gradients(batch)]
    for _ in range(10):
        assert [gradient.numpy().tobytes() for gradient in gradients(batch)] == first
