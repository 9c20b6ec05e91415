"""Kinds of masking: each is one object, and `masking=NAME` chooses it.

A kind says whether the data must have the starts of words, how many slots a sequence needs, and
how a batch is masked, with the functions of `mask_tensors.py`. This module does not import
TensorFlow: settings are checked without loading it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from electra_zh.pretraining.mask_tensors import MaskedBatch, MaskingRequest

# Fractions of MacBERT's n-grams with 1, 2, 3 and 4 words (Cui et al. 2020, section 3.1).
NGRAM_FRACTIONS = (0.4, 0.3, 0.2, 0.1)

# Slots beyond the expected number, for sequences whose words happen to make more. With words of
# 1.7 tokens and length 128, a word is cut in 0.1 % of full sequences; with one slot less in 1.2 %
# (benchmarks/count_cut_words.py).
_SPARE_SLOTS = 2


class Masking(NamedTuple):
    """A kind of masking."""

    name: str  # value of the setting `masking`
    unit: str  # unit of masking, for the help
    needs_words: bool  # the data must have the starts of words
    slots: Callable[[float, int], int]  # number of slots by mask_prob and length
    mask: Callable[[MaskingRequest], MaskedBatch]  # function that masks a batch


def _uniform(request: MaskingRequest) -> MaskedBatch:
    from electra_zh.pretraining import mask_tensors

    return mask_tensors.uniform(request)


def _of_words(*fractions: float) -> Callable[[MaskingRequest], MaskedBatch]:
    """Returns the masking of words, or of n-grams of 1, 2, ... words with these fractions."""

    def mask(request: MaskingRequest) -> MaskedBatch:
        from electra_zh.pretraining import mask_tensors

        return mask_tensors.whole_words(request, fractions)

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
