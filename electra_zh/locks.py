"""Locks on folders, so that two processes never write to the same one."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

from electra_zh import files
from electra_zh.errors import UserError

# Locked by the process that writes to a folder.
LOCK = ".lock"
_OWNER_CHARACTERS = 300  # of the name of the process in it
# Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextlib.contextmanager
def locked(folder: str, *, shared: bool = False) -> Iterator[None]:
    """Locks a folder, created if missing, so that two processes never write to the same run.

    Remote folders are not locked, and neither are those of file systems without locks.

    The lock ends with its process, however that ends: a file that is left over locks nothing. It
    names the process that was the last to lock.

    An exclusive lock removes the files that a killed process did not finish.

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
        with open(path, "a+", encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    file.seek(0)
                    owner = file.read(_OWNER_CHARACTERS).strip()
                    where = f"{folder}: {owner}" if owner else folder
                    message = f"Another process is writing to {where}. Wait for it or stop it"
                    raise UserError(message) from None
            # A process that has ended may have removed the file in the meantime.
            if _is_at(file.fileno(), path):
                # A full disk is reported by the work itself.
                with contextlib.suppress(OSError):
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}")
                    file.flush()
                if not shared:
                    files.remove_unfinished(folder)
                yield
                return


def is_locked(folder: str) -> bool:
    """Returns whether a process writes to a folder; False where folders are not locked."""
    if files.is_remote(folder):
        return False
    import fcntl

    try:
        with open(files.join(folder, LOCK)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # without a lock file, or a file system without locks
        pass
    return False


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
