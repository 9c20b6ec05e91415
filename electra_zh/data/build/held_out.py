"""Held-out documents: their choice, and their tokens in a stream."""

from __future__ import annotations

import numpy as np

from electra_zh.data.build.pieces import TokenStream
from electra_zh.data.build.settings import HELDOUT, TRAIN


class DocumentSplitter:
    """Splits the documents of a unit between training and held-out data.

    One document in `every` is held out (None for none); counting starts at `phase`, a random one
    from 0 to `every - 1` in each unit. So the number of held-out documents hardly varies, and units
    with few documents are not favoured.
    """

    def __init__(self, *, every: int | None, phase: int) -> None:
        self._every = every
        self._phase = phase
        self._finished = 0
        self._is_open = False

    def split(self, stream: TokenStream) -> dict[str, TokenStream]:
        """Returns the tokens of each split that has any."""
        ends = stream.document_ends
        bounds = np.concatenate([[0], ends, [len(stream.ids)]])
        lengths = np.diff(bounds)
        closes = lengths[:-1] > 0
        if len(closes):
            closes[0] |= self._is_open
        document = self._finished + np.concatenate([[0], np.cumsum(closes)])
        self._finished = int(document[-1])
        self._is_open = bool(lengths[-1] > 0) or (self._is_open and not len(ends))
        held_out = self._is_held_out(document)
        if not held_out.any():
            return {TRAIN: stream}
        return {
            TRAIN: _select(stream, lengths, ~held_out),
            HELDOUT: _select(stream, lengths, held_out),
        }

    def count_documents(self) -> dict[str, int]:
        """Returns the number of documents of each split so far."""
        total = self._finished + self._is_open
        held_out = int(self._is_held_out(np.arange(total)).sum())
        return {TRAIN: total - held_out, HELDOUT: held_out}

    def _is_held_out(self, document: np.ndarray) -> np.ndarray:
        if self._every is None:
            return np.zeros(len(document), np.bool_)
        held_out: np.ndarray = (document + self._phase) % self._every == self._every - 1
        return held_out


def _select(stream: TokenStream, lengths: np.ndarray, chosen: np.ndarray) -> TokenStream:
    """Returns the tokens of the chosen documents; `lengths` are the tokens of each document."""
    is_chosen = np.repeat(chosen, lengths)
    # Position of each token in the result.
    positions = np.concatenate([[0], np.cumsum(is_chosen)])
    piece_ends = stream.piece_ends[is_chosen[stream.piece_ends - 1]]
    document_ends = stream.document_ends[chosen[:-1]]
    return TokenStream(stream.ids[is_chosen], positions[piece_ends], positions[document_ends])
