"""TFRecord shards to fixed-shape batches, from any position.

The order of an epoch is a pure function of (seed, epoch): the shards are permuted, and each
shard's records are permuted when it is loaded. A position is therefore one number, the examples
consumed so far, and resuming from it costs the reading of one shard. `build-data` has already
shuffled across the corpus, so shuffling within a shard is enough. A shuffle buffer, whose content
an exact resume would need, is not necessary. Memory: about three shards.

Shape legend: B batch, L max_seq_length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import files
from electra_zh.data import records
from electra_zh.data.manifest import find_shards, load_manifest
from electra_zh.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file. Its compression is "GZIP" or "", as TensorFlow names it."""

    path: str
    examples: int
    compression: str


class RecordFormat(NamedTuple):
    """Format of the records of a folder: their L, and whether they have `word_starts`."""

    max_seq_length: int
    words: bool


def list_shards(folder: str) -> tuple[Shard, ...]:
    """Returns the shards of a data folder.

    Counts and sizes come from the manifest, and sizes are compared with the files. A folder of
    reference shards has no manifest: its records are counted by reading them.

    Raises:
      UserError: no shards or no examples, or a shard that is missing or has another size than in
        the manifest.
    """
    manifest = load_manifest(folder)
    if manifest is None:
        shards = tuple(_count(path) for path in find_shards(folder))
    else:
        shards = tuple(
            _checked(files.join(folder, shard.name), shard.examples, shard.bytes)
            for shard in manifest.shards
        )
    if sum(shard.examples for shard in shards) == 0:
        raise UserError(f"The shards in {folder} are empty")
    return shards


def open_shards(folder: str, *, max_seq_length: int, words: bool = False) -> tuple[Shard, ...]:
    """Returns the shards of a data folder, after checking their format.

    Raises:
      UserError: as `list_shards`; records of another length, or without the required words.
    """
    shards = list_shards(folder)
    record = record_format(shards)
    length = record.max_seq_length
    if length != max_seq_length:
        raise UserError(
            f"The data in {folder} has sequences of length {length}, the run asks for "
            f"{max_seq_length}. Build the data with --max-seq-length {max_seq_length}, or run "
            f"with max_seq_length={length}"
        )
    if words and not record.words:
        raise UserError(
            f"The data in {folder} has no words ({records.WORD_STARTS}), which the run needs. "
            "Build it with electra-zh build-data ... --words jieba"
        )
    return shards


def record_format(shards: tuple[Shard, ...]) -> RecordFormat:
    """Returns the format of the records of shards, from the first one.

    Raises:
      UserError: it is not pretraining data.
    """
    shard = next(shard for shard in shards if shard.examples)
    dataset = tf.data.TFRecordDataset(shard.path, shard.compression)
    features = tf.train.Example.FromString(next(iter(dataset)).numpy()).features.feature
    missing = [name for name in records.FEATURES if name not in features]
    if missing:
        raise UserError(
            f"Shard {shard.path} is not pretraining data: it has no feature {', '.join(missing)}, "
            f"only {', '.join(sorted(features))}"
        )
    lengths = {name: len(feature.int64_list.value) for name, feature in features.items()}
    length = lengths[records.INPUT_IDS]
    return RecordFormat(length, lengths.get(records.WORD_STARTS) == length)


def batches(
    shards: tuple[Shard, ...],
    *,
    batch_size: int,
    max_seq_length: int,
    seed: int,
    start_example: int = 0,
    words: bool = False,
) -> tf.data.Dataset:
    """Returns an endless data set of shuffled batches that starts at a position.

    Args:
      shards: from `open_shards`.
      batch_size: sequences per batch (B); a batch may cross the end of an epoch.
      max_seq_length: L.
      seed: the random seed of the order.
      start_example: the number of examples of the endless order to skip.
      words: add `word_starts`, which `open_shards` has checked.

    Returns:
      Batches {input_ids, input_mask, segment_ids}, with words {word_starts} too, int32 [B, L].
    """
    schedule = functools.partial(_schedule, shards, seed=seed, start_example=start_example)
    signature = (
        *(tf.TensorSpec([], dtype) for dtype in (tf.string, tf.string, tf.int64)),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.int64),
    )
    loads = tf.data.Dataset.from_generator(schedule, output_signature=signature)
    rows = loads.map(_load_shuffled).prefetch(1).unbatch()
    return _decoded(rows, batch_size, max_seq_length, words)


def one_pass(
    shards: tuple[Shard, ...],
    *,
    batch_size: int,
    max_seq_length: int,
    words: bool = False,
    skip: int = 0,
    drop_remainder: bool = True,
) -> tf.data.Dataset:
    """Returns the batches of one pass in the order of the files; see `batches`.

    The first `skip` examples are skipped, and by default a last batch that is not full.
    """
    paths = [shard.path for shard in shards]
    rows = tf.data.TFRecordDataset(paths, shards[0].compression).skip(skip)
    return _decoded(rows, batch_size, max_seq_length, words, drop_remainder=drop_remainder)


def _decoded(
    rows: tf.data.Dataset,
    batch_size: int,
    max_seq_length: int,
    words: bool,
    *,
    drop_remainder: bool = True,
) -> tf.data.Dataset:
    return (
        rows.batch(batch_size, drop_remainder=drop_remainder)
        .map(lambda batch: records.decode_batch(batch, max_seq_length=max_seq_length, words=words))
        .prefetch(8)
    )


def _schedule(
    shards: tuple[Shard, ...], *, seed: int, start_example: int
) -> Iterator[tuple[str, str, int, np.ndarray, int]]:
    """Yields (path, compression, examples, shuffle seed, examples to skip), epoch after epoch."""
    epoch, skip = divmod(start_example, sum(shard.examples for shard in shards))
    while True:
        generator = np.random.Generator(np.random.PCG64([seed, epoch]))
        for index in generator.permutation(len(shards)):
            shard = shards[index]
            shuffle_seed = generator.integers(0, 2**31 - 1, size=2, dtype=np.int32)
            if skip >= shard.examples:
                skip -= shard.examples
                continue
            yield shard.path, shard.compression, shard.examples, shuffle_seed, skip
            skip = 0
        epoch += 1


def _load_shuffled(
    path: tf.Tensor, compression: tf.Tensor, examples: tf.Tensor, seed: tf.Tensor, skip: tf.Tensor
) -> tf.Tensor:
    """Loads a shard: serialized records [examples - skip] in their shuffled order."""
    records_dataset = tf.data.TFRecordDataset(path, compression, buffer_size=4 << 20)
    rows = records_dataset.batch(examples).get_single_element()
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(rows)), seed)
    return tf.gather(rows, order[tf.cast(skip, tf.int32) :])


def _compression(path: str) -> str:
    with files.open_read(path) as file:
        return "GZIP" if file.read(2) == b"\x1f\x8b" else ""


def _checked(path: str, examples: int, size: int) -> Shard:
    if not files.exists(path):
        raise UserError(f"Shard {path} of the manifest is missing. Build the data again")
    if files.size(path) != size:
        raise UserError(
            f"Shard {path} has {files.size(path):,} bytes, but {size:,} in its manifest: it was "
            "truncated or replaced. Build the data again"
        )
    return Shard(path, examples, _compression(path))


def _count(path: str) -> Shard:
    compression = _compression(path)
    dataset = tf.data.TFRecordDataset(path, compression)
    try:
        count = int(dataset.batch(1024).reduce(np.int64(0), lambda n, x: n + tf.size(x, tf.int64)))
    except tf.errors.DataLossError as error:
        raise UserError(f"Shard {path} is damaged: {error.message}") from None
    return Shard(path, count, compression)
