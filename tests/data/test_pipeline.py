"""Batches: every example once an epoch, in an order that can be entered anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.errors import UserError

LENGTH = 8


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


def _numbers(dataset: tf.data.Dataset, batches: int) -> list[list[int]]:
    return [batch["input_ids"][:, 0].numpy().tolist() for batch in dataset.take(batches)]


def _batches(folder: Path, *, start_example: int = 0, seed: int = 0) -> tf.data.Dataset:
    shards = pipeline.open_shards(str(folder), max_seq_length=LENGTH)
    return pipeline.batches(
        shards, batch_size=4, max_seq_length=LENGTH, seed=seed, start_example=start_example
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
    spec = _batches(tmp_path).element_spec
    assert set(spec) == {"input_ids", "input_mask", "segment_ids"}
    for tensor in spec.values():
        assert tensor.shape == (4, LENGTH)
        assert tensor.dtype == tf.int32


def test_one_pass_keeps_the_order(tmp_path: Path) -> None:
    _write(tmp_path, [3, 6])
    shards = pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
    passed = pipeline.one_pass(shards, batch_size=2, max_seq_length=LENGTH)
    assert _numbers(passed, 10) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_words_come_with_their_examples(tmp_path: Path) -> None:
    _write(tmp_path, [3, 6], words=True)
    shards = pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH, words=True)
    passed = pipeline.one_pass(shards, batch_size=2, max_seq_length=LENGTH, words=True)
    endless = pipeline.batches(shards, batch_size=2, max_seq_length=LENGTH, seed=0, words=True)
    for batch in [*passed, *endless.take(6)]:
        starts = batch["word_starts"]
        assert (starts.dtype, starts.shape) == (tf.int32, [2, LENGTH])
        assert np.array_equal(starts[:, 1], batch["input_ids"][:, 0] % 2)


def test_words_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    _write(tmp_path, [3], words=True)
    shards = pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
    (batch,) = pipeline.one_pass(shards, batch_size=3, max_seq_length=LENGTH)
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
    with pytest.raises(UserError, match="is damaged"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as writer:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
        features = tf.train.Features(feature={"label": feature})
        writer.write(tf.train.Example(features=features).SerializeToString())
    with pytest.raises(UserError, match=r"no feature input_ids.*only label"):
        pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
