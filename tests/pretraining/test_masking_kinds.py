"""The registry of kinds of masking: one object is all that a kind needs."""

from __future__ import annotations

import pytest
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.mask_tensors import MaskedBatch, MaskingRequest
from electra_zh.pretraining.masking import MASKINGS, Masking
from electra_zh.pretraining.objectives.base import mask_batch
from support.networks import SPECIAL, make_batch, tiny


def _first_token(request: MaskingRequest) -> MaskedBatch:
    ids = request.batch["input_ids"]
    positions = tf.ones([ids.shape[0], 1], tf.int32)
    used = tf.ones_like(positions, tf.bool)
    return mask_tensors.mask_positions(request, positions, used)


def test_one_object_adds_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Masking("first_token", "the first token", False, lambda prob, length: 1, _first_token)
    with pytest.raises(UserError, match='masking is "first_token"; allowed: uniform'):
        tiny(masking="first_token")
    monkeypatch.setitem(MASKINGS, kind.name, kind)
    config = tiny(masking="first_token", mask_keep_prob=0.0)
    assert (config.needs_words, config.max_predictions_per_seq) == (False, 1)
    masked = mask_batch(make_batch(), SPECIAL, RandomKey(0, 1), config=config)
    assert masked.positions.numpy().tolist() == [[1]] * 4


def test_the_kinds() -> None:
    assert {name: kind.needs_words for name, kind in MASKINGS.items()} == {
        "uniform": False,
        "whole_word": True,
        "ngram": True,
    }
