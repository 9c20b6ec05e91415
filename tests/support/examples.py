"""TensorFlow's own reading of pretraining examples, to compare with."""

from __future__ import annotations

import tensorflow as tf

from electra_zh.data import records


def parse_examples(
    path: str, *, max_seq_length: int, compression: str = "", words: bool = False
) -> dict[str, tf.Tensor]:
    """Returns all examples of a shard, int64 [N, L] by feature."""
    serialized = tf.data.TFRecordDataset(path, compression).batch(1 << 20).get_single_element()
    feature = tf.io.FixedLenFeature([max_seq_length], tf.int64)
    names = records.feature_names(words=words)
    parsed: dict[str, tf.Tensor] = tf.io.parse_example(serialized, dict.fromkeys(names, feature))
    return parsed
