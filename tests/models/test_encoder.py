"""The transformer: the reference's figures, and what padding and sharing must not change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models import layers, split
from electra_zh.models.encoder import Encoder
from electra_zh.models.random import RandomKey
from support.networks import LENGTH, VOCAB_SIZE, Golden, load_golden, make_batch, thin_out, tiny

KEYS = ("input_ids", "input_mask", "segment_ids")


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(tiny().model, "encoder", seed=0)


def _compute(encoder: Encoder, *, key: RandomKey | None = None, **changes: tf.Tensor) -> tf.Tensor:
    batch = make_batch() | changes
    return encoder(*[batch[name] for name in KEYS], key=key)


def _rows(values: tf.Tensor) -> np.ndarray:
    return values.numpy().reshape(4, LENGTH, -1)


def test_hidden_states_are_those_of_the_reference(golden: Golden) -> None:
    gen_ids, disc_ids, mask, segments = golden.tensors("gen_input_ids", "disc_input_ids", *KEYS[1:])
    assert golden.objective.generator is not None
    generator, discriminator = golden.objective.generator, golden.objective.encoder
    embedded = _embed(discriminator, disc_ids, segments)
    bias = (1.0 - tf.cast(mask, tf.float32)[:, None, None, :]) * -10000.0
    found = {
        "gen_embedding_output": _embed(generator, gen_ids, segments),
        "gen_seq": generator(gen_ids, mask, segments),
        "disc_embedding_output": embedded,
        "disc_layer0": discriminator.layers[0](embedded, bias, key=None, stream=""),
        "disc_seq": discriminator(disc_ids, mask, segments),
    }
    for name, value in found.items():
        expected = golden.figures[name]
        np.testing.assert_allclose(thin_out(value.numpy()), expected, rtol=1e-5, atol=1e-5)


def _embed(encoder: Encoder, input_ids: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    """Returns the input of the first layer."""
    x = encoder.embeddings(input_ids, segment_ids, dtype=tf.float32, key=None, stream="")
    return x if encoder.projection is None else encoder.projection(x)


def test_shape_and_type(encoder: Encoder) -> None:
    output = _compute(encoder)
    assert output.shape == [4 * LENGTH, 16]
    assert output.dtype == tf.float32


def test_a_graph_for_export_has_plain_operations_and_any_shape(encoder: Encoder) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] * 3, autograph=False)
    def graph(*inputs: tf.Tensor) -> tf.Tensor:
        with layers.plain_operations():
            return encoder(*inputs)

    concrete = graph.get_concrete_function()
    operations = {op.type for op in concrete.graph.get_operations()}
    assert not operations & {"PartitionedCall", "StatefulPartitionedCall", "IdentityN"}
    assert not concrete.graph.as_graph_def().library.function
    for rows in (1, 4):
        batch = [make_batch()[name][:rows, : 8 * rows] for name in KEYS]
        expected = encoder(*batch)
        np.testing.assert_allclose(graph(*batch), expected, rtol=1e-5, atol=1e-5)


def test_a_projection_only_where_widths_differ() -> None:
    model = tiny().model
    assert Encoder(model, "encoder", seed=0).projection is not None
    wide = dataclasses.replace(model, embedding_size=16)
    assert Encoder(wide, "encoder", seed=0).projection is None


def test_padding_changes_nothing(encoder: Encoder) -> None:
    batch = make_batch()
    real = batch["input_mask"].numpy() > 0
    assert not real.all()
    other = tf.where(real, batch["input_ids"], VOCAB_SIZE - 1)
    changed = _rows(_compute(encoder, input_ids=other))
    assert np.array_equal(_rows(_compute(encoder))[real], changed[real])


def test_positions_segments_and_tokens_matter(encoder: Encoder) -> None:
    plain = _rows(_compute(encoder))
    batch = make_batch()
    same_tokens = tf.fill([4, LENGTH], 9)
    equal = _rows(_compute(encoder, input_ids=same_tokens, segment_ids=same_tokens * 0))
    assert not np.allclose(equal[0, 1], equal[0, 2])
    assert not np.allclose(plain, _rows(_compute(encoder, segment_ids=1 - batch["segment_ids"])))
    assert not np.allclose(plain, equal)


def test_examples_do_not_see_each_other(encoder: Encoder) -> None:
    batch = make_batch()
    first = tf.concat([batch["input_ids"][:1], batch["input_ids"][1:] * 0 + 7], 0)
    plain, changed = _compute(encoder), _compute(encoder, input_ids=first)
    np.testing.assert_allclose(_rows(plain)[0], _rows(changed)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("positions", [[[0]] * 4, [[3, 0], [1, 7], [2, 2], [5, 4]]])
def test_the_output_at_some_positions_alone_is_that_of_all(
    encoder: Encoder, positions: list[list[int]]
) -> None:
    def rows(x: tf.Tensor) -> tf.Tensor:
        return split.rows_at(x, tf.constant(positions), LENGTH)

    batch = make_batch()
    found = {}
    for alone in (False, True):
        with tf.GradientTape() as tape:
            output = encoder(*(batch[name] for name in KEYS), rows=rows if alone else None)
            picked = output if alone else rows(output)
            loss = tf.reduce_sum(tf.sin(picked))
        variables = encoder.trainable_variables
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        found[alone] = [picked, *map(tf.convert_to_tensor, gradients)]
    assert found[True][0].shape == (4 * len(positions[0]), 16)
    for one, of_all in zip(found[True], found[False], strict=True):
        np.testing.assert_allclose(one, of_all, rtol=1e-4, atol=1e-5)


def test_dropout_depends_on_the_key_alone(encoder: Encoder) -> None:
    def run(seed: int, step: int) -> np.ndarray:
        key = RandomKey(seed, tf.constant(step, tf.int64))
        return _compute(encoder, key=key).numpy()

    assert np.array_equal(run(1, 5), run(1, 5))
    plain = _compute(encoder).numpy()
    for other in (run(1, 6), run(2, 5), plain):
        assert not np.allclose(run(1, 5), other)
    assert np.array_equal(plain, _compute(encoder).numpy())


def test_embeddings_can_be_shared(encoder: Encoder) -> None:
    model = dataclasses.replace(tiny().model, hidden_size=8)
    other = Encoder(model, "generator", seed=0, embeddings=encoder.embeddings)
    assert other.embeddings is encoder.embeddings
    own = {variable.name.split("/")[1] for variable in other.trainable_variables}
    assert own == {"embeddings", "layers"}
    assert all(
        variable.name.startswith("encoder/") == ("/embeddings/" in variable.name)
        for variable in other.trainable_variables
    )


def test_bfloat16_activations_and_float32_weights(encoder: Encoder) -> None:
    batch = make_batch()
    output = encoder(*[batch[name] for name in KEYS], dtype=tf.bfloat16)
    assert output.dtype == tf.bfloat16
    assert all(variable.dtype == tf.float32 for variable in encoder.trainable_variables)
    # 8 bits of mantissa through two layers, at values of about 1.
    expected = _compute(encoder)
    np.testing.assert_allclose(tf.cast(output, tf.float32), expected, atol=0.06)
