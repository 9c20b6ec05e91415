"""Paths, local or remote, and files that are either whole or not there.

Local paths use Python's own file functions. A path with a scheme (`gs://`, `s3://`, `hdfs://` ...)
goes through `tf.io.gfile`, which is imported only then: TensorFlow takes seconds to load, and
building data from local files must not pay for it.
"""

from __future__ import annotations

import contextlib
import glob as local_glob
import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, cast

from electra_zh.errors import UserError

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
# Written-but-not-yet-renamed files carry this mark and a name of their writer's own: processes of
# several machines, or threads of one process, may write the same file at once.
_PARTIAL = ".partial-"


def is_remote(path: str) -> bool:
    """Returns whether `path` names a remote file system (`scheme://...`)."""
    return _SCHEME.match(path) is not None


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def join(first: str, *rest: str) -> str:
    """Joins path parts with `/` for remote and the system's separator for local paths."""
    if is_remote(first):
        return "/".join([first.rstrip("/"), *rest])
    return os.path.join(first, *rest)


def exists(path: str) -> bool:
    """Returns whether a file or folder is at `path`."""
    return bool(_gfile().exists(path)) if is_remote(path) else os.path.exists(path)


def is_dir(path: str) -> bool:
    """Returns whether a folder is at `path`."""
    return bool(_gfile().isdir(path)) if is_remote(path) else os.path.isdir(path)


def size(path: str) -> int:
    """Returns the size of the file in bytes."""
    return int(_gfile().stat(path).length) if is_remote(path) else os.path.getsize(path)


def modified_ns(path: str) -> int:
    """Returns when the file was last modified, in nanoseconds."""
    return int(_gfile().stat(path).mtime_nsec) if is_remote(path) else os.stat(path).st_mtime_ns


def walk(folder: str) -> list[str]:
    """Returns the files below the folder at any depth, sorted; hidden folders are left out."""
    found: list[str] = []
    for parent, folders, names in _gfile().walk(folder) if is_remote(folder) else os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(join(parent, name) for name in names)
    return sorted(found)


def list_dir(path: str) -> list[str]:
    """Returns the names in the folder, sorted."""
    names = _gfile().listdir(path) if is_remote(path) else os.listdir(path)
    return sorted(name.rstrip("/") for name in names)


def glob(pattern: str) -> list[str]:
    """Returns the paths that match the pattern, sorted; `**` descends on local file systems."""
    if is_remote(pattern):
        return sorted(_gfile().glob(pattern))
    return sorted(local_glob.glob(pattern, recursive=True))


def make_dirs(path: str) -> None:
    """Makes the folder and its parents where they are missing."""
    if is_remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def check_output(path: str) -> None:
    """Checks, before any work is done, that a folder can be or is made under a name.

    Raises:
      UserError: the name is empty, or a file has it or stands where a parent would be.
    """
    if not path:
        raise UserError("--output is empty; it names a folder")
    while not is_remote(path) and path and not os.path.lexists(path):
        path = os.path.dirname(path)
    if path and exists(path) and not is_dir(path):
        raise UserError(f"{path} is a file; --output names a folder")


def remove(path: str) -> None:
    """Removes one file."""
    if is_remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def remove_tree(path: str) -> None:
    """Removes a folder with all it holds."""
    if is_remote(path):
        _gfile().rmtree(path)
    else:
        shutil.rmtree(path)


def rename(source: str, target: str) -> None:
    """Renames a file, replacing the target; atomic on local file systems."""
    if is_remote(source):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


def short_names(paths: Sequence[str]) -> Callable[[str], str]:
    """Returns what shortens each of the paths by the folder that all of them are in."""
    if any(is_remote(path) for path in paths):
        return lambda path: path
    parent = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return lambda path: os.path.relpath(os.path.abspath(path), parent)


def open_read(path: str) -> BinaryIO:
    """Opens the file for reading bytes.

    Raises:
      UserError: there is no such file.
    """
    if is_remote(path):
        return cast(BinaryIO, _gfile().GFile(path, "rb"))
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"No such file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a file is needed") from None


def _open_write(path: str) -> BinaryIO:
    if is_remote(path):
        return cast(BinaryIO, _gfile().GFile(path, "wb"))
    return open(path, "wb")


def _partial_name(path: str) -> str:
    return f"{path}{_PARTIAL}{uuid.uuid4().hex}"


@contextlib.contextmanager
def atomic_write(path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file for writing bytes that appears under its name only when it is whole.

    An error inside the `with` block removes what was written; a file of that name that was there
    before stays as it was.

    Args:
      path: the file to write.
      durable: wait until the bytes are on the disk before the file gets its name. Files that can
        be made again may do without: only the loss of power could leave them damaged.
    """
    partial = _partial_name(path)
    handle = _open_write(partial)
    try:
        with handle:
            yield handle
            if durable and not is_remote(path):
                handle.flush()
                os.fsync(handle.fileno())
        rename(partial, path)
    except BaseException:
        # A remote file that was never begun cannot be removed; what matters is the first error.
        with contextlib.suppress(Exception):
            remove(partial)
        raise


@contextlib.contextmanager
def new_folder(path: str, *, replace: bool = False) -> Iterator[str]:
    """Gives a folder to fill that appears under its name only when the `with` block is through.

    An error inside the block removes what was written.

    Args:
      path: the folder to make.
      replace: take the place of a folder of that name, which stays until then.

    Raises:
      UserError: `path` exists and is not to be replaced.
    """
    if exists(path) and not replace:
        raise UserError(f"{path} exists; choose another --output")
    path = path.rstrip("/")
    partial = _partial_name(path)
    make_dirs(partial)
    try:
        yield partial
        _move_folder(partial, path)
    except BaseException:
        with contextlib.suppress(Exception):
            remove_tree(partial)
        raise


def _move_folder(source: str, target: str) -> None:
    """Renames a folder; one that has the name gets it back if that fails, else it is removed."""
    if not exists(target):
        rename(source, target)
        return
    old = f"{source}-old"
    rename(target, old)
    try:
        rename(source, target)
    except BaseException:
        rename(old, target)
        raise
    remove_tree(old)


def create(path: str, data: bytes) -> bool:
    """Writes a new file, whole, unless there is one: of several writers at once one succeeds.

    Remote file systems cannot tell writers apart: there the last one wins.

    Returns:
      Whether the file is this call's.
    """
    if exists(path):
        return False
    if is_remote(path):
        with atomic_write(path) as file:
            file.write(data)
        return True
    partial = _partial_name(path)
    with open(partial, "wb") as file:
        file.write(data)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links.
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
    return True


def describe_error(error: Exception) -> str | None:
    """Returns one line for an error of a local or remote file system; None for other errors."""
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
        return f"{type(error).__name__}: {' '.join(str(error.message).split())}"
    return None


def is_partial(name: str) -> bool:
    """Returns whether a name is that of a file whose writer did not finish."""
    return _PARTIAL in name


def read_bytes(path: str) -> bytes:
    """Reads a whole file."""
    with open_read(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Reads a whole UTF-8 file; line ends are left as they are.

    Raises:
      UserError: there is no such file, or it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 file, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def read_json(path: str) -> Any:
    """Reads a JSON file.

    Raises:
      UserError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None


def write_json(path: str, value: Any) -> None:
    """Writes a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of the bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
