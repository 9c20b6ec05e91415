"""Which positions of a batch are predicted: all on the device, with static shapes.

Shapes: B batch, L length, N masked positions of a sequence at most.

A kind of masking is a function (batch, settings, key) -> MaskedBatch. A new kind chooses its
positions and ends with `mask_positions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from electra_zh.models.layers import RandomKey

# Of the predicted positions, the share that is shown as [MASK]; the others show the true token.
SHOWN_AS_MASK = 0.85


class SpecialIds(NamedTuple):
    """Ids of the tokens that masking knows."""

    pad: int
    cls: int
    sep: int
    mask: int


class MaskedBatch(NamedTuple):
    """A batch with positions to predict.

    Attributes:
      input_ids: int32 [B, L], what the generator sees.
      positions: int32 [B, N], distinct within a sequence; 0 in unused slots.
      ids: int32 [B, N], the true tokens there; 0 in unused slots.
      weights: float32 [B, N], 1 in used slots and 0 in unused ones.
    """

    input_ids: tf.Tensor
    positions: tf.Tensor
    ids: tf.Tensor
    weights: tf.Tensor


def uniform(
    batch: Mapping[str, tf.Tensor],
    special: SpecialIds,
    key: RandomKey,
    *,
    mask_prob: float,
    max_predictions: int,
) -> MaskedBatch:
    """Masks positions drawn uniformly without replacement.

    The number in a sequence is the reference's, max(1, min(N, round(tokens * mask_prob))) with all
    its tokens counted, rounded half to even, but never more than it has candidates. Candidates
    are the tokens that are not [CLS], [SEP] or [MASK]. (The reference draws with replacement.)

    Args:
      batch: int32 [B, L] `input_ids` and `input_mask`.
      special: ids that are never masked, and the id to show.
      key: what the draw follows from.
      mask_prob: share of the tokens to predict.
      max_predictions: N.
    """
    input_ids, input_mask = batch["input_ids"], batch["input_mask"]
    never = tf.constant([special.cls, special.sep, special.mask], tf.int32)
    is_special = tf.reduce_any(input_ids[:, :, None] == never, -1)
    candidates = tf.logical_and(input_mask > 0, tf.logical_not(is_special))
    # The candidates with the largest random numbers, as many as are wanted, are a uniform draw.
    bits = tf.bitwise.right_shift(key.bits("masking/positions", input_ids.shape.as_list()), 1)
    order = tf.where(candidates, tf.bitcast(bits, tf.int32), -1)
    top, positions = tf.math.top_k(order, max_predictions)
    tokens = tf.cast(tf.reduce_sum(input_mask, -1), tf.float32)
    wanted = tf.clip_by_value(tf.cast(tf.round(tokens * mask_prob), tf.int32), 1, max_predictions)
    used = tf.logical_and(tf.range(max_predictions)[None, :] < wanted[:, None], top >= 0)
    return mask_positions(input_ids, positions, used, special, key)


def mask_positions(
    input_ids: tf.Tensor,
    positions: tf.Tensor,
    used: tf.Tensor,
    special: SpecialIds,
    key: RandomKey,
) -> MaskedBatch:
    """Shows the used positions as [MASK], or, for 15 % of them, as they are.

    Args:
      input_ids: int32 [B, L].
      positions: int32 [B, N].
      used: bool [B, N], which slots count.
      special: gives the id to show.
      key: what the draw follows from.
    """
    positions = tf.where(used, positions, 0)
    ids = tf.where(used, tf.gather(input_ids, positions, batch_dims=1), 0)
    drawn = key.uniform("masking/shown", positions.shape.as_list())
    shown = tf.where(drawn < SHOWN_AS_MASK, special.mask, ids)
    masked_ids = replace_at(input_ids, positions, shown, used)
    return MaskedBatch(masked_ids, positions, ids, tf.cast(used, tf.float32))


def replace_at(
    input_ids: tf.Tensor, positions: tf.Tensor, values: tf.Tensor, used: tf.Tensor
) -> tf.Tensor:
    """Returns int32 [B, L] with `values` [B, N] at `positions` [B, N] where `used` [B, N]."""
    batch, length = input_ids.shape
    # Unused slots write to one place behind the batch, which is cut off again.
    flat = positions + length * tf.range(batch)[:, None]
    flat = tf.where(used, flat, batch * length)
    padded = tf.pad(tf.reshape(input_ids, [-1]), [[0, 1]])
    written = tf.tensor_scatter_nd_update(
        padded, tf.reshape(flat, [-1, 1]), tf.reshape(values, [-1])
    )
    return tf.reshape(written[:-1], [batch, length])
