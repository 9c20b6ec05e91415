"""Documents that are kept apart from training: which they are, and their part of a stream."""

from __future__ import annotations

import numpy as np

from electra_zh.data.pieces import TokenStream

TRAIN, HELDOUT = "train", "heldout"


class DocumentChooser:
    """Tells the documents of a unit apart: to be trained on, or kept apart.

    Documents are counted, and each N-th one is kept apart, from a random place in each unit: their
    number hardly varies, and units with few documents are not favoured.
    """

    def __init__(self, *, every: int | None, phase: int, splits: tuple[str, ...]) -> None:
        """Starts a unit.

        Args:
          every: one document in so many is kept apart; None for none.
          phase: where the counting starts, from 0 to `every - 1`.
          splits: the splits that are made.
        """
        self._every = every
        self._phase = phase
        self._splits = splits
        self._finished = 0
        self._is_open = False

    def divide(self, stream: TokenStream) -> dict[str, TokenStream]:
        """Returns the tokens of each split."""
        ends = stream.document_ends
        bounds = np.concatenate([[0], ends, [len(stream.ids)]])
        lengths = np.diff(bounds)
        closes = lengths[:-1] > 0
        if len(closes):
            closes[0] |= self._is_open
        document = self._finished + np.concatenate([[0], np.cumsum(closes)])
        self._finished = int(document[-1])
        self._is_open = bool(lengths[-1] > 0) or (self._is_open and not len(ends))
        if self._every is None:
            return {TRAIN: stream}
        heldout = self._is_heldout(document)
        if not heldout.any():
            return {TRAIN: stream}
        return {
            TRAIN: _select(stream, lengths, ~heldout),
            HELDOUT: _select(stream, lengths, heldout),
        }

    def documents(self) -> dict[str, int]:
        """Returns how many documents each split has got."""
        total = self._finished + self._is_open
        heldout = 0
        if self._every is not None:
            heldout = int(self._is_heldout(np.arange(total)).sum())
        counts = {TRAIN: total - heldout, HELDOUT: heldout}
        return {split: counts[split] for split in self._splits}

    def _is_heldout(self, document: np.ndarray) -> np.ndarray:
        assert self._every is not None
        return (document + self._phase) % self._every == self._every - 1


def _select(stream: TokenStream, lengths: np.ndarray, chosen: np.ndarray) -> TokenStream:
    """Returns the tokens of the chosen documents, whose numbers of tokens are `lengths`."""
    is_chosen = np.repeat(chosen, lengths)
    # Where each position of the stream comes to lie.
    places = np.concatenate([[0], np.cumsum(is_chosen)])
    piece_ends = stream.piece_ends[is_chosen[stream.piece_ends - 1]]
    document_ends = stream.document_ends[chosen[:-1]]
    return TokenStream(stream.ids[is_chosen], places[piece_ends], places[document_ends])
