"""Pretraining objectives: ELECTRA (Clark et al. 2020) and plain masked LM.

Shapes: B batch, L length, T = B * L tokens, N masked positions of a sequence, M = B * N,
D hidden width, V vocabulary.

How to use one:

    objective = build_objective(config, special)       # PretrainConfig, masking.SpecialIds
    output = objective(batch, step=step, training=True)
    output.loss                                        # float32 scalar to differentiate

`batch` maps `input_ids`, `input_mask` and `segment_ids`, and `word_starts` where the masking needs
words, to int32 [B, L] of static shape. `step` is the number of the step (int, or scalar integer
tensor): with the config's seed it fixes masking, sampling and dropout. `training=False` leaves
dropout off; masking and sampling are still drawn.
An objective is a `tf.Module`: `objective.trainable_variables` are its weights, their names are
those of `models/names.py`, and `tf.train.Checkpoint(model=objective)` holds all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from electra_zh.models import heads
from electra_zh.models.config import generator_config
from electra_zh.models.encoder import Encoder
from electra_zh.models.heads import MaskedLmHead, RtdHead
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import masking
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.masking import MaskedBatch, ReplacementRates, SpecialIds


class MaskedLmOutput(NamedTuple):
    """What the masked LM computed.

    Attributes:
      loss: float32 scalar, mean of `losses` by the weights of `masked`.
      losses: float32 [B, N].
      logits: [M, V] in the compute type.
      masked: the positions and their true tokens.
    """

    loss: tf.Tensor
    losses: tf.Tensor
    logits: tf.Tensor
    masked: MaskedBatch


class DiscriminatorOutput(NamedTuple):
    """What the discriminator saw and computed.

    Attributes:
      loss: float32 scalar, mean of `losses` over the real positions of the batch.
      losses: float32 [B, L], 0 at padding.
      logits: float32 [B, L], above 0 where a token is taken to be replaced.
      input_ids: int32 [B, L], the corrupted input.
      is_replaced: int32 [B, L], 1 where it differs from the original.
      sampled_ids: int32 [B, N], what the generator drew at the masked positions.
    """

    loss: tf.Tensor
    losses: tf.Tensor
    logits: tf.Tensor
    input_ids: tf.Tensor
    is_replaced: tf.Tensor
    sampled_ids: tf.Tensor


class PretrainOutput(NamedTuple):
    """Result of an objective.

    Attributes:
      loss: float32 scalar to be differentiated.
      mlm: the generator's, or the only network's, masked LM.
      disc: None where there is no discriminator.
    """

    loss: tf.Tensor
    mlm: MaskedLmOutput
    disc: DiscriminatorOutput | None


def build_objective(config: PretrainConfig, special: SpecialIds) -> Electra | MaskedLM:
    """Returns the objective that the settings name."""
    return Electra(config, special) if config.electra_objective else MaskedLM(config, special)


def mask_batch(
    batch: Mapping[str, tf.Tensor], special: SpecialIds, key: RandomKey, *, config: PretrainConfig
) -> MaskedBatch:
    """Returns a batch with positions to predict, by the kind of masking that the settings name."""
    shown = ReplacementRates(
        config.mask_keep_prob, config.mask_random_prob, config.model.vocab_size
    )
    mask_prob, slots = config.mask_prob, config.max_predictions_per_seq
    if config.masking == "uniform":
        return masking.uniform(
            batch, special, key, mask_prob=mask_prob, max_predictions=slots, shown=shown
        )
    return masking.whole_words(
        batch,
        special,
        key,
        mask_prob=mask_prob,
        max_predictions=slots,
        shares=masking.NGRAM_SHARES if config.masking == "ngram" else (),
        shown=shown,
    )


class _Objective(tf.Module):
    """What the objectives share: settings, masking, masked LM."""

    masked_lm_head: MaskedLmHead | None
    generator: Encoder | None = None

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__()
        self.config = config
        self.special = special
        self.compute_dtype = tf.as_dtype(config.precision)
        self.encoder = Encoder(config.model, "encoder", seed=config.seed)

    def _key(self, step: int | tf.Tensor) -> RandomKey:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Replicas see different examples and must not share their randomness.
        return RandomKey(
            self.config.seed, tf.cast(step, tf.int64) + tf.cast(replica, tf.int64) * 2**40
        )

    def _mask(self, batch: Mapping[str, tf.Tensor], key: RandomKey) -> MaskedBatch:
        return mask_batch(batch, self.special, key, config=self.config)

    def _masked_lm_logits(
        self,
        network: Encoder,
        batch: Mapping[str, tf.Tensor],
        masked: MaskedBatch,
        *,
        key: RandomKey | None,
    ) -> tf.Tensor:
        """Returns logits [M, V] at the masked positions only."""
        assert self.masked_lm_head is not None
        hidden = network(
            masked.input_ids,
            batch["input_mask"],
            batch["segment_ids"],
            dtype=self.compute_dtype,
            key=key,
            stream="masked_lm/",
        )
        rows, length = masked.input_ids.shape
        flat = masked.positions + length * tf.range(rows)[:, None]
        picked = tf.gather(hidden, tf.reshape(flat, [-1]))  # [M, D]
        return self.masked_lm_head(picked, network.embeddings.word_embeddings)

    def _masked_lm_output(
        self, logits: tf.Tensor, masked: MaskedBatch
    ) -> tuple[MaskedLmOutput, heads.MaskedLmLosses]:
        sums = heads.masked_lm_losses(
            logits,
            tf.reshape(masked.ids, [-1]),
            temperature=self.config.temperature,
            disallow_correct=self.config.disallow_correct,
        )
        losses = tf.reshape(sums.losses, masked.ids.shape)
        loss = tf.reduce_sum(losses * masked.weights) / (tf.reduce_sum(masked.weights) + 1e-6)
        return MaskedLmOutput(loss, losses, logits, masked), sums

    def generator_logits(self, batch: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [B, N, V] at `positions` int32 [B, N] of `input_ids` as given."""
        masked = MaskedBatch(batch["input_ids"], positions, positions, positions)
        network = self.generator or self.encoder
        logits = self._masked_lm_logits(network, batch, masked, key=None)
        return tf.reshape(tf.cast(logits, tf.float32), [*positions.shape, logits.shape[-1]])


class MaskedLM(_Objective):
    """Masked LM with one full-size network: BERT without next sentence prediction."""

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        self.masked_lm_head = MaskedLmHead(config.model, "masked_lm_head", seed=config.seed)

    def __call__(
        self,
        batch: Mapping[str, tf.Tensor],
        *,
        step: int | tf.Tensor,
        training: bool,
        masked: MaskedBatch | None = None,
    ) -> PretrainOutput:
        """Computes the objective; `masked` fixes what is else drawn."""
        key = self._key(step)
        masked = masked or self._mask(batch, key)
        dropout_key = key if training else None
        logits = self._masked_lm_logits(self.encoder, batch, masked, key=dropout_key)
        mlm, _ = self._masked_lm_output(logits, masked)
        return PretrainOutput(self.config.gen_weight * mlm.loss, mlm, None)


class Electra(_Objective):
    """Replaced token detection: a generator fills masks, a discriminator finds its fillings."""

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        self.masked_lm_head = None
        if config.untied_generator and not config.uniform_generator:
            small = generator_config(
                config.model,
                generator_layers=config.generator_layers,
                generator_hidden_size=config.generator_hidden_size,
                untied_embeddings=config.untied_generator_embeddings,
            )
            shared = None if config.untied_generator_embeddings else self.encoder.embeddings
            self.generator = Encoder(small, "generator", seed=config.seed, embeddings=shared)
        if not config.uniform_generator:
            network = self.generator or self.encoder
            self.masked_lm_head = MaskedLmHead(network.config, "masked_lm_head", seed=config.seed)
        self.rtd_head = RtdHead(config.model, "rtd_head", seed=config.seed)

    def __call__(
        self,
        batch: Mapping[str, tf.Tensor],
        *,
        step: int | tf.Tensor,
        training: bool,
        masked: MaskedBatch | None = None,
        sampled_ids: tf.Tensor | None = None,
    ) -> PretrainOutput:
        """Computes the objective; `masked` and `sampled_ids` [B, N] fix what is else drawn."""
        key = self._key(step)
        masked = masked or self._mask(batch, key)
        dropout_key = key if training else None
        if self.config.uniform_generator:
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
        corrupted = masking.replace_at(original, masked.positions, sampled_ids, used)
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

    def generator_logits(self, batch: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [B, N, V] at `positions` int32 [B, N] of `input_ids` as given."""
        if self.config.uniform_generator:
            return tf.zeros([*positions.shape, self.config.model.vocab_size])
        return super().generator_logits(batch, positions)

    def replaced_probabilities(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: how likely each token of `input_ids` was replaced."""
        return tf.sigmoid(self._discriminator_logits(batch, key=None))
