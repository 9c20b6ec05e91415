"""A remote file system in memory that is slow to be right: calls fail, reads and uploads end early.

Its paths begin with `faulty://`. Each kind of call fails every few times, and never twice in a row.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

ROOT = "faulty://bucket"


class ForeignError(Exception):
    """An error of a library, other than OSError, as HTTP clients have them."""


class FaultyFileSystem(MemoryFileSystem):
    """Files in memory on a bad connection."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    every = 3
    is_inside = False
    calls: ClassVar[Counter[str]] = Counter()
    failures: ClassVar[Counter[str]] = Counter()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return super()._strip_protocol(str(path).removeprefix("faulty://"))

    @classmethod
    def _fails(cls, name: str) -> bool:
        cls.calls[name] += 1
        fails = cls.every > 0 and cls.calls[name] % cls.every == 0
        cls.failures[name] += fails
        return fails

    def _call(self, name: str, *args: Any, **settings: Any) -> Any:
        # Calls of the file system to itself do not fail.
        inner, FaultyFileSystem.is_inside = self.is_inside, True
        try:
            if not inner and self._fails(name):
                raise (ForeignError if self.failures[name] % 2 else TimeoutError)("connection lost")
            return getattr(super(), name)(*args, **settings)
        finally:
            FaultyFileSystem.is_inside = inner

    def info(self, path: str, **settings: Any) -> Any:
        return self._call("info", path, **settings)

    def ls(self, path: str, detail: bool = True, **settings: Any) -> Any:
        return self._call("ls", path, detail=detail, **settings)

    def cp_file(self, *args: Any, **settings: Any) -> Any:
        return self._call("cp_file", *args, **settings)

    def find(self, *args: Any, **settings: Any) -> Any:
        return self._call("find", *args, **settings)

    def rm(self, *args: Any, **settings: Any) -> None:
        self._removed("rm", *args, **settings)

    def rm_file(self, path: str) -> None:
        self._removed("rm_file", path)

    def _removed(self, name: str, *args: Any, **settings: Any) -> None:
        inner, FaultyFileSystem.is_inside = self.is_inside, True
        try:
            getattr(super(), name)(*args, **settings)
        finally:
            FaultyFileSystem.is_inside = inner
        if not inner and self._fails(name):
            # It is done, but the answer is lost.
            raise TimeoutError("no answer")

    def _open(self, path: str, mode: str = "rb", **settings: Any) -> Any:
        return _Connection(super()._open(path, mode, **settings), self)


class _Connection:
    """An open file; every few reads fail or return nothing, every few writes lose a part."""

    def __init__(self, file: Any, system: FaultyFileSystem) -> None:
        self._file, self._system = file, system
        self.size = len(file.getbuffer())

    def read(self, count: int = -1) -> bytes:
        if self._system._fails("read"):
            if self._system.failures["read"] % 2:
                return b""
            raise TimeoutError("connection lost")
        return bytes(self._file.read(min(count, 5000) if count > 0 else count))

    def write(self, data: bytes) -> int:
        if self._system._fails("write"):
            self._file.write(data[: len(data) // 2])
            if self._system.failures["write"] % 2:
                return len(data)
            raise ForeignError("connection lost")
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the file in memory."""


def start(*, every: int) -> None:
    """Registers the file system, empties it and sets how often calls fail; 0 for never."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.every = every
    for each in (FaultyFileSystem.store, FaultyFileSystem.calls, FaultyFileSystem.failures):
        each.clear()
    FaultyFileSystem.pseudo_dirs[:] = [""]
