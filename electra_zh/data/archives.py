"""Compressed text files as streams; a truncated file is an error, not the end of the text."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from electra_zh.errors import UserError

SUFFIXES = (".gz", ".xz", ".zst")


def read_text(read: Callable[[int], bytes], size: int, path: str) -> bytes:
    """Reads up to `size` bytes.

    Raises:
      UserError: the archive is damaged.
    """
    try:
        return read(size)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, _ArchiveError) as error:
        raise UserError(
            f"{path} is damaged or not compressed as its suffix says: {error}"
        ) from None


def open_reader(file: BinaryIO, path: str) -> Callable[[int], bytes]:
    """Returns a function that reads a number of bytes of the text, decompressed."""
    lower = path.lower()
    if lower.endswith(".gz"):
        return gzip.GzipFile(fileobj=file, mode="rb").read
    if lower.endswith(".xz"):
        return lzma.LZMAFile(file).read
    if lower.endswith(".zst"):
        return _ZstdReader(file, path).read
    return file.read


def open_writer(file: BinaryIO, path: str) -> IO[bytes]:
    """Returns a stream that compresses by the suffix of `path`; closing it keeps the file open.

    The same bytes give the same file: it has no name and no time.
    """
    lower = path.lower()
    if lower.endswith(".gz"):
        return cast(IO[bytes], gzip.GzipFile("", "wb", 6, file, mtime=0))
    if lower.endswith(".zst"):
        import zstandard

        return cast(IO[bytes], zstandard.ZstdCompressor().stream_writer(file, closefd=False))
    return cast(IO[bytes], _Plain(file))


class _Plain:
    """A stream without compression."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write

    def close(self) -> None:
        pass


class _ArchiveError(Exception):
    """A damaged `.zst` file."""


class _ZstdReader:
    """Reads a file of Zstandard frames; a truncated last frame is an error.

    The library's own stream reader takes the end of the file for the end of the text.
    """

    _FEED_BYTES = 1 << 16

    def __init__(self, file: BinaryIO, path: str) -> None:
        try:
            import zstandard
        except ImportError:
            raise UserError(f"Reading {path} needs the zstandard package") from None
        self._library = zstandard
        self._file = file
        self._frame: Any = None
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._held) < size and self._fill():
            pass
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _fill(self) -> bool:
        data = self._file.read(self._FEED_BYTES)
        if not data:
            if self._frame is not None:
                raise _ArchiveError("the file ends inside a compressed frame")
            return False
        while data:
            if self._frame is None:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            try:
                self._held += cast(bytes, self._frame.decompress(data))
            except self._library.ZstdError as error:
                raise _ArchiveError(str(error)) from None
            data = b""
            if self._frame.eof:
                data = self._frame.unused_data
                self._frame = None
        return True
