"""The transformer: the reference's figures, and what padding and sharing must not change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models.encoder import Encoder, EncoderOutput
from electra_zh.models.random import RandomKey
from support.networks import LENGTH, VOCAB_SIZE, Golden, load_golden, make_batch, thin_out, tiny

KEYS = ("input_ids", "input_mask", "segment_ids")


@pytest.fixture(scope="module")
def golden() -> Golden:
    return load_golden()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(tiny().model, "encoder", seed=0)


def _compute(
    encoder: Encoder, *, key: RandomKey | None = None, **changes: tf.Tensor
) -> EncoderOutput:
    batch = make_batch() | changes
    return encoder(*[batch[name] for name in KEYS], key=key)


def _rows(values: tf.Tensor) -> np.ndarray:
    return values.numpy().reshape(4, LENGTH, -1)


def test_hidden_states_are_those_of_the_reference(golden: Golden) -> None:
    gen_ids, disc_ids, mask, segments = golden.tensors("gen_input_ids", "disc_input_ids", *KEYS[1:])
    assert golden.objective.generator is not None
    generator = golden.objective.generator(gen_ids, mask, segments)
    discriminator = golden.objective.encoder(disc_ids, mask, segments)
    found = {
        "gen_embedding_output": generator.embeddings,
        "gen_seq": generator.sequence,
        "disc_embedding_output": discriminator.embeddings,
        "disc_layer0": discriminator.layers[0],
        "disc_seq": discriminator.sequence,
    }
    for name, value in found.items():
        expected = golden.figures[name]
        np.testing.assert_allclose(thin_out(value.numpy()), expected, rtol=1e-5, atol=1e-5)


def test_shapes(encoder: Encoder) -> None:
    output = _compute(encoder)
    assert len(output.layers) == 2
    assert output.layers[-1] is output.sequence
    for value in (output.embeddings, *output.layers):
        assert value.shape == [4 * LENGTH, 16]
        assert value.dtype == tf.float32


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
    changed = _rows(_compute(encoder, input_ids=other).sequence)
    assert np.array_equal(_rows(_compute(encoder).sequence)[real], changed[real])


def test_positions_segments_and_tokens_matter(encoder: Encoder) -> None:
    plain = _rows(_compute(encoder).sequence)
    batch = make_batch()
    same_tokens = tf.fill([4, LENGTH], 9)
    equal = _rows(_compute(encoder, input_ids=same_tokens, segment_ids=same_tokens * 0).sequence)
    assert not np.allclose(equal[0, 1], equal[0, 2])
    assert not np.allclose(
        plain, _rows(_compute(encoder, segment_ids=1 - batch["segment_ids"]).sequence)
    )
    assert not np.allclose(plain, equal)


def test_examples_do_not_see_each_other(encoder: Encoder) -> None:
    batch = make_batch()
    first = tf.concat([batch["input_ids"][:1], batch["input_ids"][1:] * 0 + 7], 0)
    plain, changed = _compute(encoder).sequence, _compute(encoder, input_ids=first).sequence
    np.testing.assert_allclose(_rows(plain)[0], _rows(changed)[0], rtol=1e-6, atol=1e-6)


def test_dropout_follows_from_the_key(encoder: Encoder) -> None:
    def run(seed: int, step: int) -> np.ndarray:
        key = RandomKey(seed, tf.constant(step, tf.int64))
        return _compute(encoder, key=key).sequence.numpy()

    assert np.array_equal(run(1, 5), run(1, 5))
    plain = _compute(encoder).sequence.numpy()
    for other in (run(1, 6), run(2, 5), plain):
        assert not np.allclose(run(1, 5), other)
    assert np.array_equal(plain, _compute(encoder).sequence.numpy())


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
    assert output.sequence.dtype == tf.bfloat16
    assert all(variable.dtype == tf.float32 for variable in encoder.trainable_variables)
    # 8 bits of mantissa through two layers, at values of about 1.
    expected = _compute(encoder).sequence
    np.testing.assert_allclose(tf.cast(output.sequence, tf.float32), expected, atol=0.06)
