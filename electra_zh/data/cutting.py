"""Short examples cut from long ones, so that one build serves phases of several lengths.

An example of S positions gives S / L pieces of L, evenly spaced stretches of its text. A full one
loses a few tokens between them (at 512 and 128: 9 of 509); a shorter one is in several pieces. An
example with two segments gives pieces with two: divided where the example is, if that is in the
middle half of the piece, else after a sentence that ends there, else in the middle.

Shapes: N examples, S stored length, L max_seq_length.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from electra_zh.data.records import INPUT_IDS, INPUT_MASK, SEGMENT_IDS, WORD_STARTS

# The most of a piece that may be lost, or else there is one more piece.
_LOST = 0.1
# Tokens that end a sentence.
SENTENCE_ENDS = tuple("。！？；!?;…")


@dataclasses.dataclass(frozen=True)
class Cutting:
    """Lengths of stored examples and of the pieces to cut."""

    stored_length: int  # S
    length: int  # L
    sentence_ends: tuple[int, ...] = ()  # ids of the tokens that end a sentence

    @property
    def pieces(self) -> int:
        """Pieces of one example; 1 for examples that have the length already."""
        return math.ceil(self.stored_length / self.length - _LOST)

    def cut(self, examples: Mapping[str, np.ndarray], piece: np.ndarray) -> dict[str, np.ndarray]:
        """Returns one piece of each example.

        Args:
          examples: int32 [N, S] by feature.
          piece: int [N], numbers of the pieces, from 0.

        Returns:
          int32 [N, L] by feature.
        """
        ids = examples[INPUT_IDS]
        real, second = examples[INPUT_MASK].sum(1), examples[SEGMENT_IDS].sum(1)
        in_first = real - second - 2  # text of the first segment: without [CLS] and [SEP]
        two = second > 1
        text = in_first + np.where(two, second - 1, 0)
        size = np.minimum(text, self.length - np.where(two, 3, 2))
        start = piece * (text - size) // max(self.pieces - 1, 1)
        source = start[:, None] + np.arange(self.length)  # [N, L], places in the text
        source += 1 + (source >= in_first[:, None])  # in the example
        tokens = np.take_along_axis(ids, np.minimum(source, self.stored_length - 1), 1)
        two &= size > 1
        border = np.where(two, in_first - start, 0)
        split = np.where(size == text, border, self._split(tokens, size, border))
        split = np.where(two, split, size)
        column = np.arange(self.length)
        # The first segment begins after [CLS], the second after another [SEP].
        place = column - 1 - (column > split[:, None])
        length = size + np.where(two, 3, 2)
        mask = column < length[:, None]
        is_sep = (column == length[:, None] - 1) | (two[:, None] & (column == split[:, None] + 1))
        is_text = mask & ~is_sep & (column > 0)

        def gather(values: np.ndarray) -> np.ndarray:
            return np.take_along_axis(values, np.clip(place, 0, None), 1)

        sep = np.take_along_axis(ids, real[:, None] - 1, 1)
        found = {
            INPUT_IDS: np.where(is_text, gather(tokens), np.where(is_sep, sep, 0)),
            INPUT_MASK: mask,
            SEGMENT_IDS: mask & two[:, None] & (column > split[:, None] + 1),
        }
        found[INPUT_IDS][:, 0] = ids[:, 0]
        if WORD_STARTS in examples:
            starts = np.take_along_axis(
                examples[WORD_STARTS], np.minimum(source, self.stored_length - 1), 1
            )
            begins = (column <= 1) | (column == split[:, None] + 2)  # a segment
            found[WORD_STARTS] = mask & (~is_text | begins | (gather(starts) > 0))
        return {name: values.astype(np.int32) for name, values in found.items()}

    def _split(self, tokens: np.ndarray, size: np.ndarray, border: np.ndarray) -> np.ndarray:
        """Returns [N]: the tokens of each piece that its first segment has."""
        after = np.arange(1, tokens.shape[1] + 1)
        middle = (size // 2)[:, None]
        distance = np.abs(after - middle)
        is_near = distance <= middle // 2
        is_end = np.isin(tokens, self.sentence_ends) & is_near
        is_border = (after == border[:, None]) & is_near
        far = tokens.shape[1]
        cost = distance + far * ~is_end - 2 * far * is_border
        # Without either, the middle itself costs least.
        found: np.ndarray = np.argmin(cost, 1) + 1
        return found
