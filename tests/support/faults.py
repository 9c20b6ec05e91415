"""Faults of a process at its n-th change of a file: killed, or refused by the file system.

A change is an opened file, written bytes, a sync, a rename or a removal by Python's own functions.
Those of libraries in C (event files of TensorBoard) are not counted. No code of the package knows
of faults: a command's process installs them before it runs the command.
"""

from __future__ import annotations

import builtins
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from electra_zh import files

_WRITING = set("wax+")


class Fault(NamedTuple):
    """The kind of a fault, and the number of its change."""

    # "kill"; the name of an error, such as ENOSPC, which all later changes get too; "count"
    kind: str
    at: int = 0  # number of the change, from 1
    count_file: str = ""  # gets the number of changes


class Faults:
    """Counts the changes of this process, and of each process forked from it on its own."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._count = 0

    def install(self) -> None:
        """Replaces the functions that change files."""
        for name in ("replace", "rename", "remove", "unlink", "fsync", "mkdir", "rmdir"):
            setattr(os, name, self._counted(getattr(os, name), fails=name in ("fsync", "mkdir")))
        opened = self._opened(builtins.open)
        builtins.open = opened
        # They were taken when the module was imported.
        files._LocalSystem.open = staticmethod(opened)
        files._LocalSystem.rm_file = staticmethod(os.remove)

    def change(self, half: Callable[[], object] = lambda: None, *, fails: bool = True) -> None:
        """Counts a change that is about to happen; `half` does a part of it."""
        self._count += 1
        kind, at, count_file = self._fault
        if kind == "count":
            descriptor = os.open(count_file, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, str(self._count).encode())
            os.close(descriptor)
        elif kind == "kill" and self._count == at:
            half()
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind != "kill" and self._count >= at and fails:
            code = getattr(errno, kind)
            raise OSError(code, os.strerror(code))

    def _counted(self, function: Callable[..., Any], *, fails: bool) -> Callable[..., Any]:
        def counted(*args: Any, **settings: Any) -> Any:
            self.change(fails=fails)
            return function(*args, **settings)

        return counted

    def _opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *args: Any, **settings: Any) -> Any:
            writes = not isinstance(file, int) and set(mode) & _WRITING
            if not writes or str(file).startswith(("/dev/", "/proc/", "/sys/")):
                return function(file, mode, *args, **settings)
            self.change()
            return _Handle(function(file, mode, *args, **settings), self)

        return opened


class _Handle:
    """A file whose writes are changes."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.change(half)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)


def changes(folder: Path) -> int:
    """Returns the number of changes that a `count` fault has written to a folder."""
    path = folder / "changes"
    return int(path.read_text()) if path.exists() else 0
