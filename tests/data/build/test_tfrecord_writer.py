"""Records: what is written by hand here is what TensorFlow reads."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data import records
from electra_zh.data.build import packing, pieces, tfrecord_writer
from electra_zh.data.build.rows import RowCounts, count_rows, make_rows, row_dtype
from support.examples import parse_examples

CLS, SEP = 2, 3


def _examples(
    segments: list[tuple[int, int]], generator: np.random.Generator, vocabulary: int
) -> packing.Examples:
    first, second = np.array(segments, np.int64).reshape(-1, 2).T
    ids = generator.integers(4, vocabulary, first.sum() + second.sum(), dtype=np.int32)
    return packing.Examples(ids, first, second)


def _plain(examples: packing.Examples, length: int) -> dict[str, list[list[int]]]:
    """The rows, written down plainly."""
    rows: dict[str, list[list[int]]] = {name: [] for name in records.FEATURES}
    ids = iter(examples.ids.tolist())
    for first, second in zip(examples.first_lengths, examples.second_lengths, strict=True):
        tokens = [CLS, *(next(ids) for _ in range(first)), SEP]
        segment = [0] * len(tokens)
        if second:
            tokens += [*(next(ids) for _ in range(second)), SEP]
            segment += [1] * (second + 1)
        padding = [0] * (length - len(tokens))
        rows["input_ids"].append(tokens + padding)
        rows["input_mask"].append([1] * len(tokens) + padding)
        rows["segment_ids"].append(segment + padding)
    return rows


def _rows(examples: packing.Examples, length: int, vocabulary: int) -> np.ndarray:
    dtype = row_dtype(vocabulary, length)
    return make_rows(examples, max_length=length, cls_id=CLS, sep_id=SEP, dtype=dtype)


def _read(path: Path, length: int, compression: str = "") -> dict[str, list[list[int]]]:
    decoded = parse_examples(str(path), max_seq_length=length, compression=compression)
    return {name: values.numpy().tolist() for name, values in decoded.items()}


@pytest.mark.parametrize("length", [8, 31, 128, 200, 512])
@pytest.mark.parametrize("vocabulary", [100, 21_128, 100_000, 3_000_000])
def test_tensorflow_reads_what_is_written(tmp_path: Path, length: int, vocabulary: int) -> None:
    generator = np.random.default_rng(0)
    firsts = generator.integers(1, length - 3, 60)
    segments = [(int(first), int(generator.integers(0, length - 2 - first))) for first in firsts]
    segments += [(length - 2, 0), (1, length - 4), (1, 0)]
    examples = _examples(segments, generator, vocabulary)
    path = tmp_path / "a.tfrecord"
    path.write_bytes(tfrecord_writer.encode_rows(_rows(examples, length, vocabulary)))
    assert _read(path, length) == _plain(examples, length)


def test_blocks_join_and_gzip_streams_are_read(tmp_path: Path) -> None:
    examples = _examples([(5, 4), (9, 0)] * 20, np.random.default_rng(0), 20_000)
    path = tmp_path / "a.tfrecord.gz"
    rows = _rows(examples, 16, 20_000)
    blocks = (tfrecord_writer.encode_rows(rows[start : start + 7]) for start in range(0, 40, 7))
    path.write_bytes(gzip.compress(b"".join(blocks)))
    assert _read(path, 16, "GZIP") == _plain(examples, 16)


@settings(deadline=None)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=30))
def test_bytes_are_those_of_the_protocol_buffer_library(ids: list[int]) -> None:
    length = len(ids) + 2
    examples = packing.Examples(np.array(ids, np.int32), np.array([len(ids)]), np.array([0]))
    data = tfrecord_writer.encode_rows(_rows(examples, length, 70_001))
    size = int.from_bytes(data[:8], "little")
    assert len(data) == size + 16
    parsed = tf.train.Example.FromString(data[12:-4])
    features = {
        name: list(feature.int64_list.value) for name, feature in parsed.features.feature.items()
    }
    assert features == {name: rows[0] for name, rows in _plain(examples, length).items()}
    # Nothing is longer than it must be.
    assert parsed.ByteSize() == size


def test_rows_are_counted() -> None:
    rows = _rows(_examples([(6, 0), (2, 3), (3, 0)], np.random.default_rng(0), 9), 8, 9)
    assert count_rows(rows) == RowCounts(3, 2, 1, 8 + 8 + 5)


def test_reference_shards_are_decoded(tmp_path: Path) -> None:
    """Features in any order, written by TensorFlow as the reference does."""
    path = tmp_path / "pretrain_data.tfrecord-0-of-1"
    expected = _plain(_examples([(3, 2), (5, 0)], np.random.default_rng(0), 20_000), 10)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(2):
            features = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=rows[row]))
                for name, rows in reversed(expected.items())
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    assert _read(path, 10) == expected


def test_rows_take_two_bytes_an_id_where_they_can() -> None:
    assert row_dtype(21_128, 512).itemsize == 2
    assert row_dtype(65_536, 512).itemsize == 4


def _with_words(examples: packing.Examples, inside: np.ndarray) -> packing.Examples:
    return examples._replace(ids=examples.ids | np.where(inside, pieces.INSIDE_WORD, np.int32(0)))


def _plain_starts(examples: packing.Examples, inside: np.ndarray, length: int) -> list[list[int]]:
    """The word starts of rows, written down plainly."""
    rows = []
    flags = iter((~inside).astype(int).tolist())
    for lengths in zip(examples.first_lengths, examples.second_lengths, strict=True):
        starts = [1]
        for segment in filter(None, lengths):
            own = [next(flags) for _ in range(segment)]
            # What is left of a word at the start of a segment is a word.
            starts += [1, *own[1:], 1]
        rows.append(starts + [0] * (length - len(starts)))
    return rows


@pytest.mark.parametrize("vocabulary", [100, 32_768, 32_769, 65_535, 3_000_000])
def test_words_are_written_beside_the_same_ids(tmp_path: Path, vocabulary: int) -> None:
    generator = np.random.default_rng(0)
    examples = _examples([(5, 4), (30, 0), (1, 28), (1, 0), (14, 15)] * 5, generator, vocabulary)
    inside = generator.random(len(examples.ids)) < 0.5
    dtype = row_dtype(vocabulary, 32, words=True)
    rows = make_rows(
        _with_words(examples, inside),
        max_length=32,
        cls_id=CLS,
        sep_id=SEP,
        dtype=dtype,
        words=True,
    )
    path = tmp_path / "a.tfrecord"
    path.write_bytes(tfrecord_writer.encode_rows(rows, words=True))
    decoded = parse_examples(str(path), max_seq_length=32, words=True)
    assert decoded["word_starts"].numpy().tolist() == _plain_starts(examples, inside, 32)
    assert _read(path, 32) == _plain(examples, 32)


def test_row_type_has_room_for_the_flag() -> None:
    assert row_dtype(32_768, 512, words=True).itemsize == 2
    assert row_dtype(32_769, 512, words=True).itemsize == 4
    assert row_dtype(65_535, 512).itemsize == 2
    assert row_dtype(100, 65_536, words=True).itemsize == 4
