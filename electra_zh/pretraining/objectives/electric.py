"""Electric: energies of tokens by noise-contrastive estimation (Clark et al. 2020, EMNLP).

Reference: run_pretraining.py, `electric_objective`. The generator, which gives the noise q, is a
cloze model of two towers. Each position is predicted from the states of its two neighbours: left
to right from the left one, right to left from the right one. So one pass gives q of every token
in its context. The detection head's output plus log q(token) plus the log-odds of masking is the
logit of "drawn from the noise", which every masked position is.

Shapes: B batch, L length, T = B * L tokens, M = B * N masked positions, D width of a tower, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from electra_zh.models import heads, layers, split
from electra_zh.models.encoder import Encoder
from electra_zh.models.heads import MaskedLmHead, MaskedLmLosses
from electra_zh.models.random import RandomKey
from electra_zh.models.start import start_locally
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.networks import Networks
from electra_zh.pretraining.objectives.base import (
    BatchCounts,
    Detection,
    Drawn,
    MaskedLmOutput,
    ObjectiveInputs,
    PretrainOutput,
    detection_output,
    mask_rate,
    weighted_mean,
)


class Electric(Detection):
    """A cloze model of two towers draws noise, and the encoder's energies tell it from text."""

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns the encoder with the detection head, and the size of the towers."""
        return Networks(None, None, True, config.detection_heads, config.generator_model())

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        size = config.generator_model()
        shared = None if config.untied_generator_embeddings else self.encoder.embeddings
        self.generator_ltr, self.generator_rtl = (
            Encoder(size, f"generator_{way}", seed=config.seed, embeddings=shared)
            for way in ("ltr", "rtl")
        )
        width = 2 * size.hidden_size
        self.cloze_head = MaskedLmHead(size, "cloze_head", seed=config.seed, width=width)

    @property
    def generator_parts(self) -> tuple[str, ...]:
        """Parts of the weight table that belong to the generator."""
        return ("generator_ltr", "generator_rtl", "cloze_head")

    def start_locally(self) -> None:
        """Assigns initial values by which all heads look at neighbours that they can see."""
        super().start_locally()
        for tower, way in ((self.generator_ltr, -1), (self.generator_rtl, 1)):
            length, seed = self.config.max_seq_length, self.config.seed
            start_locally(tower, length=length, seed=seed, direction=way)

    def draw(
        self, batch: Mapping[str, tf.Tensor], *, key: RandomKey, masked: MaskedBatch | None = None
    ) -> Drawn:
        """Masks a whole batch and counts its positions, and those that the cloze model predicts."""
        drawn = super().draw(batch, key=key, masked=masked)
        candidates = tf.reduce_sum(self._candidates(batch))
        return drawn._replace(counts=drawn.counts._replace(candidates=candidates))

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts every token from its context, draws noise and detects it."""
        batch, masked, counts, key, dropout_key, sampled_ids = inputs
        config, original = self.config, batch["input_ids"]
        logits = self._cloze_logits(batch, key=dropout_key)  # [T, V]
        sums = heads.masked_lm_losses(
            logits, tf.reshape(original, [-1]), temperature=config.temperature
        )
        assert counts.candidates is not None
        losses = tf.reshape(sums.losses, original.shape)
        cloze_loss = weighted_mean(losses, self._candidates(batch), counts.candidates)
        mlm, picked = self._at_masked(logits, sums, masked, counts)
        if sampled_ids is None:
            drawn = heads.sample_tokens(
                mlm.logits,
                picked,
                tf.reshape(key.uniform("sampling", masked.ids.shape.as_list()), [-1]),
                ids=tf.reshape(masked.ids, [-1]),
                temperature=config.temperature,
            )
            sampled_ids = tf.reshape(drawn, masked.ids.shape)
        used = masked.weights > 0
        corrupted = split.write_at(original, masked.positions, sampled_ids, used)
        # Parity: q is that of the original text's contexts, without the other replacements.
        log_q = _log_q(logits, sums, original, corrupted)
        hidden = self._hidden({**batch, "input_ids": corrupted}, key=dropout_key)
        disc = detection_output(
            self._detection_logits(hidden, corrupted) + log_q + self._log_odds(key.step),
            input_ids=corrupted,
            # Parity: every masked position, drawn right or not.
            is_replaced=split.write_at(
                tf.zeros_like(original), masked.positions, tf.ones_like(sampled_ids), used
            ),
            counted=tf.cast(batch["input_mask"], tf.float32),
            count=counts.detected,
            sampled_ids=sampled_ids,
        )
        loss = config.gen_weight * cloze_loss + config.disc_weight * disc.loss
        return PretrainOutput(loss, mlm, disc)

    def _cloze_logits(self, batch: Mapping[str, tf.Tensor], *, key: RandomKey | None) -> tf.Tensor:
        """Returns logits [T, V] of the token at every position, from its context alone."""
        ids, mask = batch["input_ids"], tf.cast(batch["input_mask"], tf.float32)
        length = ids.shape[1]
        before = tf.linalg.band_part(tf.ones([length, length]), -1, 0)[None]  # [1, L, L]
        ltr, rtl = self.generator_ltr, self.generator_rtl
        if ltr.embeddings is rtl.embeddings:
            # Embedded once: a weight with three uses would be added up in no fixed order.
            embedded = layers.fan_out(self._embed(ltr, batch, key), 2)
        else:
            embedded = tuple(self._embed(tower, batch, key) for tower in (ltr, rtl))
        states = []
        for tower, x, visible, shift in (
            (ltr, embedded[0], before, 1),
            (rtl, embedded[1], tf.transpose(before, [0, 2, 1]), -1),
        ):
            stream = f"cloze/{tower.path}"
            out = tower.transform(x, mask[:, None] * visible, key=key, stream=stream)
            out = tf.reshape(out, [*ids.shape, out.shape[-1]])
            # Parity: the ends wrap round, to positions that are not predicted.
            states.append(tf.roll(out, shift, 1))
        both = tf.concat(states, -1)  # [B, L, 2 D]
        flat = tf.reshape(both, [-1, both.shape[-1]])
        return self.cloze_head(flat, ltr.embeddings.table())

    def _embed(
        self, tower: Encoder, batch: Mapping[str, tf.Tensor], key: RandomKey | None
    ) -> tf.Tensor:
        return tower.embeddings(
            batch["input_ids"],
            batch["segment_ids"],
            dtype=self.compute_dtype,
            key=key,
            stream=f"cloze/{tower.path}",
        )

    def _candidates(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: 1 at tokens that may be masked."""
        return tf.cast(mask_tensors.candidates(batch, self.special), tf.float32)

    def _at_masked(
        self, logits: tf.Tensor, sums: MaskedLmLosses, masked: MaskedBatch, counts: BatchCounts
    ) -> tuple[MaskedLmOutput, MaskedLmLosses]:
        """Returns the cloze model's output at the masked positions; it carries no derivative."""
        positions, length = masked.positions, masked.input_ids.shape[1]
        picked = MaskedLmLosses(*(split.values_at(each, positions, length) for each in sums))
        losses = tf.reshape(picked.losses, masked.ids.shape)
        loss = weighted_mean(losses, masked.weights, counts.masked)
        found = split.values_at(logits, positions, length)
        return MaskedLmOutput(loss, losses, found, masked), picked

    def _log_odds(self, step: int | tf.Tensor) -> tf.Tensor:
        rate = tf.convert_to_tensor(mask_rate(self.config, step), tf.float32)
        return tf.math.log(rate / (1.0 - rate))

    def replaced_probabilities(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns float32 [B, L]: the probability that each token of `input_ids` was replaced."""
        ids = batch["input_ids"]
        logits = self._cloze_logits(batch, key=None)
        sums = heads.masked_lm_losses(logits, tf.reshape(ids, [-1]))
        log_q = _log_q(logits, sums, ids, ids)
        energies = self._detection_logits(self._hidden(batch, key=None), ids)
        return tf.sigmoid(energies + log_q + self._log_odds(self.config.num_train_steps))

    def generator_logits(self, batch: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [B, N, V] at `positions` int32 [B, N], whatever is shown there."""
        logits = self._cloze_logits(batch, key=None)
        shape = [*batch["input_ids"].shape, logits.shape[-1]]
        found = tf.gather(tf.reshape(logits, shape), positions, batch_dims=1)
        return tf.cast(found, tf.float32)


def _log_q(logits: tf.Tensor, sums: MaskedLmLosses, ids: tf.Tensor, shown: tf.Tensor) -> tf.Tensor:
    """Returns float32 [B, L], the log-probability of tokens `shown`, without a derivative.

    `logits` are [T, V], and `sums` has their losses for the tokens `ids`, both int32 [B, L].
    """
    own, other = (
        tf.cast(split.columns_at(logits, tf.reshape(each, [-1])), tf.float32)
        for each in (ids, shown)
    )
    return tf.reshape(other - own - tf.stop_gradient(sums.losses), ids.shape)


OBJECTIVE = Electric
