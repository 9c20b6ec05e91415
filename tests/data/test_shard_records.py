"""Records of shards: as TensorFlow reads them, and damage named by its place."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh import files
from electra_zh.data import records
from electra_zh.data.shard_records import Damage, Shard, ShardRecords, decode_varints
from electra_zh.errors import UserError
from support.examples import parse_examples

LENGTH = 8


def _example(ids: list[int], *, extra: bool = False) -> bytes:
    values = {
        "input_ids": ids,
        "input_mask": [1] * len(ids),
        "segment_ids": [0] * len(ids),
        **({"other": [300, 5]} if extra else {}),
    }
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for name, value in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _write(path: Path, examples: list[bytes], *, compressed: bool = False) -> Shard:
    with tf.io.TFRecordWriter(str(path), "GZIP" if compressed else None) as writer:
        for example in examples:
            writer.write(example)
    return Shard(str(path), len(examples))


def _rows(seed: int, count: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    bits = generator.integers(1, 22, [count, LENGTH])
    return (generator.integers(0, 1 << 30, [count, LENGTH]) % (1 << bits)).tolist()


@pytest.mark.parametrize("compressed", [False, True])
def test_examples_are_those_that_tensorflow_reads(tmp_path: Path, compressed: bool) -> None:
    rows = _rows(0, 50)
    # Of two writers, in turns: records of one size differ in structure.
    examples = [_example(ids, extra=index % 3 == 0) for index, ids in enumerate(rows)]
    shard = _write(tmp_path / "x.tfrecord", examples, compressed=compressed)
    order = np.random.default_rng(1).permutation(50)
    found = ShardRecords(shard).decode(order, records.FEATURES, max_seq_length=LENGTH)
    expected = parse_examples(
        shard.path, max_seq_length=LENGTH, compression="GZIP" if compressed else ""
    )
    for name in records.FEATURES:
        assert found[name].dtype == np.int32
        assert np.array_equal(found[name], expected[name].numpy()[order])


def _varint(number: int) -> bytes:
    data = b""
    while number >= 128:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=30))
def test_variable_length_numbers_are_decoded(numbers: list[int]) -> None:
    assert decode_varints(b"".join(map(_varint, numbers)))[0].tolist() == numbers


def _damaged(tmp_path: Path, places: dict[int, int], *, cut: int = 0) -> Shard:
    """Writes ten records of one size and changes bytes: {record: place in the record}."""
    shard = _write(tmp_path / "x.tfrecord", [_example([index] * LENGTH) for index in range(10)])
    path = Path(shard.path)
    data = bytearray(path.read_bytes())
    size = len(data) // 10
    for record, place in places.items():
        data[record * size + place] ^= 64
    path.write_bytes(data[: len(data) - cut])
    return shard


@pytest.mark.parametrize(
    ("places", "cut", "message"),
    [
        ({3: 20}, 0, r"record 3 \(byte [\d,]+\) of .*x.tfrecord: its checksum does not match"),
        (
            {3: 2},
            0,
            r"record 3 \(byte [\d,]+\) of .*: its length is damaged; the rest is unreadable",
        ),
        ({}, 7, r"record 9 \(byte [\d,]+\) of .*: the shard ends inside it"),
    ],
)
def test_damage_is_named_by_shard_record_and_byte(
    tmp_path: Path, places: dict[int, int], cut: int, message: str
) -> None:
    with pytest.raises(UserError, match=f"^Damaged data: {message}.*Build the data again; "):
        ShardRecords(_damaged(tmp_path, places, cut=cut))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({0: 20, 4: 20}, [1, 1, 2, 3, 6, 5, 6, 7, 8, 9]),
        ({3: 2}, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]),
    ],
)
def test_valid_records_take_the_place_of_damaged_ones(
    tmp_path: Path, places: dict[int, int], expected: list[int]
) -> None:
    found: list[Damage] = []
    opened = ShardRecords(_damaged(tmp_path, places), on_damage=found.append)
    ids = opened.decode(range(10), ["input_ids"], max_seq_length=LENGTH)["input_ids"]
    assert ids[:, 0].tolist() == expected
    assert [damage.record for damage in found] == list(places)
    assert opened.examples == 10


def test_a_shard_without_a_valid_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no valid record"):
        ShardRecords(_damaged(tmp_path, {0: 2}), on_damage=lambda damage: None)


def test_another_number_of_records_is_an_error(tmp_path: Path) -> None:
    shard = _write(tmp_path / "x.tfrecord", [_example([1] * LENGTH)] * 3)
    with pytest.raises(UserError, match=r"has 3 records, but 4 in its manifest"):
        ShardRecords(Shard(shard.path, 4))


def test_a_cut_gzip_shard_is_damaged(tmp_path: Path) -> None:
    shard = _write(tmp_path / "x.gz", [_example([1] * LENGTH)] * 30, compressed=True)
    path = Path(shard.path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"Damaged data: .*x\.gz: gzip: the file ends early"):
        ShardRecords(shard)


def test_an_archive_that_lost_its_checksum_alone_has_all_records(tmp_path: Path) -> None:
    shard = _write(tmp_path / "x.gz", [_example([1] * LENGTH)] * 30, compressed=True)
    path, found = Path(shard.path), list[Damage]()
    path.write_bytes(path.read_bytes()[:-4])
    assert ShardRecords(shard, on_damage=found.append).examples == 30
    assert found == []
    with pytest.raises(UserError, match="gzip: the file ends early"):
        ShardRecords(shard)


def test_members_of_gzip_are_joined(tmp_path: Path) -> None:
    plain = _write(tmp_path / "x", [_example([index] * LENGTH) for index in range(4)])
    data = Path(plain.path).read_bytes()
    half = len(data) // 2
    joined = tmp_path / "x.gz"
    joined.write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]))
    assert ShardRecords(Shard(str(joined), 4)).examples == 4


def test_other_lengths_and_contents_are_refused(tmp_path: Path) -> None:
    rows = [[1] * LENGTH, [1] * (LENGTH - 1), [1] * (LENGTH + 1)]
    opened = ShardRecords(_write(tmp_path / "x", [_example(ids) for ids in rows]))
    with pytest.raises(UserError, match=r"record 1 has 7 values of input_ids, expected 8"):
        opened.decode(range(3), records.FEATURES, max_seq_length=LENGTH)
    with pytest.raises(UserError, match="has no feature word_starts, only input_ids"):
        opened.decode([0], [records.WORD_STARTS], max_seq_length=LENGTH)
    opened = ShardRecords(_write(tmp_path / "y", [b"\x0a\xff\xff"]))
    with pytest.raises(UserError, match=r"not a tf\.train\.Example of integers"):
        opened.decode([0], records.FEATURES, max_seq_length=LENGTH)


@pytest.mark.parametrize("skips", [False, True])
def test_another_shard_of_the_same_size_is_refused(tmp_path: Path, skips: bool) -> None:
    examples = [_example(ids) for ids in _rows(0, 5)]
    shard = _write(tmp_path / "x.tfrecord", examples)
    original = Path(shard.path).read_bytes()
    shard = dataclasses.replace(shard, sha256=files.sha256(original))
    assert ShardRecords(shard).examples == 5
    _write(tmp_path / "x.tfrecord", examples[::-1])
    assert len(Path(shard.path).read_bytes()) == len(original)
    found: list[Damage] = []
    with pytest.raises(UserError, match=r"x\.tfrecord has another SHA-256 .* it was replaced"):
        ShardRecords(shard, on_damage=found.append if skips else None)
    # A damaged record is named by its place, not by the SHA-256 of the file.
    Path(shard.path).write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    ShardRecords(shard, on_damage=found.append)
    assert [damage.record for damage in found] == [4]
