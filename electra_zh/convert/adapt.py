"""Models fitted to another run: other layers, another vocabulary, another number of positions.

Rows and layers are only selected and copied; no number is trained. This module does not import
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.convert import embedding_transfer
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.text.vocabulary import Vocabulary

# Standard deviation of the rows of new tokens that share nothing with the source's vocabulary.
RANDOM_STDDEV = 0.02

_LAYER = re.compile(r"^(encoder|generator)/layers/(\d+)/(.*)$")


class TokenCounts(NamedTuple):
    """Numbers of tokens by the origin of their rows."""

    shared: int  # of both vocabularies, with the source's rows
    composed: int  # new, with the mean of the source's rows of their pieces
    random: int  # new, without a piece or character in the source
    dropped: int  # of the source alone


def select_layers(weights: Weights, layers: Sequence[int]) -> Weights:
    """Returns a model of some of the layers, in the order given, duplicates allowed.

    A generator as deep as the encoder loses the same layers. A generator of another depth keeps
    all of its layers.

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
    both = generator is not None and generator.num_hidden_layers == depth
    tensors: dict[str, np.ndarray] = {}
    for name, value in weights.tensors.items():
        match = _LAYER.match(name)
        if match is None or (match[1] == "generator" and not both):
            tensors[name] = value
            continue
        for new, old in enumerate(layers):
            if old == int(match[2]):
                tensors[f"{match[1]}/layers/{new}/{match[3]}"] = value
    fitted = _resized(weights, tensors, num_hidden_layers=len(layers))
    return fitted if both else dataclasses.replace(fitted, generator=generator)


def _resized(weights: Weights, tensors: Mapping[str, np.ndarray], **sizes: int) -> Weights:
    """Returns the model with other tensors, and with other sizes of both networks."""
    generator = weights.generator
    return dataclasses.replace(
        weights,
        tensors=tensors,
        model=dataclasses.replace(weights.model, **sizes),
        generator=generator and dataclasses.replace(generator, **sizes),
    )


def with_vocabulary(
    weights: Weights, vocabulary: Vocabulary, *, seed: int
) -> tuple[Weights, TokenCounts]:
    """Returns a model with a vocabulary fitted to another one, and the origins of its rows.

    A token of both vocabularies keeps its row (`embedding_transfer` compares WordPiece and
    SentencePiece tokens). The row of a new token is the mean of the source's rows of its pieces,
    cut by longest match first; if that fails, of its characters that the source has. Without any,
    the row is drawn by `seed` from a normal distribution of deviation 0.02. The output bias of a
    new token is the mean of all of the source's.
    """
    assert weights.vocabulary is not None
    old = weights.vocabulary
    same = embedding_transfer.same_tokens(vocabulary, old)
    sources = [
        [index] if index >= 0 else embedding_transfer.parts(token, vocabulary, old)
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

    def fit(name: str, value: np.ndarray) -> np.ndarray:
        if name.endswith("/word_embeddings"):
            return _rows(value, sources, seed=[seed, zlib.crc32(name.encode())])
        if not name.endswith("/output_bias"):
            return value
        bias, known = value[: old.size], np.array(same)
        mean = np.float32(bias.mean(dtype=np.float64))
        return np.where(known >= 0, bias[known], mean).astype(np.float32)

    tensors, own = (
        {name: fit(name, value) for name, value in group.items()}
        for group in (weights.tensors, weights.own)
    )
    fitted = _resized(weights, tensors, vocab_size=vocabulary.size)
    return dataclasses.replace(fitted, own=own, vocabulary=vocabulary), counts


def _rows(
    table: np.ndarray, sources: Sequence[Sequence[int]], *, seed: Sequence[int]
) -> np.ndarray:
    """Returns a table [len(sources), E] of rows, means of rows and random rows of `table`."""
    rows = np.empty((len(sources), table.shape[1]), np.float32)
    generator = np.random.default_rng(seed)
    for row, found in enumerate(sources):
        if len(found) == 1:
            rows[row] = table[found[0]]
        elif found:
            rows[row] = table[list(found)].mean(0, dtype=np.float64)
        else:
            rows[row] = generator.normal(0.0, RANDOM_STDDEV, table.shape[1])
    return rows


def with_positions(weights: Weights, positions: int, *, length: int) -> tuple[Weights, int]:
    """Returns the model with another number of positions, and the number of rows it keeps.

    The first rows, which the source has trained, are kept. Row i after them is a copy of row i
    modulo their number (Beltagy et al. 2020, Longformer, section 5). Random rows are worse: the
    layers expect rows of another size, and attention to neighbours, most of the knowledge in
    positions, must be relearned. Copies cost little, since equal rows get different gradients from
    the first step on. A source has not trained the rows after its training length (a run of 128 has
    512). Those are replaced if the new run uses them: its longest sequence has `length` tokens.
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
    return _resized(weights, tensors, max_position_embeddings=positions), kept
