"""The start that looks at neighbours: what the first layer attends to, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models.config import ModelConfig
from electra_zh.models.encoder import Encoder
from electra_zh.models.start import start_locally
from electra_zh.pretraining.objectives import build_objective
from support.networks import FURTHER_KINDS, SPECIAL, make_batch, tiny


def _attention(encoder: Encoder, length: int) -> np.ndarray:
    """Returns the mean probabilities of the first layer, [H, L, L], for random words."""
    config = encoder.config
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    ids = np.random.default_rng(1).integers(0, config.vocab_size, [8, length])
    x = encoder.embeddings(
        tf.constant(ids, tf.int32),
        tf.zeros(ids.shape, tf.int32),
        dtype=tf.float32,
        key=None,
        stream="",
    )
    if encoder.projection is not None:
        x = encoder.projection(x)
    attention = encoder.layers[0].attention
    query, key = (
        tf.transpose(tf.reshape(part(x), [8, length, heads, width]), [0, 2, 1, 3])
        for part in (attention.query, attention.key)
    )
    scores = tf.matmul(query, key, transpose_b=True) / width**0.5
    return np.asarray(tf.reduce_mean(tf.nn.softmax(scores), 0))


@pytest.mark.parametrize(
    ("embedding_size", "length", "direction", "offsets"),
    [
        (64, 32, 0, (-1, 1, -2, 2)),
        (128, 32, 0, (-1, 1, -2, 2)),
        (64, 64, 0, (-1, 1, -2, 2)),
        (64, 32, -1, (-1, -2, -3, -4)),
    ],
)
def test_heads_look_at_their_neighbours(
    embedding_size: int, length: int, direction: int, offsets: tuple[int, ...]
) -> None:
    config = ModelConfig(500, embedding_size, 128, 2, 4, 256, hidden_dropout_prob=0.0)
    encoder = Encoder(config, "encoder", seed=3)
    assert np.diagonal(_attention(encoder, length)[0], 1).mean() < 2 / length
    start_locally(encoder, length=length, seed=3, direction=direction)
    found = _attention(encoder, length)
    for head, offset in enumerate(offsets):
        at_offsets = {n: np.diagonal(found[head], n).mean() for n in range(-6, 7)}
        assert max(at_offsets, key=lambda n: at_offsets[n]) == offset
        assert at_offsets[offset] > 4 / length


def test_nothing_else_is_changed() -> None:
    plain, started = (
        build_objective(tiny(attention_start=start), SPECIAL) for start in ("normal", "local")
    )
    names = set()
    for one, other in zip(plain.variables, started.variables, strict=True):
        assert (one.name, one.shape) == (other.name, other.shape)
        if np.any(one != other):
            names.add(one.name.partition(":")[0])
    attention = [f"{network}/layers/{layer}/attention/{part}/kernel"
                 for network, depth in (("encoder", 2), ("generator", 1))
                 for layer in range(depth)
                 for part in ("query", "key")]  # fmt: skip
    assert names == {"encoder/embeddings/position_embeddings", *attention}
    positions = started.encoder.embeddings.position_embeddings.numpy()
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1).mean()
    assert steps < 0.8 * np.linalg.norm(positions - np.roll(positions, 16, 0), axis=1).mean()


@pytest.mark.parametrize("kind", FURTHER_KINDS)
def test_every_kind_of_network_starts_so(kind: str) -> None:
    objective = build_objective(tiny(**FURTHER_KINDS[kind], attention_start="local"), SPECIAL)
    output = objective(make_batch(), step=0, training=False)
    assert np.isfinite(output.loss)
