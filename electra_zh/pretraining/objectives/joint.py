"""Masked LM and replaced token detection in one network and one pass, without a generator.

Some tokens are masked, and of the others some show a token from another place of the batch. The
masked LM predicts the first, and detection finds the second among all that are not masked. Such
fakes are weaker than a generator's, and a network that starts at random learns to find them.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from electra_zh.models import layers
from electra_zh.models.heads import MaskedLmHead
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.objectives.base import (
    Detection,
    Networks,
    ObjectiveInputs,
    PretrainOutput,
    detection_output,
    flat_positions,
    gather_masked,
)


class Joint(Detection):
    """Masked LM, and detection of tokens from other places of the batch."""

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns the encoder with both heads."""
        return Networks(None, config.model, True, config.detection_heads)

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        self.masked_lm_head: MaskedLmHead = MaskedLmHead(
            config.model, "masked_lm_head", seed=config.seed
        )

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts the masked tokens and detects the replaced ones."""
        batch, masked, key, dropout_key, _ = inputs
        config, original = self.config, batch["input_ids"]
        is_masked = _is_masked(masked)
        chosen = key.uniform("joint/places", original.shape.as_list()) < config.fake_prob
        chosen &= mask_tensors.candidates(batch, self.special) & ~is_masked
        shown = tf.where(chosen, self._fakes(batch, key), masked.input_ids)
        hidden = self._hidden({**batch, "input_ids": shown}, key=dropout_key)
        hidden, own = layers.fan_out(hidden, 2)
        logits = self.masked_lm_head(gather_masked(own, masked), self.encoder.embeddings.table())
        mlm, _ = self._masked_lm_output(logits, masked)
        disc = detection_output(
            self._detection_logits(hidden, shown),
            input_ids=shown,
            is_replaced=tf.cast(chosen & (shown != original), tf.int32),
            counted=tf.cast((batch["input_mask"] > 0) & ~is_masked, tf.float32),
        )
        loss = config.gen_weight * mlm.loss + config.disc_weight * disc.loss
        return PretrainOutput(loss, mlm, disc)

    def _fakes(self, batch: Mapping[str, tf.Tensor], key: RandomKey) -> tf.Tensor:
        """Returns int32 [B, L]: for every place a token of the batch, drawn evenly by place."""
        ids = batch["input_ids"]
        usable = mask_tensors.candidates(batch, self.special)
        ranks = tf.cumsum(tf.cast(tf.reshape(usable, [-1]), tf.int32))  # from 1
        count = ranks[-1]
        drawn = key.uniform("joint/fakes", ids.shape.as_list()) * tf.cast(count, tf.float32)
        wanted = tf.minimum(tf.cast(drawn, tf.int32), count - 1) + 1
        places = tf.searchsorted(ranks, tf.reshape(wanted, [-1]))
        return tf.reshape(tf.gather(tf.reshape(ids, [-1]), places), ids.shape)


def _is_masked(masked: MaskedBatch) -> tf.Tensor:
    """Returns bool [B, L]: the positions that the masked LM predicts, however they are shown."""
    rows, length = masked.input_ids.shape
    used = tf.reshape(tf.cast(masked.weights > 0, tf.int32), [-1])
    places = tf.reshape(flat_positions(masked), [-1])
    counts = tf.math.unsorted_segment_sum(used, places, rows * length)
    return tf.reshape(counts > 0, [rows, length])


OBJECTIVE = Joint
