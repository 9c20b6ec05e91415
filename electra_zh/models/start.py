"""Initial attention that looks at neighbours (`attention_start=local`).

From the usual start a network must first learn to find the neighbouring tokens, for each position
anew: until then its loss stays at the unigram entropy. Here near positions start with near vectors,
and the query and key kernels of each head with those that attend to one offset, -1, +1, -2, +2
and so on. These are initial values alone: shapes, names and training are the same.

Shapes: L positions that are fitted, E embedding width, D hidden width, S width of a head.
"""

from __future__ import annotations

import math

import numpy as np

from electra_zh.models.encoder import DisentangledEmbeddings, Embeddings, Encoder

# Periods of the waves that positions are made of, and of those that queries and keys compare.
_POSITION_PERIODS = np.geomspace(2.1, 1024.0, 48)
_LONGEST_OFFSET_PERIOD = 12.0
# Scores at the offset above the mean score: a head's probability there is about .5 at 32 positions.
# For the same at twice as many, a score must grow by at least log 2.
_GAP_AT_32, _GAP_PER_DOUBLING = 5.0, 1.5


def start_locally(encoder: Encoder, *, length: int, seed: int, direction: int = 0) -> None:
    """Assigns the start of an encoder that is used at `length` positions.

    `direction` -1 or +1 has all heads look to the left or right, for a network that sees no more.
    Encoders with the same embeddings get the same positions.
    """
    _smooth_positions(encoder.embeddings, seed)
    config = encoder.config
    hidden, noise = _inputs(encoder, min(length, config.max_position_embeddings))
    spread = noise.T @ noise * (len(hidden) / len(noise))
    normal = hidden.T @ hidden + spread + 1e-3 * np.eye(config.hidden_size)
    reader = np.linalg.solve(normal, hidden.T)  # [D, L], least squares with the words as noise
    width = config.hidden_size // config.num_attention_heads
    parts = [
        _head_kernels(hidden, reader, width, _offset(head, direction))
        for head in range(config.num_attention_heads)
    ]
    query, key = (np.concatenate(each, 1).astype(np.float32) for each in zip(*parts, strict=True))
    for layer in encoder.layers:
        layer.attention.query.kernel.assign(query)
        layer.attention.key.kernel.assign(key)


def _offset(head: int, direction: int) -> int:
    if direction:
        return direction * (head + 1)
    return (head // 2 + 1) * (-1 if head % 2 == 0 else 1)


def _smooth_positions(embeddings: Embeddings, seed: int) -> None:
    """Assigns positions of the usual size, sums of waves with random weights."""
    if isinstance(embeddings, DisentangledEmbeddings):
        embeddings = embeddings.base
    table = embeddings.position_embeddings
    rows, size = table.shape
    angles = np.arange(rows)[:, None] * (2 * math.pi / _POSITION_PERIODS)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], 1)
    mix = np.random.default_rng([seed, 17]).standard_normal([waves.shape[1], size])
    stddev = embeddings.config.initializer_range
    table.assign((stddev * waves @ mix / math.sqrt(len(_POSITION_PERIODS))).astype(np.float32))


def _inputs(encoder: Encoder, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions [L, D] and words [rows, D] as they reach the first layer."""
    embeddings = encoder.embeddings
    positions = embeddings.positions(length).numpy().astype(np.float64)
    words = embeddings.table()[:2000].numpy().astype(np.float64)
    scale = (positions.var() + words.var()) ** -0.5  # by the layer norm
    if encoder.projection is None:
        return scale * positions, scale * words
    kernel = encoder.projection.kernel.numpy().astype(np.float64)
    return scale * positions @ kernel, scale * words @ kernel


def _head_kernels(
    hidden: np.ndarray, reader: np.ndarray, width: int, offset: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns query and key kernels [D, S] by which position i attends to i + offset.

    Both read waves of the position. The query reads them moved by the offset, so that their product
    is largest there.
    """
    length = len(hidden)
    frequencies = 2 * math.pi / np.geomspace(2.2, _LONGEST_OFFSET_PERIOD, max(1, width // 2))

    def read(shift: int) -> np.ndarray:
        angles = (np.arange(length)[:, None] + shift) * frequencies
        target = np.concatenate([np.sin(angles), np.cos(angles)], 1)[:, :width]
        return np.asarray(reader @ np.pad(target, [[0, 0], [0, width - target.shape[1]]]))

    query, key = read(offset), read(0)
    scores = (hidden @ query) @ (hidden @ key).T / math.sqrt(width)
    reached = float(np.diagonal(scores, offset).mean() - scores.mean())
    wanted = _GAP_AT_32 + _GAP_PER_DOUBLING * math.log2(max(length, 32) / 32)
    factor = math.sqrt(wanted / max(reached, 1e-6))
    return factor * query, factor * key
