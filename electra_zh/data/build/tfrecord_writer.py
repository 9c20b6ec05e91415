"""Rows as TFRecord files, without TensorFlow.

Written by hand for speed and start-up time: importing TensorFlow takes longer than building a small
corpus. All bytes of an example except its flags and ids depend only on the number of bytes of its
ids, so they are made once per such number.

A record is its length (8 bytes), the length's checksum, the serialized example, its checksum. The
example is a protocol buffer: nested fields, each a tag, the length of its content, and the content.
"""

from __future__ import annotations

import functools
import struct

import numpy as np

from electra_zh.data.build.rows import features_of
from electra_zh.data.records import INPUT_IDS, masked

# Tags of protocol buffers: field 1, 2, 3 with a length before their content.
_TAG1, _TAG2, _TAG3 = b"\x0a", b"\x12", b"\x1a"


def encode_rows(rows: np.ndarray, *, words: bool = False) -> bytes:
    """Returns the TFRecord bytes of rows [N, 2 + L] of `make_rows`; with words, of their starts."""
    from crc32c import crc32c

    ids, flags = features_of(rows, words=words)
    length = ids.shape[1]
    id_bytes, sizes = _encode_ids(ids)
    heads = [np.frombuffer(_entry_head(name, length), np.uint8) for name in flags]
    width = sum(len(head) + length for head in heads)
    table = np.empty((len(rows), width), np.uint8)
    column = 0
    for head, values in zip(heads, flags.values(), strict=True):
        table[:, column : column + len(head)] = head
        column += len(head) + length
        table[:, column - length : column] = values
    flag_bytes = table.tobytes()
    parts: list[bytes] = []
    end = 0
    for row, size in enumerate(sizes.tolist()):
        record, example, entry = _frame(size, width)
        flag, first, end = row * width, end, end + size
        data = b"".join((example, flag_bytes[flag : flag + width], entry, id_bytes[first:end]))
        parts += (record, data, masked(crc32c(data)))
    return b"".join(parts)


@functools.lru_cache(maxsize=1 << 14)
def _frame(id_bytes: int, flag_bytes: int) -> tuple[bytes, bytes, bytes]:
    """Returns the bytes around the flags of an example whose ids take `id_bytes`.

    Returns:
      The head of the record, the head of the example, and the start of the ids' entry.
    """
    from crc32c import crc32c

    entry = _entry_head(INPUT_IDS, id_bytes)
    example = _head(_TAG1, flag_bytes + len(entry) + id_bytes)
    length = struct.pack("<Q", len(example) + flag_bytes + len(entry) + id_bytes)
    return length + masked(crc32c(length)), example, entry


@functools.cache
def _entry_head(name: str, size: int) -> bytes:
    """Returns the bytes before the values of a feature, which take `size` bytes."""
    values = _head(_TAG1, size)
    feature = _head(_TAG3, len(values) + size) + values
    key = _head(_TAG1, len(name)) + name.encode()
    entry = key + _head(_TAG2, len(feature) + size) + feature
    return _head(_TAG1, len(entry) + size) + entry


def _head(tag: bytes, length: int) -> bytes:
    """Returns a field's tag and the length of its content, as a variable-length number."""
    data = bytearray(tag)
    while length >= 0x80:
        data.append(length & 0x7F | 0x80)
        length >>= 7
    data.append(length)
    return bytes(data)


def _encode_ids(ids: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Returns the variable-length code of ids [N, L], and its bytes per row, int64 [N]."""
    width = next(width for width in (2, 4) if int(ids.max()) < 1 << 7 * width)
    slot = np.dtype(f"<u{width}")
    numbers = ids.astype(slot)
    values = numbers & slot.type(0x7F)
    # One byte of each slot always counts. Bytes of a slot are handled as its bits.
    counts = np.ones_like(numbers)
    sizes = np.full(len(ids), ids.shape[1], np.int64)
    for index in range(1, width):
        longer = (numbers >= 1 << 7 * index).astype(slot)
        sizes += longer.sum(axis=1, dtype=slot)
        # Seven more bits to the next byte, and the mark that it exists to the byte before.
        values |= (numbers << slot.type(index)) & slot.type(0x7F << 8 * index)
        values |= longer << slot.type(8 * index - 1)
        counts |= longer << slot.type(8 * index)
    return values.view(np.uint8)[counts.view(np.bool_)].tobytes(), sizes
