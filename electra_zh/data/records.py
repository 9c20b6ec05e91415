"""The TFRecord schema: names and shapes, written without TensorFlow, read with it.

An example is a `tf.train.Example` with int64 features of `max_seq_length` values each, the
reference's own (google-research/electra, build_pretraining_dataset.py): `input_ids` ([CLS] first
[SEP] second [SEP], padded with 0), `input_mask` (1 on tokens), `segment_ids` (1 on the second
segment and its [SEP]). Shards of either code work in the other. Data built with words has a fourth
one, which the reference's readers pass over: `word_starts` (1 where a token begins a word, or what
is left of it at the start of a segment, and on [CLS] and [SEP]; 0 inside a word and on padding).

Writing goes by blocks of rows. Serialised examples differ only in their ids: flags such as the mask
take one byte a value, so all rows of a block are laid out as one table of bytes, each field as wide
as its widest value, with a second table that says which bytes count. One selection then gives the
serialised records of the whole block.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from electra_zh.data.packing import Examples
from electra_zh.data.pieces import INSIDE_WORD

if TYPE_CHECKING:
    import tensorflow as tf

INPUT_IDS, INPUT_MASK, SEGMENT_IDS = "input_ids", "input_mask", "segment_ids"
FEATURES = (INPUT_IDS, INPUT_MASK, SEGMENT_IDS)
WORD_STARTS = "word_starts"

# Columns of a table of rows before the ids.
_LENGTH, _FIRST_LENGTH, _FIRST_ID = 0, 1, 2
# So many rows of length 128 stay in a processor's cache.
BLOCK_ROWS = 512
_CRC_MASK = 0xA282EAD8
# Protocol buffer tags: field 1, 2, 3 with a length before their content.
_TAG1, _TAG2, _TAG3 = b"\x0a", b"\x12", b"\x1a"


def row_dtype(vocabulary_size: int, max_length: int, *, words: bool = False) -> np.dtype:
    """Returns the smallest type that holds a row's lengths, its ids, and with words their flag."""
    small = np.dtype("<u2")
    most_ids = _top_bit(small) if words else np.iinfo(small).max
    fits = vocabulary_size <= most_ids and max_length <= np.iinfo(small).max
    return small if fits else np.dtype("<u4")


def _top_bit(dtype: np.dtype) -> int:
    """Returns the bit of a row's id that says that the token is inside a word."""
    return 1 << (8 * dtype.itemsize - 1)


def row_width(max_length: int) -> int:
    """Returns the columns of a table of rows."""
    return _FIRST_ID + max_length


def make_rows(
    examples: Examples,
    *,
    max_length: int,
    cls_id: int,
    sep_id: int,
    dtype: np.dtype,
    words: bool = False,
) -> np.ndarray:
    """Lays examples out as a table.

    Args:
      examples: from a packer.
      max_length: L.
      cls_id: the id of [CLS].
      sep_id: the id of [SEP].
      dtype: from `row_dtype`.
      words: whether the examples' ids have the bit of `INSIDE_WORD`, and the rows are to have it.

    Returns:
      `dtype` [N, 2 + max_length]: length, length of [CLS] first [SEP], then the padded ids; with
      words, the top bit of an id says that the token is inside a word.
    """
    first = (examples.first_lengths + 2).astype(dtype)[:, None]
    length = examples.first_lengths + examples.second_lengths + 2 + (examples.second_lengths > 0)
    length = length.astype(dtype)[:, None]
    rows = np.zeros((len(first), row_width(max_length)), dtype)
    if not len(rows):
        return rows
    ids = rows[:, _FIRST_ID:]
    column = np.arange(max_length, dtype=dtype)
    is_token = (column < length - 1) & (column != first - 1)
    is_token[:, 0] = False
    # In the order of rows, then columns, the tokens fill exactly these places.
    ids[is_token] = _row_ids(examples.ids, dtype) if words else examples.ids
    ids[:, 0] = cls_id
    every = np.arange(len(rows))
    ids[every, first[:, 0] - 1] = sep_id
    ids[every, length[:, 0] - 1] = sep_id
    rows[:, _LENGTH] = length[:, 0]
    rows[:, _FIRST_LENGTH] = first[:, 0]
    return rows


def _row_ids(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns a stream's ids with their flag moved to the top bit of the rows' type."""
    inside = (ids & INSIDE_WORD) != 0
    return (ids & ~INSIDE_WORD).astype(dtype) | inside * dtype.type(_top_bit(dtype))


class RowCounts(NamedTuple):
    """What can be counted in a table of rows.

    Attributes:
      examples: rows.
      one_segment: those without a second segment.
      short: those with padding.
      positions: places of all rows that are not padding, [CLS] and [SEP] included.
    """

    examples: int
    one_segment: int
    short: int
    positions: int


def count_rows(rows: np.ndarray) -> RowCounts:
    """Counts the rows that `make_rows` laid out."""
    lengths = rows[:, _LENGTH].astype(np.int64)
    one_segment = rows[:, _LENGTH] == rows[:, _FIRST_LENGTH]
    full = rows.shape[1] - _FIRST_ID
    return RowCounts(
        len(rows), int(one_segment.sum()), int((lengths < full).sum()), int(lengths.sum())
    )


def encode_rows(
    rows: np.ndarray, order: np.ndarray | None = None, *, words: bool = False
) -> Iterator[bytes]:
    """Yields rows as TFRecord bytes: of each its length, serialised example and checksums.

    Args:
      rows: from `make_rows`, [N, 2 + max_length].
      order: the rows to write, in their order; all of them unless given.
      words: whether the rows' ids have the bit that is written as `word_starts`.

    Yields:
      The bytes of the next `BLOCK_ROWS` rows.
    """
    for start in range(0, len(rows) if order is None else len(order), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        yield _encode_block(rows[block] if order is None else rows[order[block]], words)


class _Table:
    """A table of bytes, and which of them count, built column by column."""

    def __init__(self, rows: int, width: int) -> None:
        self._values = np.empty((rows, width), np.uint8)
        self._counts = np.ones((rows, width), np.bool_)
        self._used = 0

    def add(self, values: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Adds columns of bytes, all of which count unless it is said which do."""
        columns = slice(self._used, self._used + values.shape[-1])
        self._used = columns.stop
        self._values[:, columns] = values
        if counts is not None:
            self._counts[:, columns] = counts

    def add_constant(self, data: bytes) -> None:
        """Adds the same bytes to all rows."""
        self.add(np.frombuffer(data, np.uint8))

    def add_varint(self, numbers: np.ndarray, width: int) -> None:
        """Adds numbers in the variable-length code of protocol buffers, of 1 to `width` bytes."""
        rest = numbers[:, None] >> (7 * np.arange(width + 1))
        values = (rest[:, :-1] & 0x7F) | ((rest[:, 1:] != 0) << 7)
        counts = rest[:, :-1] != 0
        counts[:, 0] = True
        self.add(values, counts)

    def selected(self) -> np.ndarray:
        assert self._used == self._values.shape[1]
        return self._values[self._counts]


def _encode_block(rows: np.ndarray, words: bool) -> bytes:
    """Returns the TFRecord bytes of some rows."""
    length = rows[:, _LENGTH : _LENGTH + 1]
    first = rows[:, _FIRST_LENGTH : _FIRST_LENGTH + 1]
    ids = rows[:, _FIRST_ID:]
    count, max_length = ids.shape
    column = np.arange(max_length, dtype=rows.dtype)
    is_token = column < length
    flags = {INPUT_MASK: is_token, SEGMENT_IDS: is_token & (column >= first)}
    if words:
        top_bit = rows.dtype.type(_top_bit(rows.dtype))
        # Where packing cut a word, what is left of it is a word of its segment: it must not go with
        # the [CLS] or [SEP] before it.
        flags[WORD_STARTS] = is_token & ((ids < top_bit) | (column == 1) | (column == first))
        ids = ids & ~top_bit
    heads = {name: _flags_head(name, max_length) for name in flags}
    id_values, id_counts, id_bytes = _encode_ids(ids)

    # Lengths from the inside out: packed values, list, feature, map entry, all features, example.
    key = _TAG1 + _varint(len(INPUT_IDS)) + INPUT_IDS.encode()
    listed = id_bytes + 1 + _varint_sizes(id_bytes)
    feature = listed + 1 + _varint_sizes(listed)
    entry = feature + 1 + _varint_sizes(feature) + len(key)
    flag_bytes = sum(map(len, heads.values())) + len(heads) * max_length
    features = entry + 1 + _varint_sizes(entry) + flag_bytes
    example = features + 1 + _varint_sizes(features)

    wide = len(_varint(int(example.max())))
    constant = 12 + 1 + flag_bytes + 4 + len(key) + 4
    table = _Table(count, constant + 5 * wide + id_values.shape[1])
    table.add(_record_heads(example))
    table.add_constant(_TAG1)
    table.add_varint(features, wide)
    for name, values in flags.items():
        table.add_constant(heads[name])
        table.add(values)
    for tag, size in ((_TAG1, entry), (key + _TAG2, feature), (_TAG3, listed), (_TAG1, id_bytes)):
        table.add_constant(tag)
        table.add_varint(size, wide)
    table.add(id_values, id_counts)
    table.add_constant(bytes(4))
    data = table.selected()
    _add_checksums(data, example)
    return data.tobytes()


def _encode_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the variable-length code of ids [N, L].

    Returns:
      Bytes of the code, two or four for each id, uint8 [N, 2 L or 4 L]; which of them count, bool;
      and how many count in each row, int64 [N].
    """
    width = len(_varint(int(ids.max())))
    slot = np.dtype("<u2" if width <= 2 else "<u4")
    numbers = ids.astype(slot)
    values = numbers & slot.type(0x7F)
    # One byte of each slot always counts: bytes of a slot are handled as its bits.
    counts = np.ones_like(numbers)
    sizes = np.full(len(ids), ids.shape[1], np.int64)
    for index in range(1, width):
        longer = (numbers >= 1 << 7 * index).astype(slot)
        sizes += longer.sum(axis=1, dtype=slot)
        # Seven more bits to the next byte, and the mark that there is one to the byte before.
        values |= (numbers << slot.type(index)) & slot.type(0x7F << 8 * index)
        values |= longer << slot.type(8 * index - 1)
        counts |= longer << slot.type(8 * index)
    return values.view(np.uint8), counts.view(np.bool_), sizes


def _varint_sizes(numbers: np.ndarray) -> np.ndarray:
    sizes = np.ones(len(numbers), np.int64)
    for size in range(1, 5):
        sizes += numbers >= 1 << (7 * size)
    return sizes


def _varint(number: int) -> bytes:
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


@functools.cache
def _flags_head(name: str, values: int) -> bytes:
    """Returns what stands before the values of a feature that takes one byte a value."""
    packed = _TAG1 + _varint(values)
    listed = _TAG3 + _varint(len(packed) + values) + packed
    feature = _TAG2 + _varint(len(listed) + values) + listed
    key = _TAG1 + _varint(len(name)) + name.encode()
    return _TAG1 + _varint(len(key) + len(feature) + values) + key + feature


def _record_heads(lengths: np.ndarray) -> np.ndarray:
    """Returns uint8 [N, 12]: the length of each record and the length's checksum."""
    distinct, index = np.unique(lengths, return_inverse=True)
    heads = b"".join(_record_head(length) for length in distinct.tolist())
    return np.frombuffer(heads, np.uint8).reshape(-1, 12)[index]


@functools.lru_cache(maxsize=1 << 14)
def _record_head(length: int) -> bytes:
    from crc32c import crc32c

    data = struct.pack("<Q", length)
    crc = crc32c(data)
    return data + struct.pack("<I", ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF)


def _add_checksums(data: np.ndarray, lengths: np.ndarray) -> None:
    """Writes the checksum behind each record; `data` has four bytes of room for it."""
    from crc32c import crc32c

    ends = np.cumsum(lengths + 16) - 4
    view = data.data
    bounds = zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    crc = np.array([crc32c(view[start:end]) for start, end in bounds], np.uint64)
    masked = ((crc >> 15 | crc << 17) & 0xFFFFFFFF) + _CRC_MASK
    places = ends[:, None] + np.arange(4)
    data[places] = masked.astype("<u4").view(np.uint8).reshape(-1, 4)


def decode_batch(
    serialized: tf.Tensor, *, max_seq_length: int, words: bool = False
) -> dict[str, tf.Tensor]:
    """Parses serialised examples, ours or the reference's.

    Args:
      serialized: string [B].
      max_seq_length: L; every feature has so many values.
      words: parse `word_starts` too, which is then in every example.

    Returns:
      The `FEATURES`, and with words `WORD_STARTS`, int32 [B, L].
    """
    import tensorflow as tf

    names = (*FEATURES, WORD_STARTS) if words else FEATURES
    specification = {name: tf.io.FixedLenFeature([max_seq_length], tf.int64) for name in names}
    parsed = tf.io.parse_example(serialized, specification)
    return {name: tf.cast(values, tf.int32) for name, values in parsed.items()}
