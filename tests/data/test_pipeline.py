"""Batches: every example once an epoch, in an order that can be entered anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.data.shard_records import Shard
from electra_zh.errors import UserError

LENGTH = 8
READING = pipeline.Reading(LENGTH)


def _example(number: int, length: int = LENGTH, *, words: bool = False) -> bytes:
    def feature(values: list[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    features = {
        "input_ids": feature([number] + [0] * (length - 1)),
        "input_mask": feature([1] + [0] * (length - 1)),
        "segment_ids": feature([0] * length),
    }
    if words:
        features["word_starts"] = feature([1, number % 2] + [0] * (length - 2))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _write(folder: Path, counts: list[int], *, gzip: bool = False, words: bool = False) -> None:
    number = 0
    for index, count in enumerate(counts):
        path = folder / f"pretrain_data.tfrecord-{index}-of-{len(counts)}"
        with tf.io.TFRecordWriter(str(path), "GZIP" if gzip else None) as writer:
            for _ in range(count):
                writer.write(_example(number, words=words))
                number += 1


def _numbers(batches: Iterable[pipeline.Batch], count: int) -> list[list[int]]:
    return [batch["input_ids"][:, 0].tolist() for batch in itertools.islice(batches, count)]


def _open(folder: Path, *, words: bool = False) -> tuple[Shard, ...]:
    return pipeline.open_shards(str(folder), max_seq_length=LENGTH, words=words)


def _batches(folder: Path, *, start_example: int = 0, seed: int = 0) -> Iterable[pipeline.Batch]:
    return pipeline.batches(
        [pipeline.MixPart(_open(folder))],
        READING,
        batch_size=4,
        seed=seed,
        start_example=start_example,
    )


@pytest.mark.parametrize("gzip", [False, True])
def test_every_example_once_an_epoch(tmp_path: Path, gzip: bool) -> None:
    _write(tmp_path, [7, 5, 8], gzip=gzip)
    epochs = np.reshape(_numbers(_batches(tmp_path), 15), [3, 20])
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(20))
    assert epochs[0].tolist() != epochs[1].tolist()
    assert epochs[0].tolist() != list(range(20))


@pytest.mark.parametrize("start", [1, 3, 5, 7, 11, 20])
def test_any_position_can_be_entered(tmp_path: Path, start: int) -> None:
    _write(tmp_path, [7, 5, 8])
    whole = _numbers(_batches(tmp_path), 30)
    assert _numbers(_batches(tmp_path, start_example=start * 4), 30 - start) == whole[start:]


def test_seed_changes_the_order(tmp_path: Path) -> None:
    _write(tmp_path, [20])
    assert _numbers(_batches(tmp_path), 5) != _numbers(_batches(tmp_path, seed=1), 5)


def test_batches_are_static_int32(tmp_path: Path) -> None:
    _write(tmp_path, [9])
    batch = next(iter(_batches(tmp_path)))
    assert set(batch) == {"input_ids", "input_mask", "segment_ids"}
    for values in batch.values():
        assert (values.shape, values.dtype) == ((4, LENGTH), np.int32)


def test_processes_read_their_rows_of_each_batch(tmp_path: Path) -> None:
    _write(tmp_path, [7, 5, 8])
    halves = [
        _numbers(
            pipeline.batches(
                [pipeline.MixPart(_open(tmp_path))], READING, batch_size=4, seed=0, share=share
            ),
            12,
        )
        for share in (slice(0, 2), slice(2, 4))
    ]
    joined = [first + second for first, second in zip(*halves, strict=True)]
    assert joined == _numbers(_batches(tmp_path), 12)


def test_parts_are_mixed_by_weight_and_can_be_entered_anywhere(tmp_path: Path) -> None:
    for name, count in (("a", 9), ("b", 700)):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, [count])
    parts = [pipeline.MixPart(_open(tmp_path / "a"), 3), pipeline.MixPart(_open(tmp_path / "b"), 1)]
    batches = pipeline.batches(parts, READING, batch_size=8, seed=0)
    whole = _numbers(batches, 200)
    # Part a has the numbers 0 to 8, and b hardly ever.
    fraction = np.mean(np.array(whole) < 9)
    assert 0.7 < fraction < 0.8
    late = pipeline.batches(parts, READING, batch_size=8, seed=0, start_example=150 * 8)
    assert _numbers(late, 50) == whole[150:]


@pytest.mark.parametrize("share", [slice(None), slice(0, 2)])
def test_a_part_may_have_a_small_weight(tmp_path: Path, share: slice) -> None:
    _write(tmp_path, [9])
    parts = [pipeline.MixPart(_open(tmp_path), 2000), pipeline.MixPart(_open(tmp_path), 1)]
    batches = pipeline.batches(parts, READING, batch_size=8, seed=0, share=share)
    # The first 2,048 positions have none of it.
    assert len(_numbers(batches, 1000)) == 1000


def test_an_error_of_reading_reaches_the_reader_of_batches(tmp_path: Path) -> None:
    _write(tmp_path, [20])
    shards = _open(tmp_path)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    # It starts to read at once.
    batches = pipeline.batches([pipeline.MixPart(shards)], READING, batch_size=4, seed=0)
    with pytest.raises(
        UserError, match=r"Damaged data: record \d+ \(byte [\d,]+\) of .*tfrecord-0"
    ):
        next(iter(batches))


def test_one_pass_keeps_the_order(tmp_path: Path) -> None:
    _write(tmp_path, [3, 6])
    shards = _open(tmp_path)
    passed = pipeline.OnePass(shards, READING, 2)
    assert _numbers(passed, 10) == _numbers(passed, 10) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    rest = pipeline.OnePass(shards, READING, 2, skip=4, drop_remainder=False)
    assert _numbers(rest, 10) == [[4, 5], [6, 7], [8]]
    assert _numbers(pipeline.OnePass(shards, READING, 2, max_batches=1), 10) == [[0, 1]]


def test_words_come_with_their_examples(tmp_path: Path) -> None:
    _write(tmp_path, [3, 6], words=True)
    shards, reading = _open(tmp_path, words=True), pipeline.Reading(LENGTH, words=True)
    endless = pipeline.batches([pipeline.MixPart(shards)], reading, batch_size=2, seed=0)
    for batch in [*pipeline.OnePass(shards, reading, 2), *itertools.islice(endless, 6)]:
        starts = batch["word_starts"]
        assert (starts.dtype, starts.shape) == (np.int32, (2, LENGTH))
        assert np.array_equal(starts[:, 1], batch["input_ids"][:, 0] % 2)


def test_words_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    _write(tmp_path, [3], words=True)
    (batch,) = pipeline.OnePass(_open(tmp_path), READING, 3)
    assert set(batch) == {"input_ids", "input_mask", "segment_ids"}


def test_data_without_words_is_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    _write(tmp_path, [3])
    with pytest.raises(UserError, match=r"no words.*electra-zh build-data \.\.\. --words jieba"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH, words=True)


def test_wrong_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No TFRecord files"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
    with pytest.raises(UserError, match="No such data folder"):
        pipeline.open_shards(str(tmp_path / "nowhere"), max_seq_length=LENGTH)
    _write(tmp_path, [3])
    with pytest.raises(UserError, match=r"sequences of length 8, the run asks for 16"):
        pipeline.open_shards(str(tmp_path), max_seq_length=16)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"Damaged data: record 2 .*ends inside it"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as writer:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
        features = tf.train.Features(feature={"label": feature})
        writer.write(tf.train.Example(features=features).SerializeToString())
    with pytest.raises(UserError, match=r"no feature input_ids.*only label"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
