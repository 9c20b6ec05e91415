"""The base of pretraining objectives, and their results.

Shapes: B batch, L length, T = B * L tokens, N masked positions of a sequence, M = B * N,
D hidden width, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from electra_zh import machine
from electra_zh.models import heads, split
from electra_zh.models.encoder import Embeddings, Encoder
from electra_zh.models.heads import DotHead, MaskedLmHead, RtdHead, Temperature
from electra_zh.models.random import BatchPart, RandomKey
from electra_zh.models.start import start_locally
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import (
    MaskedBatch,
    MaskingRequest,
    ReplacementRates,
    SpecialIds,
)
from electra_zh.pretraining.masking import MASKINGS
from electra_zh.pretraining.networks import Networks

# Evaluations and measures draw masks and samples of steps that training never reaches.
EVALUATION_STEP = 2**33


class MaskedLmOutput(NamedTuple):
    """Output of the masked LM."""

    loss: tf.Tensor  # float32 scalar, mean of `losses` by the weights of `masked`
    losses: tf.Tensor  # float32 [B, N]
    logits: tf.Tensor  # [M, V] in the compute type
    masked: MaskedBatch  # the positions and their true tokens


class DiscriminatorOutput(NamedTuple):
    """Input and output of the discriminator."""

    loss: tf.Tensor  # float32 scalar, mean of `losses` over the counted positions of the batch
    losses: tf.Tensor  # float32 [B, L], 0 at positions that do not count
    logits: tf.Tensor  # float32 [B, L], above 0 where a token is taken to be replaced
    input_ids: tf.Tensor  # int32 [B, L], the corrupted input
    is_replaced: tf.Tensor  # int32 [B, L], the label: 1 where a token was replaced
    # int32 [B, N], what the generator drew at the masked positions; None without a generator
    sampled_ids: tf.Tensor | None
    counted: tf.Tensor  # float32 [B, L], 1 at positions with a label, 0 at padding and [MASK]


class PretrainOutput(NamedTuple):
    """Result of an objective."""

    loss: tf.Tensor  # float32 scalar to be differentiated
    mlm: MaskedLmOutput  # the generator's, or the only network's, masked LM
    disc: DiscriminatorOutput | None  # None where there is no discriminator
    clm_loss: tf.Tensor | None = None  # float32 scalar, the discriminator's masked LM loss


def mask_rate(config: PretrainConfig, step: int | tf.Tensor) -> float | tf.Tensor:
    """Returns the fraction of the tokens to predict in a step, `mask_prob` with its schedule."""
    if not config.mask_prob_end:
        return config.mask_prob
    done = tf.minimum(tf.cast(step, tf.float32) / float(config.num_train_steps), 1.0)
    return config.mask_prob + (config.mask_prob_end - config.mask_prob) * done


def mask_batch(
    batch: Mapping[str, tf.Tensor], special: SpecialIds, key: RandomKey, *, config: PretrainConfig
) -> MaskedBatch:
    """Returns a batch with positions to predict, by the kind of masking that the settings name."""
    rates = ReplacementRates(
        config.mask_keep_prob, config.mask_random_prob, config.model.vocab_size
    )
    slots = config.max_predictions_per_seq
    request = MaskingRequest(batch, special, key, mask_rate(config, key.step), slots, rates)
    return MASKINGS[config.masking].mask(request)


class BatchCounts(NamedTuple):
    """Numbers of positions in the whole batch, which its losses are divided by; float32 scalars."""

    masked: tf.Tensor  # masked positions
    detected: tf.Tensor  # positions that the discriminator judges
    candidates: tf.Tensor | None = None  # tokens that may be masked, where all are predicted


class Drawn(NamedTuple):
    """A batch, or a part of one, with the draws that need the whole batch."""

    batch: Mapping[str, tf.Tensor]  # int32 [B, L] each, as given, without masks
    masked: MaskedBatch
    counts: BatchCounts  # of the whole batch

    def part(self, part: BatchPart) -> Drawn:
        """Returns the rows of a part."""
        batch = {name: part.of(value) for name, value in self.batch.items()}
        return Drawn(batch, MaskedBatch(*map(part.of, self.masked)), self.counts)


class ObjectiveInputs(NamedTuple):
    """Input of `Objective.compute`: a batch with its masks and random draws."""

    batch: Mapping[str, tf.Tensor]  # those of `Drawn`
    masked: MaskedBatch
    counts: BatchCounts
    key: RandomKey
    dropout_key: RandomKey | None  # None without dropout
    sampled_ids: tf.Tensor | None  # int32 [B, N], the generator's draws; None draws them


class Objective(tf.Module):
    """An encoder that masks batches itself, with the masked LM that all objectives have.

    `variables` are the weights; their names are those of `models/weight_names.py`.
    """

    masked_lm_head: MaskedLmHead | None = None
    generator: Encoder | None = None

    def __init__(
        self, config: PretrainConfig, special: SpecialIds, *, embeddings: Embeddings | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.special = special
        self.compute_dtype = tf.as_dtype(machine.compute_type(config.precision))
        self.encoder = Encoder(config.model, "encoder", seed=config.seed, embeddings=embeddings)

    @property
    def generator_parts(self) -> tuple[str, ...]:
        """Parts of the weight table that belong to a separate generator; empty without one."""
        return ("generator", "masked_lm_head") if self.generator is not None else ()

    def is_generators(self, variable: tf.Variable) -> bool:
        """Returns whether a weight belongs to a separate generator."""
        return variable.name.partition("/")[0] in self.generator_parts

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The weights that are trained: all but those of a frozen network."""
        return tuple(v for v in self.variables if self.config.trains(variable_name(v.name)))

    def start_locally(self) -> None:
        """Assigns initial values by which the heads of all networks look at neighbours."""
        config = self.config
        for encoder in (self.generator, self.encoder):
            if encoder is not None and not (encoder is self.generator and config.foreign_generator):
                start_locally(encoder, length=config.max_seq_length, seed=config.seed)

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
        drawn = self.draw(batch, key=key, masked=masked)
        return self.of_draws(drawn, key=key, training=training, sampled_ids=sampled_ids)

    def draw(
        self, batch: Mapping[str, tf.Tensor], *, key: RandomKey, masked: MaskedBatch | None = None
    ) -> Drawn:
        """Masks a whole batch and counts its positions; see `__call__`."""
        masked = masked or mask_batch(batch, self.special, key, config=self.config)
        detected = tf.reduce_sum(tf.cast(batch["input_mask"], tf.float32))
        return Drawn(batch, masked, BatchCounts(tf.reduce_sum(masked.weights), detected))

    def of_draws(
        self,
        drawn: Drawn,
        *,
        key: RandomKey,
        training: bool,
        sampled_ids: tf.Tensor | None = None,
    ) -> PretrainOutput:
        """Computes the objective of a batch or a part of one, whose losses add up to the whole's.

        `key` has the part.
        """
        dropout_key = key if training else None
        return self.compute(ObjectiveInputs(*drawn, key, dropout_key, sampled_ids))

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
        table: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns logits [M, V] at the masked positions only; `table` [V, E] is the network's."""
        hidden = network(
            masked.input_ids,
            batch["input_mask"],
            batch["segment_ids"],
            dtype=self.compute_dtype,
            key=key,
            stream="masked_lm/",
            rows=functools.partial(gather_masked, masked=masked),
        )
        assert self.masked_lm_head is not None
        if table is None:
            table = network.embeddings.table()
        return self.masked_lm_head(hidden, table)

    def _masked_lm_output(
        self,
        logits: tf.Tensor,
        masked: MaskedBatch,
        counts: BatchCounts,
        *,
        temperature: Temperature = 1.0,
    ) -> tuple[MaskedLmOutput, heads.MaskedLmLosses]:
        sums = heads.masked_lm_losses(
            logits,
            tf.reshape(masked.ids, [-1]),
            temperature=temperature,
            disallow_correct=self.config.disallow_correct,
        )
        losses = tf.reshape(sums.losses, masked.ids.shape)
        loss = weighted_mean(losses, masked.weights, counts.masked)
        return MaskedLmOutput(loss, losses, logits, masked), sums

    def generator_logits(self, batch: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [B, N, V] at `positions` int32 [B, N] of `input_ids` as given."""
        if self.masked_lm_head is None:
            return tf.zeros([*positions.shape, self.config.model.vocab_size])
        masked = MaskedBatch(batch["input_ids"], positions, positions, positions)
        network = self.generator or self.encoder
        logits = self._masked_lm_logits(network, batch, masked, key=None)
        return tf.reshape(tf.cast(logits, tf.float32), [*positions.shape, logits.shape[-1]])


class Detection(Objective):
    """An objective with replaced token detection on the encoder."""

    def __init__(
        self, config: PretrainConfig, special: SpecialIds, *, embeddings: Embeddings | None = None
    ) -> None:
        super().__init__(config, special, embeddings=embeddings)
        self.rtd_head = RtdHead(config.model, "rtd_head", seed=config.seed)
        if config.rtd_head == "dot":
            self.dot_head = DotHead(config.model, "dot_head", seed=config.seed)

    def _hidden(self, batch: Mapping[str, tf.Tensor], *, key: RandomKey | None) -> tf.Tensor:
        """Returns the encoder's output, [T, D]."""
        return self.encoder(
            batch["input_ids"],
            batch["input_mask"],
            batch["segment_ids"],
            dtype=self.compute_dtype,
            key=key,
            stream="detection/",
        )

    def _detection_logits(self, hidden: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Returns float32 [B, L] for `hidden` [T, D] and the tokens shown, int32 [B, L]."""
        if self.config.rtd_head != "dot":
            return tf.reshape(self.rtd_head(hidden), ids.shape)
        flat = tf.reshape(ids, [-1])
        rows = self.encoder.embeddings.rows(flat)
        logits = self.rtd_head(hidden) + self.dot_head(hidden, rows, flat)
        return tf.reshape(logits, ids.shape)

    def replaced_probabilities(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: the probability that each token of `input_ids` was replaced."""
        hidden = self._hidden(batch, key=None)
        return tf.sigmoid(self._detection_logits(hidden, batch["input_ids"]))


def detection_output(
    logits: tf.Tensor,
    *,
    input_ids: tf.Tensor,
    is_replaced: tf.Tensor,
    counted: tf.Tensor,
    count: tf.Tensor,
    sampled_ids: tf.Tensor | None = None,
) -> DiscriminatorOutput:
    """Returns the output with the losses of logits float32 [B, L].

    `counted` [B, L] are the positions that count, and `count` is their number in the whole batch.
    """
    losses = counted * heads.sigmoid_losses(logits, tf.cast(is_replaced, tf.float32))
    loss = tf.reduce_sum(losses) / (count + 1e-6)
    return DiscriminatorOutput(loss, losses, logits, input_ids, is_replaced, sampled_ids, counted)


def gather_masked(hidden: tf.Tensor, masked: MaskedBatch) -> tf.Tensor:
    """Returns [M, D], the rows of `hidden` [T, D] at the masked positions."""
    return split.rows_at(hidden, masked.positions, masked.input_ids.shape[1])


def weighted_mean(losses: tf.Tensor, weights: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns the mean of losses by weights of 0 and 1, of which the whole batch has `count`."""
    return tf.reduce_sum(losses * weights) / (count + 1e-6)
