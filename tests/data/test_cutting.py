"""Short pieces of long examples: all text, valid segments, words."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.data.cutting import Cutting

CLS, SEP, END = 2, 3, 9
STORED, LENGTH = 32, 8


def _example(first: list[int], second: list[int] | None) -> dict[str, np.ndarray]:
    """One example, with a word of two tokens in every four."""
    ids = [CLS, *first, SEP, *([*second, SEP] if second is not None else [])]
    padding = [0] * (STORED - len(ids))
    segment = [0] * (len(first) + 2) + [1] * (len(ids) - len(first) - 2)
    starts = [int(index % 4 != 2 or token == SEP) for index, token in enumerate(ids)]
    rows = {
        "input_ids": [*ids, *padding],
        "input_mask": [1] * len(ids) + padding,
        "segment_ids": segment + padding,
        "word_starts": starts + padding,
    }
    return {name: np.array([row], np.int32) for name, row in rows.items()}


def _pieces(
    example: dict[str, np.ndarray], *, ends: tuple[int, ...] = ()
) -> list[dict[str, np.ndarray]]:
    cutting = Cutting(STORED, LENGTH, ends)
    count = cutting.pieces
    many = {name: np.repeat(row, count, 0) for name, row in example.items()}
    cut = cutting.cut(many, np.arange(count))
    assert all((v.shape, v.dtype) == ((count, LENGTH), np.int32) for v in cut.values())
    return [{name: row[index] for name, row in cut.items()} for index in range(count)]


def _segments(piece: dict[str, np.ndarray]) -> tuple[list[int], list[int]]:
    """Returns the text of the segments of a piece, after checking its form."""
    ids, mask, segment = (piece[k].tolist() for k in ("input_ids", "input_mask", "segment_ids"))
    length = sum(mask)
    assert mask == [1] * length + [0] * (LENGTH - length)
    assert ids[length:] == [0] * (LENGTH - length)
    assert (ids[0], ids[length - 1]) == (CLS, SEP)
    border = ids.index(SEP) + 1
    second = length - border
    assert segment == [0] * border + [1] * second + [0] * (LENGTH - length)
    assert second != 1
    return ids[1 : border - 1], ids[border : length - 1] if second else []


def test_full_examples_give_all_their_text() -> None:
    # 29 tokens in pieces of 5, from the first to the last: two to three are lost in between.
    for first in range(1, 28):
        text = list(range(100, 129))
        pieces = [_segments(p) for p in _pieces(_example(text[:first], text[first:]))]
        assert all(one and other for one, other in pieces)
        joined = [one + other for one, other in pieces]
        assert [each[0] for each in joined] == [100, 108, 116, 124]
        for each in joined:
            assert each == list(range(each[0], each[0] + 5))


def test_one_segment_stays_one() -> None:
    pieces = [_segments(p) for p in _pieces(_example(list(range(100, 130)), None))]
    assert [one[0] for one, _ in pieces] == [100, 108, 116, 124]
    assert all(len(one) == 6 and not other for one, other in pieces)


def test_short_examples_are_in_several_pieces() -> None:
    pieces = [_segments(p) for p in _pieces(_example([100, 101], [102]))]
    assert pieces == [([100, 101], [102])] * 4
    assert [_segments(p) for p in _pieces(_example([100], None))] == [([100], [])] * 4
    # Seven tokens: the stretches overlap.
    pieces = [_segments(p) for p in _pieces(_example([100, 101, 102], [103, 104, 105, 106]))]
    assert [one[0] for one, _ in pieces] == [100, 100, 101, 102]


def test_two_segments_of_one_token() -> None:
    assert _segments(_pieces(_example([100], [101]))[0]) == ([100], [101])


def test_the_border_is_the_example_s_then_a_sentence_s() -> None:
    text = [100, 101, 102, 103, 104, *range(105, 129)]
    # Of five tokens the middle half is after the first three.
    assert _segments(_pieces(_example(text[:3], text[3:]))[0]) == ([100, 101, 102], [103, 104])
    assert _segments(_pieces(_example(text[:4], text[4:]))[0]) == ([100, 101], [102, 103, 104])
    text[2] = END
    piece = _pieces(_example(text[:10], text[10:]), ends=(END,))[0]
    assert _segments(piece) == ([100, 101, END], [103, 104])


def test_words_begin_where_they_did_and_at_segments() -> None:
    example = _example(list(range(100, 115)), list(range(115, 129)))
    starts = dict(
        zip(example["input_ids"][0].tolist(), example["word_starts"][0].tolist(), strict=True)
    )
    for piece in _pieces(example):
        one, other = _segments(piece)
        found = dict(zip(piece["input_ids"].tolist(), piece["word_starts"].tolist(), strict=True))
        for token in (*one[1:], *other[1:]):
            assert found[token] == starts[token]
        assert [found[token] for token in (CLS, SEP, one[0], other[0])] == [1] * 4
        assert found.get(0, 0) == 0


@pytest.mark.parametrize(("stored", "pieces"), [(512, 4), (130, 1), (200, 2), (256, 2)])
def test_the_number_of_pieces(stored: int, pieces: int) -> None:
    assert Cutting(stored, 128).pieces == pieces


def _write(folder: Path, records: int) -> None:
    """Writes two shards of full examples, whose tokens are all different."""
    for shard in range(2):
        with tf.io.TFRecordWriter(str(folder / f"{shard}.tfrecord")) as writer:
            for record in range(shard, records, 2):
                first = 100 + 100 * record
                example = _example(
                    list(range(first, first + 14)), list(range(first + 14, first + 29))
                )
                features = {
                    name: tf.train.Feature(int64_list=tf.train.Int64List(value=values[0]))
                    for name, values in example.items()
                }
                message = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(message.SerializeToString())


def _first_tokens(folder: Path, *, start: int, batches: int) -> list[int]:
    shards = pipeline.open_shards(str(folder), max_seq_length=LENGTH, words=True)
    found = pipeline.batches(
        [pipeline.MixPart(shards)],
        pipeline.Reading(LENGTH, words=True),
        batch_size=4,
        seed=3,
        start_example=start,
    )
    rows = [batch["input_ids"][:, 1] for batch in itertools.islice(found, batches)]
    return np.concatenate(rows).tolist()


def test_every_piece_once_an_epoch_from_any_position(tmp_path: Path) -> None:
    _write(tmp_path, 5)
    shards = pipeline.open_shards(str(tmp_path), max_seq_length=LENGTH)
    assert [(shard.examples, shard.records) for shard in shards] == [(12, 3), (8, 2)]
    epochs = _first_tokens(tmp_path, start=0, batches=10)
    pieces = [100 + 100 * record + start for record in range(5) for start in (0, 8, 16, 24)]
    assert sorted(epochs[:20]) == sorted(epochs[20:]) == pieces
    assert epochs[:20] != epochs[20:]
    assert _first_tokens(tmp_path, start=12, batches=7) == epochs[12:]
    passed = pipeline.OnePass(shards, pipeline.Reading(LENGTH), 4)
    assert [batch["input_ids"][0, 1] for batch in passed] == [100, 300, 500, 200, 400]
