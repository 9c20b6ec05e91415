"""Masked LM and replaced token detection in one network and one pass, without a generator.

Some tokens are masked, and of the others some show a token from another place of the batch. The
masked LM predicts the first, and detection finds the second among all that are not masked. Such
fakes are weaker than a generator's, and a network that starts at random learns to find them.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from electra_zh.models import layers, split
from electra_zh.models.heads import MaskedLmHead
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.networks import Networks
from electra_zh.pretraining.objectives.base import (
    Detection,
    Drawn,
    ObjectiveInputs,
    PretrainOutput,
    detection_output,
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

    def draw(
        self, batch: Mapping[str, tf.Tensor], *, key: RandomKey, masked: MaskedBatch | None = None
    ) -> Drawn:
        """Masks a whole batch, draws its fakes (`fakes`, int32 [B, L]) and counts its positions."""
        drawn = super().draw(batch, key=key, masked=masked)
        detected = tf.reduce_sum(_detected(batch, drawn.masked))
        return drawn._replace(
            batch={**batch, "fakes": self._fakes(batch, key)},
            counts=drawn.counts._replace(detected=detected),
        )

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts the masked tokens and detects the replaced ones."""
        batch, masked, counts, key, dropout_key, _ = inputs
        config, original = self.config, batch["input_ids"]
        chosen = key.uniform("joint/places", original.shape.as_list()) < config.fake_prob
        chosen &= mask_tensors.candidates(batch, self.special) & ~_is_masked(masked)
        shown = tf.where(chosen, batch["fakes"], masked.input_ids)
        hidden = self._hidden({**batch, "input_ids": shown}, key=dropout_key)
        hidden, own = layers.fan_out(hidden, 2)
        logits = self.masked_lm_head(gather_masked(own, masked), self.encoder.embeddings.table())
        mlm, _ = self._masked_lm_output(logits, masked, counts)
        disc = detection_output(
            self._detection_logits(hidden, shown),
            input_ids=shown,
            is_replaced=tf.cast(chosen & (shown != original), tf.int32),
            counted=_detected(batch, masked),
            count=counts.detected,
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


def _detected(batch: Mapping[str, tf.Tensor], masked: MaskedBatch) -> tf.Tensor:
    """Returns float32 [B, L]: 1 at positions that detection judges, those that are not masked."""
    return tf.cast((batch["input_mask"] > 0) & ~_is_masked(masked), tf.float32)


def _is_masked(masked: MaskedBatch) -> tf.Tensor:
    """Returns bool [B, L]: the positions that the masked LM predicts, however they are shown."""
    nothing = tf.zeros_like(masked.input_ids)
    ones = tf.ones_like(masked.positions)
    return split.write_at(nothing, masked.positions, ones, masked.weights > 0) > 0


OBJECTIVE = Joint
