"""Remote file systems of fsspec, whose failing calls are repeated after growing pauses.

Reads continue where they failed. A file that is written is collected in a local temporary file and
uploaded at its end, so that an upload can be repeated; its size is compared.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from absl import logging

ATTEMPTS = 6
# Seconds before the second attempt, doubled for each further one: half a minute in all.
_PAUSE = 1.0
# Answers that another attempt does not change, and mistakes of the caller.
_FINAL = (
    *(FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError),
    *(NotImplementedError, ImportError, AttributeError, TypeError, ValueError),
)
_BUFFER = 1 << 20

Result = TypeVar("Result")


def retry(call: Callable[[], Result], what: str) -> Result:
    """Returns the result of a call that may fail for a while; `what` is for the log.

    Raises:
      OSError: all attempts failed, or the answer is final.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except _FINAL:
            raise
        # Libraries of the file systems have errors of their own.
        except Exception as error:
            if attempt == ATTEMPTS:
                message = f"{what} failed {ATTEMPTS} times: {error or type(error).__name__}"
                raise OSError(message) from error
            pause = _PAUSE * 2 ** (attempt - 1)
            logging.warning("%s failed (%s). Trying again in %.0f s.", what, error, pause)
            time.sleep(pause)
    raise AssertionError


class RemoteSystem:
    """The methods of a file system, each repeated after failures."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._system, name)
        if not callable(method):
            return method

        def repeated(*args: Any, **settings: Any) -> Any:
            where = f" of {args[0]}" if args else ""
            return retry(lambda: method(*args, **settings), f"{name}{where}")

        return repeated

    def _type(self, path: str) -> str:
        """Returns file or directory, or an empty text where there is nothing.

        Not fsspec's `exists` and `isdir`, which take every failure for a no.
        """
        try:
            return str(retry(lambda: self._system.info(path)["type"], f"Looking for {path}"))
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def exists(self, path: str) -> bool:
        """Returns whether there is a file or folder."""
        return bool(self._type(path))

    def isdir(self, path: str) -> bool:
        """Returns whether there is a folder."""
        return self._type(path) == "directory"

    def walk(self, folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yields each folder at any depth, with the names of its folders and files, as `os.walk`.

        Not fsspec's `walk`, which takes a failed listing for an empty folder.
        """
        root = self._system._strip_protocol(folder).rstrip("/")
        entries = []
        # It may be removed in the meantime.
        with contextlib.suppress(FileNotFoundError):
            entries = retry(lambda: self._system.ls(folder, detail=True), f"Listing {folder}")
        names: dict[bool, list[str]] = {True: [], False: []}  # of folders, and of files
        for entry in entries:
            path = entry["name"].rstrip("/")
            # An object store may list the folder itself.
            if path != root:
                names[entry["type"] == "directory"].append(path.rpartition("/")[2])
        yield root, names[True], names[False]
        for name in names[True]:
            yield from self.walk(f"{root}/{name}")

    def open(self, path: str, mode: str) -> Any:
        """Opens a file for reading or writing bytes."""
        if mode == "wb":
            return _Upload(self._system, path)
        return io.BufferedReader(_Reader(self._system, path), _BUFFER)

    def rm_file(self, path: str) -> None:
        """Removes a file."""
        self._remove(path, lambda: self._system.rm_file(path))

    def rm(self, path: str, recursive: bool) -> None:
        """Removes a file or folder."""
        self._remove(path, lambda: self._system.rm(path, recursive=recursive))

    def _remove(self, path: str, call: Callable[[], object]) -> None:
        tries = 0

        def remove() -> None:
            nonlocal tries
            tries += 1
            try:
                call()
            except FileNotFoundError:
                # The answer to the attempt before was lost.
                if tries == 1:
                    raise

        retry(remove, f"Removing {path}")

    def mv(self, source: str, target: str, recursive: bool) -> None:
        """Moves a file, or a folder file by file in the order of their names."""
        if not recursive:
            self._move_file(source, target)
            return
        root = self._system._strip_protocol(source).rstrip("/")
        for path in retry(lambda: sorted(self._system.find(source)), f"Listing {source}"):
            self._move_file(path, f"{target.rstrip('/')}{path.removeprefix(root)}")
        # Some file systems have empty folders.
        with contextlib.suppress(FileNotFoundError):
            self.rm(source, recursive=True)

    def _move_file(self, source: str, target: str) -> None:
        # Not fsspec's `mv`: it copies into a target that a failed attempt has made.
        retry(lambda: self._system.cp_file(source, target), f"Moving {source} to {target}")
        self.rm_file(source)


class _Reader(io.RawIOBase):
    """A remote file that is opened again, at the same place, after a read fails."""

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self._place = 0
        self._file: Any = None
        self._size = retry(self._open, f"Opening {path}")

    def _open(self) -> int:
        self._file = self._system.open(self._path, "rb")
        size = getattr(self._file, "size", None)
        return -1 if size is None else int(size)

    def _read(self, count: int) -> bytes:
        try:
            if self._file is None:
                self._open()
            if self._file.tell() != self._place:
                self._file.seek(self._place)
            found = bytes(self._file.read(count))
            if not found and count and 0 <= self._place < self._size:
                raise EOFError(f"it ends at byte {self._place} of {self._size}")
        except BaseException:
            self._close_file()
            raise
        return found

    def readinto(self, buffer: Any) -> int:
        """Fills a part of the buffer; see `io.RawIOBase`."""
        found = retry(lambda: self._read(len(buffer)), f"Reading {self._path}")
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place; see `io.IOBase`."""
        if whence == io.SEEK_END and self._size < 0:
            self._size = retry(lambda: int(self._system.size(self._path)), f"Size of {self._path}")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """Returns the place."""
        return self._place

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def _close_file(self) -> None:
        file, self._file = self._file, None
        with contextlib.suppress(Exception):
            if file is not None:
                file.close()

    def close(self) -> None:
        """Closes the file."""
        self._close_file()
        super().close()


class _Upload:
    """A remote file that is being written; nothing of it exists before it is closed."""

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path
        self._file = tempfile.TemporaryFile(prefix="electra-zh-")  # noqa: SIM115

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Upload:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def close(self) -> None:
        """Uploads the file."""
        if self._file.closed:
            return
        with self._file:
            self._file.flush()
            size = self._file.seek(0, io.SEEK_END)
            retry(lambda: self._upload(size), f"Uploading {self._path}")

    def _upload(self, size: int) -> None:
        self._file.seek(0)
        with self._system.open(self._path, "wb") as target:
            shutil.copyfileobj(self._file, target, _BUFFER)
        found = int(self._system.size(self._path))
        if found != size:
            raise OSError(f"{found} of {size} bytes arrived")
