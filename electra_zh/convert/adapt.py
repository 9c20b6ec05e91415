"""A model made to fit another run: fewer layers, another vocabulary, another number of positions.

Everything here is rows and layers moved about; no number is trained. This module does not import
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.convert import embedding_transfer as token_rows
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.text.vocabulary import Vocabulary

# Standard deviation of the rows of new tokens of which the source knows nothing.
RANDOM_STDDEV = 0.02

_LAYER = re.compile(r"^(encoder|generator)/layers/(\d+)/(.*)$")


class TokenCounts(NamedTuple):
    """Where the rows of a vocabulary come from.

    Attributes:
      shared: tokens that the source has too; their rows are its rows.
      composed: new tokens whose rows are means of the source's rows of their pieces.
      random: new tokens of which the source has no piece and no character.
      dropped: tokens of the source alone.
    """

    shared: int
    composed: int
    random: int
    dropped: int


def select_layers(weights: Weights, layers: Sequence[int]) -> Weights:
    """Returns a model of some of the layers, in the order given; one may be taken again.

    The same layers are taken of a generator that has as many as the encoder, as those of ELECTRA
    have. One of another depth stays whole.

    Raises:
      UserError: there is no such layer.
    """
    depth = weights.model.num_hidden_layers
    wrong = [number for number in layers if not 0 <= number < depth]
    if wrong:
        raise UserError(
            f"{weights.path} has the {depth} layers 0 to {depth - 1}; there is no layer {wrong[0]}"
        )
    generator = weights.generator
    parts = ["encoder"]
    if generator is not None and generator.num_hidden_layers == depth:
        parts.append("generator")
        generator = _of_depth(generator, len(layers))
    tensors: dict[str, np.ndarray] = {}
    for name, value in weights.tensors.items():
        match = _LAYER.match(name)
        if match is None or match[1] not in parts:
            tensors[name] = value
            continue
        for new, old in enumerate(layers):
            if old == int(match[2]):
                tensors[f"{match[1]}/layers/{new}/{match[3]}"] = value
    model = _of_depth(weights.model, len(layers))
    return dataclasses.replace(weights, model=model, generator=generator, tensors=tensors)


def _of_depth(size: ModelConfig, depth: int) -> ModelConfig:
    return dataclasses.replace(size, num_hidden_layers=depth)


def with_vocabulary(
    weights: Weights, vocabulary: Vocabulary, *, seed: int
) -> tuple[Weights, TokenCounts]:
    """Returns the model for another vocabulary, and where its rows come from.

    The row of a token that the source has, by its text, is the source's; what is the same between
    WordPiece and SentencePiece says `token_rows`. A new token gets the mean of the source's rows of
    its pieces, as the source's vocabulary would cut the token (longest match first); where that
    fails, of those of its characters that the source has, as beginnings or as continuations; and
    where it has none, numbers drawn from a normal distribution of deviation 0.02 by `seed`. The
    output bias of a new token is the mean of all of the source's.

    Args:
      weights: a model with a vocabulary.
      vocabulary: the wanted tokens.
      seed: the random rows follow from it.
    """
    assert weights.vocabulary is not None
    old = weights.vocabulary
    same = token_rows.same_tokens(vocabulary, old)
    sources = [
        [index] if index >= 0 else token_rows.parts(token, vocabulary, old)
        for token, index in zip(vocabulary.tokens, same, strict=True)
    ]
    shared = sum(index >= 0 for index in same)
    random = sum(not found for found in sources)
    counts = TokenCounts(
        shared=shared,
        composed=vocabulary.size - shared - random,
        random=random,
        dropped=old.size - len({index for index in same if index >= 0}),
    )
    tensors = dict(weights.tensors)
    for name, value in weights.tensors.items():
        if name.endswith("/word_embeddings"):
            tensors[name] = _rows(value, sources, seed=[seed, zlib.crc32(name.encode())])
        elif name.endswith("/output_bias"):
            tensors[name] = _biases(value[: old.size], np.array(same))
    size = vocabulary.size
    generator = weights.generator
    if generator is not None:
        generator = dataclasses.replace(generator, vocab_size=size)
    model = dataclasses.replace(weights.model, vocab_size=size)
    fitted = dataclasses.replace(
        weights, model=model, generator=generator, tensors=tensors, vocabulary=vocabulary
    )
    return fitted, counts


def _rows(
    table: np.ndarray, sources: Sequence[Sequence[int]], *, seed: Sequence[int]
) -> np.ndarray:
    """Returns a table [len(sources), E] of rows, means of rows and random rows of `table`."""
    rows = np.empty((len(sources), table.shape[1]), np.float32)
    single = [(row, found[0]) for row, found in enumerate(sources) if len(found) == 1]
    if single:
        to, origin = map(list, zip(*single, strict=True))
        rows[to] = table[origin]
    generator = np.random.default_rng(seed)
    for row, found in enumerate(sources):
        if len(found) > 1:
            rows[row] = table[list(found)].mean(0, dtype=np.float64)
        elif not found:
            rows[row] = generator.normal(0.0, RANDOM_STDDEV, table.shape[1])
    return rows


def _biases(bias: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns a bias for each of `known`, an id of the source or -1."""
    mean = np.float32(bias.mean(dtype=np.float64))
    return np.where(known >= 0, bias[known], mean).astype(np.float32)


def with_positions(weights: Weights, positions: int, *, length: int) -> tuple[Weights, int]:
    """Returns the model with another number of positions, and how many are the source's own.

    The rows that the source has been trained on are kept, from the first on. Row i beyond them is a
    copy of row i modulo their number (as Beltagy et al. 2020, Longformer, section 5). Random rows
    are worse: they have not the size that the layers expect, and attention to neighbours, which is
    most of what positions have taught it, works at once with copies and must be learnt anew with
    random ones. That two positions look the same at the start costs little, since their rows get
    different gradients from the first step on. A source with rows beyond the length of its
    training (a run of 128 has 512) has not trained those: they are replaced where they are used.

    Args:
      weights: the model.
      positions: the wanted number of rows.
      length: tokens of the longest sequence that will be seen.
    """
    trained = weights.trained.length if weights.trained else weights.model.max_position_embeddings
    tensors = dict(weights.tensors)
    kept = positions
    for name, value in weights.tensors.items():
        if not name.endswith("/position_embeddings"):
            continue
        rows = min(trained, len(value)) if length > trained else len(value)
        kept = min(rows, positions)
        tensors[name] = value[np.arange(positions) % rows]
    generator = weights.generator
    if generator is not None:
        generator = dataclasses.replace(generator, max_position_embeddings=positions)
    model = dataclasses.replace(weights.model, max_position_embeddings=positions)
    fitted = dataclasses.replace(weights, model=model, generator=generator, tensors=tensors)
    return fitted, kept
