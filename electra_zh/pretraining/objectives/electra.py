"""Replaced token detection (ELECTRA: Clark et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from electra_zh.models import heads
from electra_zh.models.config import generator_config
from electra_zh.models.encoder import Encoder
from electra_zh.models.heads import MaskedLmHead, RtdHead
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.objectives.base import (
    DiscriminatorOutput,
    Networks,
    Objective,
    ObjectiveInputs,
    PretrainOutput,
)


class Electra(Objective):
    """Replaced token detection: a generator fills masks, a discriminator finds its fillings."""

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns both networks; the generator may share the encoder, or be none at all."""
        if config.uniform_generator:
            return Networks(None, None, has_detection=True)
        if not config.untied_generator:
            return Networks(None, config.model, has_detection=True)
        generator = generator_config(
            config.model,
            generator_layers=config.generator_layers,
            generator_hidden_size=config.generator_hidden_size,
            untied_embeddings=config.untied_generator_embeddings,
        )
        return Networks(generator, generator, has_detection=True)

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        generator, masked_lm, _ = self.networks(config)
        if generator is not None:
            shared = None if config.untied_generator_embeddings else self.encoder.embeddings
            self.generator = Encoder(generator, "generator", seed=config.seed, embeddings=shared)
        if masked_lm is not None:
            self.masked_lm_head = MaskedLmHead(masked_lm, "masked_lm_head", seed=config.seed)
        self.rtd_head = RtdHead(config.model, "rtd_head", seed=config.seed)

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts the masked tokens, draws replacements and detects them."""
        batch, masked, key, dropout_key, sampled_ids = inputs
        if self.masked_lm_head is None:
            logits = tf.zeros([masked.ids.shape.num_elements(), self.config.model.vocab_size])
        else:
            network = self.generator or self.encoder
            logits = self._masked_lm_logits(network, batch, masked, key=dropout_key)
        mlm, sums = self._masked_lm_output(logits, masked)
        if sampled_ids is None:
            sampled_ids = heads.sample_tokens(
                tf.stop_gradient(logits),
                sums,
                key.uniform("sampling", [logits.shape[0]]),
                ids=tf.reshape(masked.ids, [-1]),
                temperature=self.config.temperature,
                disallow_correct=self.config.disallow_correct,
            )
            sampled_ids = tf.reshape(sampled_ids, masked.ids.shape)
        disc = self._discriminate(batch, masked, sampled_ids, key=dropout_key)
        loss = self.config.gen_weight * mlm.loss + self.config.disc_weight * disc.loss
        return PretrainOutput(loss, mlm, disc)

    def _discriminate(
        self,
        batch: Mapping[str, tf.Tensor],
        masked: MaskedBatch,
        sampled_ids: tf.Tensor,
        *,
        key: RandomKey | None,
    ) -> DiscriminatorOutput:
        # The corrupted input starts from the original: [MASK] is nowhere in it.
        original = batch["input_ids"]
        used = masked.weights > 0
        corrupted = mask_tensors.replace_at(original, masked.positions, sampled_ids, used)
        is_replaced = tf.cast(corrupted != original, tf.int32)
        logits = self._discriminator_logits({**batch, "input_ids": corrupted}, key=key)
        real = tf.cast(batch["input_mask"], tf.float32)
        losses = real * heads.sigmoid_losses(logits, tf.cast(is_replaced, tf.float32))
        loss = tf.reduce_sum(losses) / (tf.reduce_sum(real) + 1e-6)
        return DiscriminatorOutput(loss, losses, logits, corrupted, is_replaced, sampled_ids)

    def _discriminator_logits(
        self, batch: Mapping[str, tf.Tensor], *, key: RandomKey | None
    ) -> tf.Tensor:
        hidden = self.encoder(
            batch["input_ids"],
            batch["input_mask"],
            batch["segment_ids"],
            dtype=self.compute_dtype,
            key=key,
            stream="detection/",
        )
        return tf.reshape(self.rtd_head(hidden), batch["input_ids"].shape)

    def replaced_probabilities(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: the probability that each token of `input_ids` was replaced."""
        return tf.sigmoid(self._discriminator_logits(batch, key=None))


OBJECTIVE = Electra
