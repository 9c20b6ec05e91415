"""Rows of Parquet and Arrow files, as Hugging Face's datasets and pandas write them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from electra_zh import content, files
from electra_zh.errors import UserError, install_line

_ROWS = 512  # of a batch


class OpenTable(NamedTuple):
    """An open file."""

    columns: list[str]
    metadata: Mapping[bytes, bytes]  # of the schema
    # Some rows each, as JSON objects of Python values, and the fraction of the range read after
    # them; to read once.
    batches: Iterator[tuple[list[dict[str, Any]], float]]
    first_row: int = 0  # number of the first row of the batches in the file
    group_starts: Sequence[int] = ()  # of the row groups of a Parquet file, in bytes


@contextlib.contextmanager
def open_table(
    source: BinaryIO | bytes,
    path: str,
    *,
    columns: Sequence[str] | None = None,
    start: int = 0,
    end: int | None = None,
) -> Iterator[OpenTable]:
    """Opens a file.

    Args:
      source: the file, which can seek, or all of its bytes.
      path: its path, for messages.
      columns: names of columns that it has, those to read; by default all.
      start: the byte from which on row groups are read that begin there, of a Parquet file.
      end: the byte from which on they are not read; by default the end of the file.

    Raises:
      UserError: pyarrow is not installed; in the block, too: the file is damaged.
    """
    handle = io.BytesIO(source) if isinstance(source, bytes) else source
    head = handle.read(8)
    form = content.recognize(head)
    try:
        import pyarrow
    except ImportError:
        raise UserError(
            f"{path} is a {content.NAMES[form]} file, which needs pyarrow: "
            f"{install_line('parquet')}"
        ) from None
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    try:
        if form == content.PARQUET:
            yield _parquet(handle, columns, start, size if end is None else end)
        else:
            yield _arrow(handle, size, columns, is_stream=not head.startswith(b"ARROW1"))
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Of the disk, not the data.
            raise
        line = " ".join(str(error).split())
        raise UserError(f"{path} is a damaged {content.NAMES[form]} file: {line}") from None


def _parquet(handle: BinaryIO, columns: Sequence[str] | None, start: int, end: int) -> OpenTable:
    from pyarrow import parquet

    file = parquet.ParquetFile(handle)
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    starts = list(map(_start, groups))
    chosen = [index for index, each in enumerate(starts) if start <= each < end]
    total = sum(groups[index].num_rows for index in chosen)

    def batches() -> Iterator[tuple[list[dict[str, Any]], float]]:
        rows = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns, row_groups=chosen):
            rows += batch.num_rows
            yield batch.to_pylist(), rows / total

    return OpenTable(
        columns=file.schema_arrow.names,
        metadata=file.schema_arrow.metadata or {},
        batches=batches(),
        first_row=sum(group.num_rows for group in groups[: chosen[0]]) if chosen else 0,
        group_starts=starts,
    )


def _start(group: Any) -> int:
    """Returns the first byte of a row group of a Parquet file."""
    columns = map(group.column, range(group.num_columns))
    return int(min(each.dictionary_page_offset or each.data_page_offset for each in columns))


def _arrow(
    handle: BinaryIO, size: int, columns: Sequence[str] | None, *, is_stream: bool
) -> OpenTable:
    from pyarrow import ipc

    file = ipc.open_stream(handle) if is_stream else ipc.open_file(handle)

    def batches() -> Iterator[tuple[list[dict[str, Any]], float]]:
        count = 0 if is_stream else file.num_record_batches
        for batch in file if is_stream else map(file.get_batch, range(count)):
            chosen = batch if columns is None else batch.select(columns)
            for first in range(0, chosen.num_rows, _ROWS):
                yield chosen.slice(first, _ROWS).to_pylist(), handle.tell() / size

    return OpenTable(file.schema.names, file.schema.metadata or {}, batches())


def group_starts(path: str) -> Sequence[int]:
    """Returns the first byte of each row group of a Parquet file; errors are `open_table`'s."""
    with files.open_read(path) as file, open_table(file, path) as table:
        return table.group_starts


def sample(path: str, column: str) -> dict[str, Any]:
    """Returns a column, unread, of a file that has it, and else its first row.

    The values are None where nothing was read. Errors are those of `open_table`.
    """
    with files.open_read(path) as file, open_table(file, path) as table:
        if column in table.columns:
            return {column: None}
        rows, _ = next(table.batches, ([], 1.0))
        return rows[0] if rows else dict.fromkeys(table.columns)
