"""Replaced token detection (ELECTRA: Clark et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from electra_zh.models import heads, layers, split
from electra_zh.models.encoder import DisentangledEmbeddings, Encoder
from electra_zh.models.heads import MaskedLmHead, Temperature
from electra_zh.models.random import RandomKey
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.networks import Networks
from electra_zh.pretraining.objectives.base import (
    Detection,
    DiscriminatorOutput,
    ObjectiveInputs,
    PretrainOutput,
    detection_output,
    gather_masked,
    weighted_mean,
)


class Electra(Detection):
    """Replaced token detection: a generator fills masks, a discriminator finds its fillings."""

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns both networks; the generator may share the encoder, or be none at all."""
        further = (*(["clm_head"] if config.clm_weight else []), *config.detection_heads)
        if config.uniform_generator:
            return Networks(None, None, True, further)
        if not config.untied_generator:
            return Networks(None, config.model, True, further)
        generator = config.generator_model()
        return Networks(generator, generator, True, further)

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        size, masked_lm, *_ = self.networks(config)
        generator, embeddings = None, None
        if size is not None and config.has_own_generator_embeddings:
            generator = Encoder(size, "generator", seed=config.seed)
        if config.gdes:
            assert generator is not None
            path, base = "encoder/embeddings", generator.embeddings
            embeddings = DisentangledEmbeddings(config.model, path, base, seed=config.seed)
        super().__init__(config, special, embeddings=embeddings)
        if size is not None and generator is None:
            shared = self.encoder.embeddings
            generator = Encoder(size, "generator", seed=config.seed, embeddings=shared)
        if generator is not None:
            self.generator = generator
        if masked_lm is not None:
            self.masked_lm_head = MaskedLmHead(masked_lm, "masked_lm_head", seed=config.seed)
        if config.clm_weight:
            self.clm_head = MaskedLmHead(config.model, "clm_head", seed=config.seed)

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts the masked tokens, draws replacements and detects them."""
        config = self.config
        batch, masked, counts, key, dropout_key, sampled_ids = inputs
        tables = self._tables()
        logits = self._fill_logits(batch, masked, key=dropout_key, table=tables[0])
        temperature = self.temperature(key.step)
        mlm, sums = self._masked_lm_output(logits, masked, counts, temperature=temperature)
        if config.discriminator_frozen:
            return PretrainOutput(config.gen_weight * mlm.loss, mlm, None)
        if sampled_ids is None:
            sampled_ids = heads.sample_tokens(
                tf.stop_gradient(logits),
                sums,
                tf.reshape(key.uniform("sampling", masked.ids.shape.as_list()), [-1]),
                ids=tf.reshape(masked.ids, [-1]),
                temperature=temperature,
                disallow_correct=config.disallow_correct,
            )
            sampled_ids = tf.reshape(sampled_ids, masked.ids.shape)
        disc, hidden = self._discriminate(inputs._replace(sampled_ids=sampled_ids))
        clm_loss = None if hidden is None else self._clm_loss(hidden, inputs, tables[1])
        loss = config.disc_weight * disc.loss
        if not config.is_generator_frozen:
            loss = config.gen_weight * mlm.loss + loss
        if clm_loss is not None:
            loss += config.clm_weight * clm_loss
        return PretrainOutput(loss, mlm, disc, clm_loss)

    def _tables(self) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Returns the word embeddings for the generator's head, None for its own, and for the clm.

        Shared ones are used by both: a weight with three uses would be added up in no fixed order.
        """
        table, config = self.encoder.embeddings.table(), self.config
        is_shared = self.masked_lm_head is not None and not config.has_own_generator_embeddings
        if not config.clm_weight or not is_shared:
            return None, table
        first, second = layers.fan_out(tf.convert_to_tensor(table), 2)
        return first, second

    def _fill_logits(
        self,
        batch: Mapping[str, tf.Tensor],
        masked: MaskedBatch,
        *,
        key: RandomKey | None,
        table: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the generator's logits [M, V]; a frozen one is as it is in use."""
        if self.masked_lm_head is None:
            return tf.zeros([masked.ids.shape.num_elements(), self.config.model.vocab_size])
        frozen = self.config.is_generator_frozen
        network = self.generator or self.encoder
        key = None if frozen else key
        logits = self._masked_lm_logits(network, batch, masked, key=key, table=table)
        return tf.stop_gradient(logits) if frozen else logits

    def temperature(self, step: int | tf.Tensor) -> Temperature:
        """Returns the temperature of a step (Fast-ELECTRA: Dong et al. 2024, section 3.2)."""
        config = self.config
        if not config.temperature_start:
            return config.temperature
        decayed = config.temperature_decay * float(config.num_train_steps)
        rest = tf.exp(-tf.cast(step, tf.float32) / decayed)
        return config.temperature + (config.temperature_start - config.temperature) * rest

    def _discriminate(
        self, inputs: ObjectiveInputs
    ) -> tuple[DiscriminatorOutput, tf.Tensor | None]:
        """Returns the output, and the encoder's [T, D] for the discriminator's masked LM."""
        # The corrupted input starts from the original: [MASK] is nowhere in it.
        batch, masked, sampled_ids = inputs.batch, inputs.masked, inputs.sampled_ids
        original = batch["input_ids"]
        used = masked.weights > 0
        corrupted = split.write_at(original, masked.positions, sampled_ids, used)
        is_replaced = tf.cast(corrupted != original, tf.int32)
        hidden = self._hidden({**batch, "input_ids": corrupted}, key=inputs.dropout_key)
        own = None
        if self.config.clm_weight:
            hidden, own = layers.fan_out(hidden, 2)
        disc = detection_output(
            self._detection_logits(hidden, corrupted),
            input_ids=corrupted,
            is_replaced=is_replaced,
            counted=tf.cast(batch["input_mask"], tf.float32),
            count=inputs.counts.detected,
            sampled_ids=sampled_ids,
        )
        return disc, own

    def _clm_loss(self, hidden: tf.Tensor, inputs: ObjectiveInputs, table: tf.Tensor) -> tf.Tensor:
        """Returns the masked LM loss of the discriminator at the corrupted positions.

        They show a fake, or by chance the true token, as in COCO-LM (Meng et al. 2021).
        """
        masked = inputs.masked
        logits = self.clm_head(gather_masked(hidden, masked), table)
        losses = heads.masked_lm_losses(logits, tf.reshape(masked.ids, [-1])).losses
        losses = tf.reshape(losses, masked.ids.shape)
        return weighted_mean(losses, masked.weights, inputs.counts.masked)


OBJECTIVE = Electra
