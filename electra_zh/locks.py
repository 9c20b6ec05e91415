"""Locks on folders, so that two processes never write to the same one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from electra_zh import files
from electra_zh.errors import UserError

# Locked by the process that writes to a folder.
LOCK = ".lock"
# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextlib.contextmanager
def locked(folder: str, *, shared: bool = False) -> Iterator[None]:
    """Locks a folder, created if missing, so that two processes never write to the same run.

    Remote folders are not locked, and neither are those of file systems without locks.

    With `shared` the lock is shared with others that share it, but not with exclusive ones. A lock
    of another process is a UserError.
    """
    if files.is_remote(folder):
        yield
        return
    import fcntl

    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    path = files.join(folder, LOCK)
    while True:
        files.make_dirs(folder)
        with open(path, "w") as file:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    message = f"Another process is writing to {folder}. Wait for it or stop it"
                    raise UserError(message) from None
            # A process that has ended may have removed the file in the meantime.
            if _is_at(file.fileno(), path):
                yield
                return


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
