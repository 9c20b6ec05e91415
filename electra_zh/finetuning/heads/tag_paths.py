"""The best legal sequence of BIOES tags, on the device.

Shapes: G windows of a batch, L length, K tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from electra_zh.finetuning.encoding.tags import OUTSIDE, is_continued, may_follow

# Added to forbidden scores: far below any logit, far above the limits of float32.
_FORBIDDEN = -1e9


def best_tags(
    logits: tf.Tensor, is_word: tf.Tensor, inside: tf.Tensor, *, tags: Sequence[str]
) -> tf.Tensor:
    """Returns int32 [G, L], the tags of the legal sequence with the highest sum of logits.

    Logits serve as log-probabilities: both differ by the same amount for all tags of a word.

    Args:
      logits: float32 [G, L, K].
      is_word: bool [G, L], positions that have a tag; the others repeat the tag before.
      inside: float32 [G, 2], 1 where the window begins or ends inside its sentence, so that the
        sequence may begin or end inside an entity.
      tags: the K names.
    """
    steps = _forbidden([[not may_follow(before, after) for after in tags] for before in tags])
    # The tag before the first word is O, or the middle of an entity.
    start = _forbidden([tag != OUTSIDE for tag in tags])
    start -= _forbidden([tag[0] == "I" for tag in tags]) * inside[:, :1]  # [G, K]
    last = _forbidden(list(map(is_continued, tags))) * (1.0 - inside[:, 1:])
    same = tf.range(len(tags))[None, :]

    def forward(
        state: tuple[tf.Tensor, tf.Tensor], place: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scores, _ = state
        logit, word = place
        ways = scores[:, :, None] + steps  # [G, K before, K]
        found = tf.reduce_max(ways, 1) + logit
        before = tf.argmax(ways, 1, output_type=tf.int32)
        return tf.where(word, found, scores), tf.where(word, before, same)

    over = (tf.transpose(logits, [1, 0, 2]), tf.transpose(is_word)[:, :, None])
    scores, before = tf.scan(forward, over, (start, tf.zeros_like(start, tf.int32)))
    final = tf.argmax(scores[-1] + last, 1, output_type=tf.int32)

    # before[l] leads from the tag at l to the one at l - 1.
    earlier = tf.scan(_go_back, before[1:], final, reverse=True)
    return tf.transpose(tf.concat([earlier, final[None]], 0))


def _go_back(tag: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    return tf.gather(before, tag, batch_dims=1)


def _forbidden(where: Sequence[bool] | Sequence[Sequence[bool]]) -> tf.Tensor:
    """Returns float32 addends to scores: 0, and a very negative number where forbidden."""
    return tf.constant(np.where(where, _FORBIDDEN, 0.0), tf.float32)
