"""Rows "[CLS] a [SEP] b [SEP]" of many texts at once, flat, in NumPy.

A split has hundreds of thousands of pairs, so nothing here loops over rows: the lengths that remain
after the cut follow from a closed form, and one `repeat` marks what every position of every row is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from electra_zh.text.pair_lengths import Cut, cut_pair_lengths


class RaggedTokens(NamedTuple):
    """Tokens of many texts, one text after the other.

    Attributes:
      ids: int32 [T]; text i is `ids[ends[i - 1]:ends[i]]`.
      ends: int64 [texts].
    """

    ids: np.ndarray
    ends: np.ndarray

    def lengths(self) -> np.ndarray:
        """Returns int64 [texts], the number of tokens of each text."""
        return np.diff(self.ends, prepend=0)

    def slices(self, texts: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> RaggedTokens:
        """Returns stretches of texts, in the given order.

        Args:
          texts: int64 [N], which texts; any may come several times.
          starts: int64 [N], the first token of each stretch, counted within its text.
          lengths: int64 [N], tokens of each stretch.
        """
        ends = np.cumsum(lengths)
        begins = (self.ends - self.lengths())[texts] + starts
        places = np.repeat(begins - (ends - lengths), lengths)
        places += np.arange(len(places))
        return RaggedTokens(self.ids[places], ends)

    def take(self, texts: np.ndarray) -> RaggedTokens:
        """Returns the texts of the numbers int64 [N], in their order."""
        return self.slices(texts, np.zeros_like(texts), self.lengths()[texts])


class EncodedPairs(NamedTuple):
    """Rows as in `batches.EncodedSplit`.

    Attributes:
      ids: int32 [T], with [CLS] and [SEP]; row i is `ids[ends[i - 1]:ends[i]]`.
      ends: int64 [rows].
      segments: int32 [T], 0 for "[CLS] a [SEP]" and 1 for "b [SEP]".
    """

    ids: np.ndarray
    ends: np.ndarray
    segments: np.ndarray


def concatenate(*parts: RaggedTokens) -> RaggedTokens:
    """Returns text i of each part joined to one text, for all i; the parts have equal numbers."""
    lengths = np.stack([part.lengths() for part in parts], 1)  # [texts, parts]
    of = np.repeat(np.tile(np.arange(len(parts), dtype=np.int8), len(lengths)), lengths.ravel())
    ids = np.empty(len(of), np.int32)
    for index, part in enumerate(parts):
        ids[of == index] = part.ids
    return RaggedTokens(ids, np.cumsum(lengths.sum(1)))


def build_pairs(
    a: RaggedTokens,
    b: RaggedTokens | None,
    *,
    cls_id: int,
    sep_id: int,
    max_seq_length: int,
    cut: Cut = "longer",
) -> EncodedPairs:
    """Returns the rows "[CLS] a [SEP]", or "[CLS] a [SEP] b [SEP]" where b has tokens.

    A b without tokens adds no [SEP] (reference: classification_tasks.py, `_create_single_example`).

    Args:
      a: the first texts; cut from their end where they are too long.
      b: as many second texts; None for single texts.
      cls_id: id of [CLS].
      sep_id: id of [SEP].
      max_seq_length: tokens of a row, special ones counted.
      cut: which text of a pair that is too long loses tokens, see `cut_pair_lengths`.
    """
    assert max_seq_length >= 5
    of_a = a.lengths()
    of_b = b.lengths() if b is not None else np.zeros_like(of_a)
    assert len(of_a) == len(of_b)
    paired = (of_b > 0).astype(np.int64)
    kept_a, kept_b = cut_pair_lengths(of_a, of_b, max_seq_length - 2 - paired, cut=cut)
    one = np.ones_like(of_a)
    counts = np.stack([one, kept_a, one, kept_b, paired], 1)
    # What each position is: 0 [CLS], 1 of a, 2 [SEP], 3 of b, 4 the last [SEP].
    what = np.repeat(np.tile(np.arange(5, dtype=np.int8), len(one)), counts.ravel())
    ids = np.full(len(what), sep_id, np.int32)
    ids[what == 0] = cls_id
    ids[what == 1] = a.ids[_kept(of_a, kept_a)]
    if b is not None:
        ids[what == 3] = b.ids[_kept(of_b, kept_b)]
    return EncodedPairs(ids, np.cumsum(counts.sum(1)), (what > 2).astype(np.int32))


def _kept(lengths: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Returns bool [T], which tokens are among the first `kept` of their text."""
    counts = np.stack([kept, lengths - kept], 1).ravel()
    return np.repeat(np.tile(np.array([True, False]), len(kept)), counts)


def distinct(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Returns the distinct texts, and the index of each text among them, int64 [texts]."""
    numbers: dict[str, int] = {}
    indices = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), np.array(indices, np.int64)
