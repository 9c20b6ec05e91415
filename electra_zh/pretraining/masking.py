"""Kinds of masking: each is one object, and `masking=NAME` chooses it.

A kind says whether the data must have the starts of words, how many slots a sequence needs, and
how a batch is masked, with the functions of `mask_tensors.py`. This module does not import
TensorFlow: settings are checked without loading it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf

    from electra_zh.models.random import RandomKey
    from electra_zh.pretraining.mask_tensors import MaskedBatch, ReplacementRates, SpecialIds

# Fractions of MacBERT's n-grams with 1, 2, 3 and 4 words (Cui et al. 2020, section 3.1).
NGRAM_FRACTIONS = (0.4, 0.3, 0.2, 0.1)

# Slots beyond the expected number, for sequences whose words happen to make more. With words of
# 1.7 tokens and length 128, a word is cut in 0.1 % of full sequences; with one slot less in 1.2 %
# (benchmarks/count_cut_words.py).
_SPARE_SLOTS = 2


class MaskingRequest(NamedTuple):
    """A batch to mask.

    Attributes:
      batch: int32 [B, L] `input_ids` and `input_mask`, and `word_starts` if the kind needs words.
      special: ids that are never masked, and the id to show.
      key: random key of the draw.
      mask_prob: fraction of the tokens to predict.
      max_predictions: slots for predicted positions of a sequence.
      rates: fractions of the positions that show other tokens than [MASK].
    """

    batch: Mapping[str, tf.Tensor]
    special: SpecialIds
    key: RandomKey
    mask_prob: float
    max_predictions: int
    rates: ReplacementRates


class Masking(NamedTuple):
    """A kind of masking.

    Attributes:
      name: value of the setting `masking`.
      unit: unit of masking, for the help.
      needs_words: the data must have the starts of words.
      slots: number of slots by mask_prob and length.
      mask: function that masks a batch.
    """

    name: str
    unit: str
    needs_words: bool
    slots: Callable[[float, int], int]
    mask: Callable[[MaskingRequest], MaskedBatch]


def _uniform(request: MaskingRequest) -> MaskedBatch:
    from electra_zh.pretraining import mask_tensors

    batch, special, key, mask_prob, slots, rates = request
    return mask_tensors.uniform(
        batch, special, key, mask_prob=mask_prob, max_predictions=slots, shown=rates
    )


def _of_words(*fractions: float) -> Callable[[MaskingRequest], MaskedBatch]:
    """Returns the masking of words, or of n-grams of 1, 2, ... words with these fractions."""

    def mask(request: MaskingRequest) -> MaskedBatch:
        from electra_zh.pretraining import mask_tensors

        batch, special, key, mask_prob, slots, rates = request
        return mask_tensors.whole_words(
            batch,
            special,
            key,
            mask_prob=mask_prob,
            max_predictions=slots,
            shares=fractions,
            shown=rates,
        )

    return mask


def _slots_for_tokens(mask_prob: float, length: int) -> int:
    # Parity: the reference's number (run_pretraining.py).
    return int((mask_prob + 0.005) * length)


def _slots_for_words(mask_prob: float, length: int) -> int:
    return math.ceil(mask_prob * length) + _SPARE_SLOTS


_KINDS = (
    Masking("uniform", "single tokens", False, _slots_for_tokens, _uniform),
    Masking("whole_word", "whole words", True, _slots_for_words, _of_words()),
    Masking(
        "ngram", "MacBERT's n-grams of words", True, _slots_for_words, _of_words(*NGRAM_FRACTIONS)
    ),
)
MASKINGS = {kind.name: kind for kind in _KINDS}
