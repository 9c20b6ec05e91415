"""The TFRecord schema: names and shapes of the features, and their decoding.

An example is a `tf.train.Example` with int64 features of `max_seq_length` values each. Three are
the reference's own (google-research/electra, build_pretraining_dataset.py), so shards of either
code work in the other:

- `input_ids`: [CLS] first [SEP] second [SEP], padded with 0;
- `input_mask`: 1 on tokens, 0 on padding;
- `segment_ids`: 1 on the second segment and its [SEP].

Data built with words has a fourth one, which the reference's readers skip:

- `word_starts`: 1 where a token begins a word, or the rest of a word at the start of a segment, and
  on [CLS] and [SEP]; 0 inside a word and on padding.

Files are written by `build/tfrecord_writer.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

INPUT_IDS, INPUT_MASK, SEGMENT_IDS = "input_ids", "input_mask", "segment_ids"
FEATURES = (INPUT_IDS, INPUT_MASK, SEGMENT_IDS)
WORD_STARTS = "word_starts"


def decode_batch(
    serialized: tf.Tensor, *, max_seq_length: int, words: bool = False
) -> dict[str, tf.Tensor]:
    """Parses serialized examples, ours or the reference's.

    Args:
      serialized: string [B].
      max_seq_length: L, the number of values of every feature.
      words: parse `word_starts` too; every example must have it.

    Returns:
      The `FEATURES`, and with words `WORD_STARTS`, int32 [B, L].
    """
    import tensorflow as tf

    names = (*FEATURES, WORD_STARTS) if words else FEATURES
    specification = {name: tf.io.FixedLenFeature([max_seq_length], tf.int64) for name in names}
    parsed = tf.io.parse_example(serialized, specification)
    return {name: tf.cast(values, tf.int32) for name, values in parsed.items()}
