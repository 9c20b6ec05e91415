"""Holding a folder, so that two processes never write to the same one."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from electra_zh import files
from electra_zh.errors import UserError

# Held by the process that writes to a folder.
LOCK = ".lock"
# What a file system says that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class Lock:
    """A hold on a folder, from `locked`."""

    def __init__(self, descriptor: int | None) -> None:
        """Takes the open lock file, or None where nothing can be held."""
        self._descriptor = descriptor

    def make_exclusive(self, *, seconds: float) -> bool:
        """Turns a shared hold into an exclusive one; False, and no hold, if others do not let go.

        Args:
          seconds: how long to wait for them.
        """
        end = time.monotonic() + seconds
        while self._descriptor is not None and not _take(self._descriptor, shared=False):
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        return True


@contextlib.contextmanager
def locked(folder: str, *, shared: bool = False) -> Iterator[Lock]:
    """Holds a folder, made if missing, so that two processes never write to the same run.

    Remote folders are not held, nor are those of file systems without locks.

    Args:
      folder: what to hold.
      shared: hold it together with others that do so too, against those that want it alone.

    Raises:
      UserError: another process holds it.
    """
    if files.is_remote(folder):
        yield Lock(None)
        return
    path = files.join(folder, LOCK)
    while True:
        files.make_dirs(folder)
        with open(path, "w") as file:
            if not _take(file.fileno(), shared=shared):
                raise UserError(f"Another process is at work in {folder}")
            # A holder that has gone may have removed the file in the meantime.
            if _is_at(file.fileno(), path):
                yield Lock(file.fileno())
                return


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _take(descriptor: int, *, shared: bool) -> bool:
    """Takes a lock, or turns the one that is held into it; False if others hold it."""
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return True
