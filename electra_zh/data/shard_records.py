"""The examples of a TFRecord shard as arrays, without TensorFlow.

A shard's bytes are split into records, whose checksums are verified. Examples are decoded when they
are asked for, many at once: their values are variable-length numbers, joined in the
bytes of all rows. Records of the same size from the same writer have their values at the same
places, so the structure of a record is parsed once per size and compared in the others.

Shape legend: n rows, L max_seq_length.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh import content, files
from electra_zh.data.cutting import Cutting
from electra_zh.data.records import masked
from electra_zh.errors import UserError

_PIECE = 1 << 16  # compressed bytes to decompress at once
_HEAD, _TAIL = 12, 4  # bytes of a record before its data and after them


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file, compressed by gzip or not."""

    path: str
    examples: int  # several per record where its examples are cut
    cutting: Cutting | None = None  # None for examples as they are stored
    sha256: str = ""  # of the file, by its manifest; empty if unknown

    @property
    def records(self) -> int:
        """Number of records of the file."""
        return self.examples // (self.cutting.pieces if self.cutting else 1)

    def cut(self, cutting: Cutting) -> Shard:
        """Returns the shard with each of its examples cut into pieces."""
        return dataclasses.replace(self, examples=self.examples * cutting.pieces, cutting=cutting)


class Damage(NamedTuple):
    """A damaged place of a shard."""

    shard: str  # path
    record: int  # number of the record, from 0
    byte: int  # its place in the decompressed shard
    reason: str
    records: int = 1  # number of records that it makes unreadable

    def __str__(self) -> str:
        more = f" ({self.records:,} records)" if self.records > 1 else ""
        return f"record {self.record:,} (byte {self.byte:,}) of {self.shard}: {self.reason}{more}"


class _Layout(NamedTuple):
    """The places of the values of a record, and the other bytes, which are its structure."""

    values: dict[str, tuple[int, int]]  # first byte and end by feature
    structure: list[tuple[int, int, bytes]]  # first byte, end and content


class ShardRecords:
    """The records of one shard, in memory."""

    def __init__(
        self,
        shard: Shard,
        *,
        on_damage: Callable[[Damage], None] | None = None,
        check_count: bool = True,
    ) -> None:
        """Reads the shard and verifies its checksums, and its number of records.

        Without `on_damage` damage is an error. With it, the function is called for each damaged
        record; a valid record of the shard takes its place, so that positions stay as they are.

        Raises:
          UserError: a damaged record, another number of records than the shard's, no valid one, or
            another file.
        """
        self._shard, self._on_damage = shard, on_damage
        self.cutting = shard.cutting
        data = files.read_bytes(shard.path)
        is_gzip = content.compression(data) == "gz"
        self._data, self._gzip_error = _unzipped(data) if is_gzip else (memoryview(data), "")
        self._starts: list[int] = []
        self._sizes: list[int] = []
        self._layouts: dict[int, _Layout] = {}
        valid = []
        for damage, start, size in self._split():
            if damage is not None:
                self._report(damage)
            valid.append(damage is None)
            self._starts.append(start)
            self._sizes.append(size)
        if check_count:
            self._replace(valid)
        # Damage is found by the checksums of the records, with its place.
        if shard.sha256 and all(valid) and files.sha256(data) != shard.sha256:
            raise UserError(
                f"{shard.path} has another SHA-256 than in its manifest: it was replaced. Restore "
                "it, or build the data again"
            )

    @property
    def examples(self) -> int:
        """Number of records."""
        return len(self._starts)

    def _report(self, damage: Damage) -> None:
        if self._on_damage is None:
            raise UserError(
                f"Damaged data: {damage}. Build the data again; `inspect --check` finds all "
                "damage, and `pretrain --skip-corrupt` skips it"
            )
        self._on_damage(damage)

    def _split(self) -> Iterator[tuple[Damage | None, int, int]]:
        """Yields each record's damage, first byte of data, and size."""
        from crc32c import crc32c

        data, end, at = self._data, len(self._data), 0
        heads: dict[bytes, int] = {}  # verified sizes by their bytes
        while at < end:
            head = bytes(data[at : at + _HEAD])
            size = heads.get(head)
            if size is None:
                if len(head) < _HEAD or masked(crc32c(head[:8])) != head[8:]:
                    yield self._lost_rest(at, "its length is damaged; the rest is unreadable"), 0, 0
                    return
                size = heads[head] = struct.unpack_from("<Q", head)[0]
            start = at + _HEAD
            at = start + size + _TAIL
            if at > end:
                reason = self._gzip_error or "the shard ends inside it"
                yield self._lost_rest(start - _HEAD, reason), 0, 0
                return
            good = masked(crc32c(data[start : start + size])) == data[at - _TAIL : at]
            damage = None if good else self._damage(start - _HEAD, "its checksum does not match")
            yield damage, start, size
        # All records may be complete before the damage of the archive.
        is_cut = self._on_damage is None or len(self._starts) < self._shard.records
        if self._gzip_error and is_cut:
            yield self._lost_rest(at, self._gzip_error), 0, 0

    def _damage(self, byte: int, reason: str) -> Damage:
        return Damage(self._shard.path, len(self._starts), byte, reason)

    def _lost_rest(self, byte: int, reason: str) -> Damage:
        """Returns the damage of a record and of all after it."""
        rest = self._shard.records - len(self._starts)
        return self._damage(byte, reason)._replace(records=max(rest, 1))

    def _replace(self, valid: list[bool]) -> None:
        """Checks the number of records, and replaces damaged and missing ones by valid ones."""
        expected, shard = self._shard.records, self._shard.path
        if self._on_damage is None or all(valid):
            if len(valid) != expected:
                raise UserError(
                    f"Shard {shard} has {len(valid):,} records, but {expected:,} in its manifest: "
                    "it was truncated or replaced. Build the data again"
                )
            return
        good = [index for index, is_valid in enumerate(valid) if is_valid]
        if not good:
            raise UserError(f"Shard {shard} has no valid record. Build the data again")
        for column in (self._starts, self._sizes):
            values = [column[index] for index in good]
            column += column[:1] * (expected - len(column))
            for index in range(expected):
                if index >= len(valid) or not valid[index]:
                    column[index] = values[index % len(values)]

    def decode(
        self, rows: Sequence[int] | np.ndarray, names: Sequence[str], *, max_seq_length: int
    ) -> dict[str, np.ndarray]:
        """Returns features of examples, int32 [n, L] by name.

        Raises:
          UserError: an example without one of the features, or with another number of values.
        """
        pieces: dict[str, list[bytes]] = {name: [] for name in names}
        for row in rows:
            record = self._record(int(row))
            layout = self._layout(record)
            for name, values in pieces.items():
                if name not in layout.values:
                    raise UserError(
                        f"Shard {self._shard.path} is not pretraining data: record {row} has no "
                        f"feature {name}, only {', '.join(sorted(layout.values))}"
                    )
                first, end = layout.values[name]
                values.append(record[first:end])
        return {
            name: self._values(name, values, rows, max_seq_length)
            for name, values in pieces.items()
        }

    def feature_lengths(self) -> dict[str, int]:
        """Returns the number of values of each feature, in the first record."""
        record = self._record(0)
        return {
            name: len(decode_varints(record[first:end])[0])
            for name, (first, end) in self._layout(record).values.items()
        }

    def _record(self, row: int) -> bytes:
        start = self._starts[row]
        return bytes(self._data[start : start + self._sizes[row]])

    def _layout(self, record: bytes) -> _Layout:
        layout = self._layouts.get(len(record))
        if layout is None or any(record[a:b] != held for a, b, held in layout.structure):
            try:
                layout = self._layouts[len(record)] = _parse(record)
            except (IndexError, ValueError, UnicodeDecodeError):
                raise UserError(
                    f"Shard {self._shard.path} is not pretraining data: a record is not a "
                    "tf.train.Example of integers. Build the data again"
                ) from None
        return layout

    def _values(
        self, name: str, pieces: list[bytes], rows: Sequence[int] | np.ndarray, length: int
    ) -> np.ndarray:
        values, ends = decode_varints(b"".join(pieces))
        row_ends = np.cumsum([len(piece) for piece in pieces])
        fits = len(values) == length * len(pieces)
        if not fits or (ends[length - 1 :: length] + 1 != row_ends).any():
            for row, piece in zip(rows, pieces, strict=True):
                if (found := len(decode_varints(piece)[0])) != length:
                    raise UserError(
                        f"Shard {self._shard.path}: record {row} has {found} values of {name}, "
                        f"expected {length}. Build the data again"
                    )
        return values.reshape(len(pieces), length)


def decode_varints(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns a protocol buffer's packed integers, int32 [n], and their last bytes, int64 [n]."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if len(ends) == len(raw):
        return raw.astype(np.int32), ends
    starts = np.empty_like(ends)
    starts[:1], starts[1:] = 0, ends[:-1] + 1
    values = (raw[starts] & 127).astype(np.int32)
    longer = np.flatnonzero(ends > starts)
    shift = 0
    while len(longer):
        shift += 1
        byte = raw[starts[longer] + shift].astype(np.int32) & 127
        values[longer] |= byte << 7 * min(shift, 4)
        longer = longer[ends[longer] > starts[longer] + shift]
    return values, ends


def _unzipped(data: bytes) -> tuple[memoryview, str]:
    """Returns a shard's bytes, decompressed, up to the damage of its archive, which is named."""
    stream = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    problem, is_open = "", False
    # In pieces, so that damage leaves what is before it.
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        try:
            while piece:
                parts.append(stream.decompress(piece))
                # A file may have several members.
                piece, is_open = stream.unused_data, not stream.eof
                stream = stream if is_open else zlib.decompressobj(wbits=31)
        except zlib.error as error:
            problem = f"gzip: {error}"
            break
    if is_open and not problem:
        problem = "gzip: the file ends early"
    return memoryview(b"".join(parts)), problem


def _parse(record: bytes) -> _Layout:
    """Finds the values of the features of a `tf.train.Example`."""
    found: dict[str, tuple[int, int]] = {}
    for _, first, end in _fields(record, 0, len(record)):
        for _, entry, entry_end in _fields(record, first, end):
            parts = {tag: (a, b) for tag, a, b in _fields(record, entry, entry_end)}
            name = record[slice(*parts[1])].decode()
            for _, list_first, list_end in _fields(record, *parts[2]):
                values = [(a, b) for _, a, b in _fields(record, list_first, list_end)]
                found[name] = values[0] if len(values) == 1 else (0, 0)
    structure, at = [], 0
    for first, end in [*sorted(found.values()), (len(record), 0)]:
        structure.append((at, first, record[at:first]))
        at = end
    return _Layout(found, structure)


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields the tag, first byte and end of each field with a length."""
    while at < end:
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 != 2 or at + size > end:
            raise ValueError
        yield tag >> 3, at, at + size
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
