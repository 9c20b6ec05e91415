"""A step repeats bit for bit: nothing in it adds in an order that the threads decide."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from electra_zh.pretraining.objectives import build_objective
from electra_zh.training.optimizers import AdamWeightDecay, Lamb
from support import networks

KINDS: dict[str, dict[str, object]] = {
    "electra": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network": {"untied_generator": False},
    "uniform generator": {"uniform_generator": True},
    "masked LM": {"electra_objective": False},
    "n-grams": {"masking": "ngram", "mask_random_prob": 0.1},
    "LAMB": {"optimizer": "lamb"},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS.keys())
def step(request: pytest.FixtureRequest) -> tf.types.experimental.PolymorphicFunction:
    """A whole training step that gives back its gradients and weights."""
    objective = build_objective(networks.tiny(**request.param), networks.SPECIAL)
    variables = objective.trainable_variables
    kind = Lamb if objective.config.optimizer == "lamb" else AdamWeightDecay
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
    """AddN adds into whichever input's buffer is free first: with three, the order varies."""
    context.context().enable_graph_collection()
    try:
        step(networks.make_batch())
        metadata = context.context().export_run_metadata()
    finally:
        context.context().disable_graph_collection()
    nodes = [
        node
        for graphs in metadata.function_graphs
        for graph in [graphs.post_optimization_graph]
        for node in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    ]
    assert len(nodes) > 100
    wide = [node.name for node in nodes if "AddN" in node.op and node.attr["N"].i > 2]
    assert wide == []


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
