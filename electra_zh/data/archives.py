"""Compressed text files as streams; a truncated file is an error, not the end of the text.

The first bytes of a file say how it is compressed, not its suffix.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

from electra_zh import content, files
from electra_zh.errors import UserError

SUFFIXES = (".gz", ".xz", ".zst", ".bz2")
_FEED_BYTES = 1 << 16
_MAGIC_BYTES = 8


def strip_suffix(name: str) -> str:
    """Returns a lower-case name without the suffix of its compression."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def read_text(read: Callable[[int], bytes], size: int, path: str) -> bytes:
    """Reads up to `size` bytes.

    Raises:
      UserError: the archive is damaged.
    """
    try:
        return read(size)
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{path} is damaged: {error}") from None


def read_head(path: str) -> bytes:
    """Returns the first bytes of a file's text, `content.HEAD_BYTES` of it, decompressed."""
    with files.open_read(path) as file:
        read = open_reader(file)
        head = b""
        while len(head) < content.HEAD_BYTES and (
            more := read_text(read, content.HEAD_BYTES - len(head), path)
        ):
            head += more
    return head


def is_compressed(path: str) -> bool:
    """Returns whether a file is compressed, by its first bytes."""
    with files.open_read(path) as file:
        return bool(content.compression(file.read(_MAGIC_BYTES)))


def open_reader(file: BinaryIO, *, kind: str | None = None) -> Callable[[int], bytes]:
    """Returns a function that reads a number of bytes of the text, decompressed.

    `kind` is the compression, as `content.compression` names it. By default the first bytes decide,
    and a file that is not at its start is read as it is.
    """
    if kind is None and not file.tell():
        kind = content.compression(file.read(_MAGIC_BYTES))
        file.seek(0)
    if kind == "gz":
        return gzip.GzipFile(fileobj=file, mode="rb").read
    if kind == "xz":
        return lzma.LZMAFile(file).read
    if kind == "bz2":
        return bz2.BZ2File(file).read
    if kind != "zst":
        return file.read
    chunks = _zstd_chunks(file)
    held = bytearray()

    def read(size: int) -> bytes:
        while len(held) < size and (chunk := next(chunks, None)) is not None:
            held.extend(chunk)
        data = bytes(held[:size])
        del held[:size]
        return data

    return read


@contextlib.contextmanager
def open_writer(file: BinaryIO, path: str) -> Iterator[IO[bytes]]:
    """Yields a stream that compresses by the suffix of `path`.

    The same bytes give the same file: it has no name and no time.
    """
    lower = path.lower()
    if lower.endswith(".gz"):
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif lower.endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream:
            yield stream
    else:
        yield file


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yields the text of Zstandard frames; a truncated last frame is an error.

    The library's own stream reader takes the end of the file for the end of the text.
    """
    import zstandard

    frame: Any = None
    while data := file.read(_FEED_BYTES):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(data)
            except zstandard.ZstdError as error:
                raise EOFError(str(error)) from None
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the file ends inside a compressed frame")
