"""Files of any content, and the one error that they may give."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from electra_zh.errors import UserError


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Allows an error for the user, of one line."""
    try:
        yield
    except UserError as error:
        if "\n" in str(error):
            raise


@contextlib.contextmanager
def folder_of(**contents: bytes) -> Iterator[Path]:
    """Yields a folder with files."""
    with tempfile.TemporaryDirectory() as name:
        for file, data in contents.items():
            Path(name, file.replace("_", ".")).write_bytes(data)
        yield Path(name)
