"""Pretraining metrics: sums on the device, results on the host.

A step gives a NamedTuple of float32 sums; sums of several steps or batches are added field by
field (`tf.nest.map_structure(tf.add, a, b)`), and `results` turns a total into numbers. float32
counts exactly up to 16.7 million: add up more than that on the host, in float64.

Names and definitions of the evaluation are the reference's (run_pretraining.py, `metric_fn`), so
that figures can be compared. Shapes: B batch, L length, N masked positions of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from electra_zh.pretraining.objectives.base import (
        DiscriminatorOutput,
        MaskedLmOutput,
        PretrainOutput,
    )

# The thresholds of tf.metrics.auc: 200, the outer ones just outside of [0, 1].
_THRESHOLDS = np.array([-1e-7, *((i + 1) / 199 for i in range(198)), 1.0 + 1e-7], dtype=np.float32)
_BUCKETS = len(_THRESHOLDS) + 1
_BUCKET_OF_ZERO = int(np.searchsorted(_THRESHOLDS, np.float32(0.0), side="left"))


class TrainingSums(NamedTuple):
    """Sums over training steps; scalars but for the histograms."""

    steps: tf.Tensor  # number of steps
    loss: tf.Tensor  # sum of the total losses; likewise the other losses
    gen_loss: tf.Tensor
    disc_loss: tf.Tensor
    clm_loss: tf.Tensor
    predicted_replaced: tf.Tensor  # number of tokens that the discriminator predicts as replaced
    # [201], histogram of its probability at replaced tokens, over real positions
    disc_positives: tf.Tensor
    disc_negatives: tf.Tensor  # [201], the same at original tokens


class EvaluationSums(NamedTuple):
    """Sums over evaluation batches; scalars but for the histograms."""

    batches: tf.Tensor  # number of batches
    loss: tf.Tensor  # sum of the batches' total losses
    masked: tf.Tensor  # number of masked positions
    masked_lm_loss: tf.Tensor  # sum of their losses
    masked_lm_correct: tf.Tensor  # of them, those whose likeliest token is the true one
    sampled: tf.Tensor  # of them, those where a generator has drawn a token
    sampled_correct: tf.Tensor  # of these, those where it is the true one
    examples: tf.Tensor  # number of examples
    disc_loss: tf.Tensor  # sum of the examples' mean losses
    padding: tf.Tensor  # number of padded positions
    real: tf.Tensor  # number of the others
    counted: tf.Tensor  # of them, those that the discriminator judges
    disc_correct: tf.Tensor  # of them, those that the discriminator gets right
    predicted_replaced: tf.Tensor  # of them, those that it takes to be replaced
    replaced: tf.Tensor  # of them, those that are replaced
    true_replaced: tf.Tensor  # of them, those where both hold
    # [201], histogram of its probability at replaced tokens, over real positions
    disc_positives: tf.Tensor
    disc_negatives: tf.Tensor  # [201], the same at original tokens


_Sums = TypeVar("_Sums", TrainingSums, EvaluationSums)

# Numbers of a step that may be NaN or infinite; without finite gradients the step is skipped.
NUMBERS = ("gradients", "gen_loss", "disc_loss", "clm_loss")


class StepSums(NamedTuple):
    """Sums over steps; those of skipped steps count in `not_finite` alone."""

    objective: TrainingSums
    gradient_norm: tf.Tensor  # of the gradients' global norms before the clip
    not_finite: tf.Tensor  # [4], numbers of steps where each of `NUMBERS` is NaN or infinite

    @property
    def skipped(self) -> int:
        """Number of skipped steps."""
        return int(self.not_finite[0])

    @classmethod
    def of_values(cls, values: Sequence[Any]) -> StepSums:
        """Returns the sums of a flat sequence of their values, in the order of the fields."""
        return cls(TrainingSums._make(values[:-2]), *values[-2:])

    @staticmethod
    def number_of_values() -> int:
        """Returns the length of the flat sequence."""
        return len(TrainingSums._fields) + 2

    def values(self) -> tuple[Any, ...]:
        """Returns the flat sequence of the values."""
        return (*self.objective, *self[1:])

    def added(self, other: StepSums | None) -> StepSums:
        """Returns the sums of both in float64: counts of many steps do not fit float32."""
        values = [np.asarray(value, np.float64) for value in self.values()]
        if other is not None:
            values = [a + b for a, b in zip(values, other.values(), strict=True)]
        return StepSums.of_values(values)


def zeros(kind: type[_Sums]) -> _Sums:
    """Returns the sums over no step or batch; the last two of either kind are histograms."""
    import tensorflow as tf

    histogram = tf.zeros([_BUCKETS])
    return kind._make([*[tf.zeros([])] * (len(kind.__annotations__) - 2), histogram, histogram])


def training_sums(output: PretrainOutput) -> TrainingSums:
    """Returns the sums of one step."""
    import tensorflow as tf

    one, zero = tf.ones([]), tf.zeros([])
    sums = zeros(TrainingSums)._replace(steps=one, loss=output.loss, gen_loss=output.mlm.loss)
    if output.clm_loss is not None:
        sums = sums._replace(clm_loss=output.clm_loss)
    if output.disc is None:
        return sums
    predicted = tf.where(output.disc.logits > 0, output.disc.counted, zero)
    positives, negatives = histograms(output.disc, output.disc.counted)
    return sums._replace(
        disc_loss=output.disc.loss,
        predicted_replaced=tf.reduce_sum(predicted),
        disc_positives=positives,
        disc_negatives=negatives,
    )


def step_sums(sums: TrainingSums, norm: tf.Tensor) -> StepSums:
    """Returns the sums of one step whose gradients have the global norm `norm`."""
    import tensorflow as tf

    losses = sums.gen_loss, sums.disc_loss, sums.clm_loss
    usable = tf.math.is_finite(norm)
    seen = 1.0 - tf.cast(tf.math.is_finite(tf.stack([norm, *losses])), tf.float32)
    objective = TrainingSums._make(tf.where(usable, value, 0.0) for value in sums)
    return StepSums(objective, tf.where(usable, norm, 0.0), tf.where(usable, 0.0, seen))


def training_results(sums: TrainingSums) -> dict[str, float]:
    """Returns the means over the steps: `loss`, `gen_loss`, and with a discriminator more.

    They are empty over no step.
    `disc_predicted_replaced` is not a mean but the number of tokens predicted as replaced.
    """
    steps = float(sums.steps)
    if not steps:
        return {}
    results = {"loss": float(sums.loss) / steps, "gen_loss": float(sums.gen_loss) / steps}
    positives, negatives = np.asarray(sums.disc_positives), np.asarray(sums.disc_negatives)
    if positives.sum() + negatives.sum() > 0:
        results["disc_loss"] = float(sums.disc_loss) / steps
        results["disc_auc_real"] = auc(positives, negatives)
        results["disc_predicted_replaced"] = float(sums.predicted_replaced)
    if sums.clm_loss:
        results["clm_loss"] = float(sums.clm_loss) / steps
    return results


def evaluation_sums(output: PretrainOutput, input_mask: tf.Tensor) -> EvaluationSums:
    """Returns the sums of one batch; `input_mask` is int32 [B, L]."""
    import tensorflow as tf

    mlm, weights = output.mlm, output.mlm.masked.weights
    likeliest = tf.reshape(tf.argmax(mlm.logits, -1, output_type=tf.int32), weights.shape)
    real = tf.cast(input_mask, tf.float32)
    sums = zeros(EvaluationSums)._replace(
        batches=tf.ones([]),
        loss=output.loss,
        masked=tf.reduce_sum(weights),
        masked_lm_loss=tf.reduce_sum(mlm.losses * weights),
        masked_lm_correct=_correct(likeliest, mlm),
        examples=tf.constant(float(input_mask.shape[0])),
        real=tf.reduce_sum(real),
        padding=tf.reduce_sum(1.0 - real),
    )
    if output.disc is None:
        return sums
    disc = output.disc
    counted = disc.counted
    predicted = tf.where(disc.logits > 0, counted, 0.0)
    replaced = tf.cast(disc.is_replaced, tf.float32) * counted
    per_example = tf.reduce_sum(disc.losses, -1) / (tf.reduce_sum(counted, -1) + 1e-6)
    positives, negatives = histograms(disc, counted)
    if disc.sampled_ids is not None:
        sums = sums._replace(
            sampled=tf.reduce_sum(weights), sampled_correct=_correct(disc.sampled_ids, mlm)
        )
    return sums._replace(
        counted=tf.reduce_sum(counted),
        disc_loss=tf.reduce_sum(per_example),
        disc_correct=tf.reduce_sum(tf.where(predicted == replaced, counted, 0.0)),
        predicted_replaced=tf.reduce_sum(predicted),
        replaced=tf.reduce_sum(replaced),
        true_replaced=tf.reduce_sum(predicted * replaced),
        disc_positives=positives,
        disc_negatives=negatives,
    )


def evaluation_results(sums: EvaluationSums) -> dict[str, float]:
    """Returns the reference's evaluation metrics, and `disc_auc_real`.

    Parity: `disc_auc` counts padding as originals of probability 0, which flatters it;
    `disc_auc_real` is over the real positions alone. `disc_precision` and `disc_recall` are 0
    where nothing is predicted or replaced. Without a discriminator, only the masked LM's.
    """
    total = {name: np.asarray(value, np.float64) for name, value in sums._asdict().items()}
    masked = total["masked"]
    results = {
        "loss": _ratio(total["loss"], total["batches"]),
        "masked_lm_accuracy": _ratio(total["masked_lm_correct"], masked),
        "masked_lm_loss": _ratio(total["masked_lm_loss"], masked),
    }
    positives, negatives = total["disc_positives"], total["disc_negatives"]
    if positives.sum() + negatives.sum() == 0:
        return results
    with_padding = negatives.copy()
    with_padding[_BUCKET_OF_ZERO] += total["padding"]
    if total["sampled"]:
        results["sampled_masked_lm_accuracy"] = _ratio(total["sampled_correct"], total["sampled"])
    return results | {
        "disc_loss": _ratio(total["disc_loss"], total["examples"]),
        "disc_auc": auc(positives, with_padding),
        "disc_auc_real": auc(positives, negatives),
        "disc_accuracy": _ratio(total["disc_correct"], total["counted"]),
        "disc_precision": _ratio(total["true_replaced"], total["predicted_replaced"]),
        "disc_recall": _ratio(total["true_replaced"], total["replaced"]),
    }


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Returns the area under the ROC curve as tf.metrics.auc computes it.

    Both arguments are [201]; bucket i counts probabilities that exceed exactly i thresholds.
    """
    # Bucket i is above thresholds 0 .. i - 1: sums from the right, without bucket 0.
    true_positives = np.cumsum(np.asarray(positives, np.float64)[:0:-1])[::-1]
    false_positives = np.cumsum(np.asarray(negatives, np.float64)[:0:-1])[::-1]
    recall = (true_positives + 1e-6) / (np.sum(positives, dtype=np.float64) + 1e-6)
    fallout = false_positives / (np.sum(negatives, dtype=np.float64) + 1e-6)
    return float(np.sum((fallout[:-1] - fallout[1:]) * (recall[:-1] + recall[1:]) / 2.0))


def histograms(disc: DiscriminatorOutput, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two [201] for `auc`: histograms at replaced and at original tokens.

    `counted` is float32 [B, L], 1 at the positions that count.
    """
    import tensorflow as tf

    probabilities = tf.reshape(tf.sigmoid(disc.logits), [-1])
    buckets = tf.searchsorted(tf.constant(_THRESHOLDS), probabilities, side="left")
    replaced = tf.cast(disc.is_replaced, tf.float32)
    counts = tf.stack([counted * replaced, counted * (1.0 - replaced)], -1)
    histogram = tf.math.unsorted_segment_sum(tf.reshape(counts, [-1, 2]), buckets, _BUCKETS)
    return histogram[:, 0], histogram[:, 1]


def _correct(ids: tf.Tensor, mlm: MaskedLmOutput) -> tf.Tensor:
    import tensorflow as tf

    return tf.reduce_sum(tf.where(ids == mlm.masked.ids, mlm.masked.weights, 0.0))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    return float(numerator / denominator) if denominator > 0 else 0.0
