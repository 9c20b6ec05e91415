"""The TFRecord schema: names and shapes of the features.

An example is a `tf.train.Example` with int64 features of `max_seq_length` values each. Three are
the reference's own (google-research/electra, build_pretraining_dataset.py), so shards of either
code work in the other:

- `input_ids`: [CLS] first [SEP] second [SEP], padded with 0;
- `input_mask`: 1 on tokens, 0 on padding;
- `segment_ids`: 1 on the second segment and its [SEP].

Data built with words has a fourth one, which the reference's readers skip:

- `word_starts`: 1 where a token begins a word, or the rest of a word at the start of a segment, and
  on [CLS] and [SEP]; 0 inside a word and on padding.

Files are written by `build/tfrecord_writer.py` and read by `shard_records.py`.
"""

import struct

INPUT_IDS, INPUT_MASK, SEGMENT_IDS = "input_ids", "input_mask", "segment_ids"
FEATURES = (INPUT_IDS, INPUT_MASK, SEGMENT_IDS)
WORD_STARTS = "word_starts"


def feature_names(*, words: bool) -> tuple[str, ...]:
    """Returns the names of the features of an example."""
    return (*FEATURES, WORD_STARTS) if words else FEATURES


def masked(crc: int) -> bytes:
    """Returns a checksum as TFRecord files have it: rotated, with a constant added."""
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
