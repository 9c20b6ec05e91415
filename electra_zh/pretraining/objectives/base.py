"""The base of pretraining objectives, and their results.

Shapes: B batch, L length, T = B * L tokens, N masked positions of a sequence, M = B * N,
D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from electra_zh.models import heads
from electra_zh.models.config import ModelConfig
from electra_zh.models.encoder import Encoder
from electra_zh.models.heads import MaskedLmHead
from electra_zh.models.random import RandomKey
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import (
    MaskedBatch,
    MaskingRequest,
    ReplacementRates,
    SpecialIds,
)
from electra_zh.pretraining.masking import MASKINGS


class MaskedLmOutput(NamedTuple):
    """Output of the masked LM."""

    loss: tf.Tensor  # float32 scalar, mean of `losses` by the weights of `masked`
    losses: tf.Tensor  # float32 [B, N]
    logits: tf.Tensor  # [M, V] in the compute type
    masked: MaskedBatch  # the positions and their true tokens


class DiscriminatorOutput(NamedTuple):
    """Input and output of the discriminator."""

    loss: tf.Tensor  # float32 scalar, mean of `losses` over the real positions of the batch
    losses: tf.Tensor  # float32 [B, L], 0 at padding
    logits: tf.Tensor  # float32 [B, L], above 0 where a token is taken to be replaced
    input_ids: tf.Tensor  # int32 [B, L], the corrupted input
    is_replaced: tf.Tensor  # int32 [B, L], 1 where it differs from the original
    sampled_ids: tf.Tensor  # int32 [B, N], what the generator drew at the masked positions


class PretrainOutput(NamedTuple):
    """Result of an objective."""

    loss: tf.Tensor  # float32 scalar to be differentiated
    mlm: MaskedLmOutput  # the generator's, or the only network's, masked LM
    disc: DiscriminatorOutput | None  # None where there is no discriminator


def mask_batch(
    batch: Mapping[str, tf.Tensor], special: SpecialIds, key: RandomKey, *, config: PretrainConfig
) -> MaskedBatch:
    """Returns a batch with positions to predict, by the kind of masking that the settings name."""
    rates = ReplacementRates(
        config.mask_keep_prob, config.mask_random_prob, config.model.vocab_size
    )
    slots = config.max_predictions_per_seq
    request = MaskingRequest(batch, special, key, config.mask_prob, slots, rates)
    return MASKINGS[config.masking].mask(request)


class ObjectiveInputs(NamedTuple):
    """Input of `Objective.compute`: a batch with its masks and random draws."""

    batch: Mapping[str, tf.Tensor]  # int32 [B, L] each, as given, without masks
    masked: MaskedBatch
    key: RandomKey
    dropout_key: RandomKey | None  # None without dropout
    sampled_ids: tf.Tensor | None  # int32 [B, N], the generator's draws; None draws them


class Networks(NamedTuple):
    """The networks of an objective. `encoder`, which fine-tuning keeps, is always there."""

    generator: ModelConfig | None  # size of a generator with variables of its own; None without one
    # size of the network that the masked LM head belongs to; None without the head
    masked_lm: ModelConfig | None
    has_detection: bool  # True with a head of replaced token detection on the encoder


class Objective(tf.Module):
    """An encoder that masks batches itself, with the masked LM that all objectives have.

    `trainable_variables` are the weights; their names are those of `models/weight_names.py`.
    """

    masked_lm_head: MaskedLmHead | None = None
    generator: Encoder | None = None

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__()
        self.config = config
        self.special = special
        self.compute_dtype = tf.as_dtype(config.precision)
        self.encoder = Encoder(config.model, "encoder", seed=config.seed)

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns the networks that the settings give, without making them."""
        raise NotImplementedError

    def __call__(
        self,
        batch: Mapping[str, tf.Tensor],
        *,
        step: int | tf.Tensor,
        training: bool,
        masked: MaskedBatch | None = None,
        sampled_ids: tf.Tensor | None = None,
    ) -> PretrainOutput:
        """Computes the objective.

        Args:
          batch: int32 [B, L] of static shape: `input_ids`, `input_mask`, `segment_ids`, and
            `word_starts` if the masking needs words.
          step: number of the step; with the seed it determines masking, sampling and dropout.
          training: False turns dropout off; masking and sampling are still drawn.
          masked: the masked batch; None draws it.
          sampled_ids: int32 [B, N], the generator's draws; None draws them.
        """
        key = RandomKey(self.config.seed, step)
        masked = masked or mask_batch(batch, self.special, key, config=self.config)
        dropout_key = key if training else None
        return self.compute(ObjectiveInputs(batch, masked, key, dropout_key, sampled_ids))

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Computes the objective of a masked batch."""
        raise NotImplementedError

    def replaced_probabilities(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: the probability that each token of `input_ids` was replaced."""
        raise NotImplementedError

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
        if self.masked_lm_head is None:
            return tf.zeros([*positions.shape, self.config.model.vocab_size])
        masked = MaskedBatch(batch["input_ids"], positions, positions, positions)
        network = self.generator or self.encoder
        logits = self._masked_lm_logits(network, batch, masked, key=None)
        return tf.reshape(tf.cast(logits, tf.float32), [*positions.shape, logits.shape[-1]])
