"""Overlapping windows of texts that are too long for one row; nothing loops over tokens.

Shapes: N texts, G windows, T tokens of all texts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from electra_zh.finetuning.encoding.sequences import RaggedTokens


class Windows(NamedTuple):
    """Stretches of texts, one row each. Tokens are counted within their text.

    Attributes:
      texts: int64 [G], which text each window belongs to.
      starts: int64 [G], the first token.
      lengths: int64 [G], number of tokens.
      max_context: int64 [G, 2], first and last (exclusive) of the tokens that have more context
        here than in any other window. Every token has exactly one such window.
      inside: bool [G, 2], whether the text has tokens before the window, and after it.
    """

    texts: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    max_context: np.ndarray
    inside: np.ndarray

    def cut(self, values: np.ndarray, ends: np.ndarray) -> RaggedTokens:
        """Returns the windows of values [T] of texts that end at `ends` int64 [N]."""
        return RaggedTokens(values, ends).slices(self.texts, self.starts, self.lengths)

    def has_max_context(self) -> np.ndarray:
        """Returns bool [tokens of all windows], whether the token has its most context here."""
        window = np.repeat(np.arange(len(self.starts)), self.lengths)
        origins = np.cumsum(self.lengths) - self.lengths - self.starts
        tokens = np.arange(len(window)) - origins[window]
        first, end = self.max_context.T
        here: np.ndarray = (tokens >= first[window]) & (tokens < end[window])
        return here

    def with_special_tokens(self, values: np.ndarray) -> np.ndarray:
        """Returns values of the windows' tokens with 0 at [CLS] and [SEP] of each window."""
        ends = np.cumsum(self.lengths + 2)
        is_token = np.ones(len(values) + 2 * len(ends), np.bool_)
        is_token[ends - 1] = is_token[ends - self.lengths - 2] = False
        framed = np.zeros(len(is_token), values.dtype)
        framed[is_token] = values
        return framed


def cut_windows(
    lengths: np.ndarray, room: np.ndarray, *, stride: int, even: bool = False
) -> Windows:
    """Cuts texts into windows; a text that fits, even an empty one, is one window.

    The window with the most context for a token is the one where the lesser of its left and right
    context is greatest, the first such (BERT's `_check_is_max_context`, without its bonus for
    longer windows): windows meet in the middle of their overlap.

    Args:
      lengths: int64 [N], tokens of each text.
      room: int64 [N], maximum tokens of a window of it.
      stride: tokens between the starts of two windows, at least 1; windows touch where their room
        is less.
      even: spread the starts evenly, at most `stride` apart, so that no window is shorter than its
        room; otherwise they are `stride` apart and the last window is short.
    """
    step = np.minimum(stride, room)
    beyond = np.maximum(lengths - room, 0)
    steps = -(-beyond // step)
    texts = np.repeat(np.arange(len(lengths)), steps + 1)
    number = np.arange(len(texts)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    spread = number * beyond[texts] // np.maximum(steps[texts], 1)
    starts = spread if even else number * step[texts]
    kept = np.minimum(room[texts], lengths[texts] - starts)
    inside = np.stack([number > 0, number < steps[texts]], 1)
    middles = (starts + kept + np.append(starts[1:], 0)[: len(starts)] + 1) // 2
    ends = np.where(inside[:, 1], middles, lengths[texts])
    begins = np.where(inside[:, 0], np.append(0, ends[:-1])[: len(ends)], 0)
    return Windows(texts, starts, kept, np.stack([begins, ends], 1), inside)
