"""Measures that show a plateau or a collapse, on one batch of held-out or training data.

- `effective_rank` of the last layer at real positions: the exponential of the entropy of the
  normalised eigenvalues of the states' covariance. From 1 (all on one line) to the width.
- `neighbour_attention`: the probability at the offsets -2, -1, 1 and 2 in the head of the first two
  layers where it is highest. Evenly spread attention has 4 / L.
- `masked_lm_gain`: nats by which the masked LM is better than token frequencies, at masked
  positions that do not show their true token; 0 on the plateau. `unigram_entropy` is that of the
  data, in nats.
- `copy_accuracy` of the masked LM at masked positions that do show their true token.
- `disc_auc_tokens`: the discriminator's AUC without [CLS], [SEP], padding and [MASK].

The numbers of the networks come from TensorFlow (`tensors.py`) or from a program of it, which JAX
runs; this module does not import TensorFlow.

Shapes: B batch, L length, T tokens that are not padding, N masked positions of a sequence, D hidden
width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from electra_zh.data import pipeline
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.text.vocabulary import Vocabulary

# Positions of the batch, and of the text that token frequencies are counted in.
_POSITIONS, _COUNTED = 4096, 262_144

# Arrays of a batch by the names of `tensors.measured`.
Arrays = Mapping[str, np.ndarray]


class Sample(NamedTuple):
    """The first examples: a batch, int32 [B, L] each, and the counts of their tokens [V]."""

    batch: pipeline.Batch
    counts: np.ndarray


def make_measure(
    compute: Callable[[pipeline.Batch], Arrays],
    config: PretrainConfig,
    vocabulary: Vocabulary,
    shards: tuple[pipeline.Shard, ...],
    *,
    on_damage: pipeline.OnDamage | None = None,
) -> Callable[[], dict[str, float]]:
    """Returns a function that measures the networks as they then are, on the first examples.

    `compute` returns their arrays for a batch.
    """
    loaded: list[Sample] = []

    def measure() -> dict[str, float]:
        if not loaded:
            reading = pipeline.Reading(config.max_seq_length, config.needs_words, on_damage)
            loaded.append(_load(vocabulary, config, shards, reading))
        return summarise(compute(loaded[0].batch), loaded[0])

    return measure


def batch_rows(config: PretrainConfig, shards: tuple[pipeline.Shard, ...]) -> int:
    """Returns the number of examples that are measured."""
    examples = sum(shard.examples for shard in shards)
    return min(max(_POSITIONS // config.max_seq_length, 1), examples)


def _load(
    vocabulary: Vocabulary,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    reading: pipeline.Reading,
) -> Sample:
    rows = batch_rows(config, shards)
    most = max(_COUNTED // (rows * config.max_seq_length), 1)
    counts = np.zeros(config.model.vocab_size, np.int64)
    first: pipeline.Batch | None = None
    for batch in pipeline.OnePass(shards, reading, rows, max_batches=most):
        first = first or batch
        ids = batch["input_ids"]
        is_text = (batch["input_mask"] > 0) & ~np.isin(ids, [vocabulary.cls_id, vocabulary.sep_id])
        counts += np.bincount(ids[is_text], minlength=len(counts))
    assert first is not None
    return Sample(first, counts)


def summarise(found: Arrays, sample: Sample) -> dict[str, float]:
    """Returns the measures of the networks' arrays on the batch of a sample."""
    by_frequency, counts = -np.log(frequencies(sample.counts)), sample.counts
    measures = {"unigram_entropy": float(by_frequency @ counts / max(counts.sum(), 1))}
    if "masked_ids" in found:
        measures |= _masked_lm(found, by_frequency)
    if "disc_positives" in found:
        measures["disc_auc_tokens"] = metrics.auc(found["disc_positives"], found["disc_negatives"])
    real = sample.batch["input_mask"].reshape(-1) > 0
    for prefix in ("", "generator_"):
        if f"{prefix}states" in found:
            rank = effective_rank(found[f"{prefix}states"][real])
            measures[f"{prefix}effective_rank"] = rank
            heads = found[f"{prefix}neighbours"]
            measures[f"{prefix}neighbour_attention"] = float(np.max(heads))
    return measures


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Returns the probabilities of tokens [V] in text of which they are a sample.

    Each is estimated without the token itself (jackknife), so that a small sample does not fit
    its own text. A token that occurs once has the probability of those that occur once, shared
    with the unseen ones, whose number is Chao's estimate.
    """
    below_2, once, twice = (
        max(int(np.count_nonzero(each)), 1) for each in (counts < 2, counts == 1, counts == 2)
    )
    total = max(int(counts.sum()), 2)
    rare = min(once + once**2 / (2 * twice), below_2)
    found: np.ndarray = np.where(
        counts < 2, once / total / rare, np.maximum(counts - 1, 1) / (total - 1)
    )
    return found


def _masked_lm(found: Arrays, by_frequency: np.ndarray) -> dict[str, float]:
    """Returns the measures of the masked LM; `by_frequency` [V] are the losses of frequencies."""
    ids, used = found["masked_ids"].astype(np.int64), found["masked_weights"] > 0
    shown, hidden = used & (found["shown_ids"] == ids), used & (found["shown_ids"] != ids)
    measures = {}
    if shown.any():
        measures["copy_accuracy"] = float(np.mean(found["likeliest_ids"][shown] == ids[shown]))
    if hidden.any():
        gains = by_frequency[ids] - found["masked_losses"]
        measures["masked_lm_gain"] = float(np.mean(gains[hidden]))
    return measures


def effective_rank(states: np.ndarray) -> float:
    """Returns the effective rank of states [T, D]; 1 for states that are all the same."""
    centred = states.astype(np.float64) - states.mean(0, dtype=np.float64)
    values = np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0.0)
    return float(np.exp(entropy(values)))


def entropy(amounts: np.ndarray) -> float:
    """Returns the entropy in nats of amounts, normalised to the sum 1; 0 for nothing."""
    positive = amounts[amounts > 0]
    fractions = positive / positive.sum() if len(positive) else np.ones(1)
    return float(-np.sum(fractions * np.log(fractions)))
