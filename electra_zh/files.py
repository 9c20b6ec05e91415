"""Paths, local or remote, and files that are complete or missing.

Local paths use Python's own file functions. A path with a scheme (`gs://`, `s3://`, `hdfs://` ...)
is handled by fsspec, which is imported only then, and by the package that it needs for the scheme.
"""

from __future__ import annotations

import contextlib
import errno
import glob as local_glob
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, cast

from electra_zh import content
from electra_zh.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Written-but-not-yet-renamed files have this mark and a name that is unique to their writer:
# processes of several machines, or threads of one process, may write the same file at once.
_PARTIAL = ".partial-"
_UNFINISHED = re.compile(rf"{re.escape(_PARTIAL)}[0-9a-f]{{32}}(?:-old)?")
_NAME_BYTES = 255  # the longest name of a file
# Errors that say that nothing is at a path.
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


def is_remote(path: str) -> bool:
    """Returns whether `path` names a remote file system (`scheme://...`)."""
    return _SCHEME.match(path) is not None


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks as `os.walk`, also through links, each folder once.

    A folder that cannot be listed is an error.
    """

    def fail(error: OSError) -> None:
        # It may be removed in the meantime.
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise error

    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()  # which of two links to a folder is the first
        yield parent, folders, names


def _exists(path: str) -> bool:
    """As `os.path.exists`, but a folder that may not be opened or a failing disk is an error."""
    try:
        os.stat(path)
    except ValueError:  # no path
        return False
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return False
    return True


class _LocalSystem:
    """The methods of fsspec's file systems that are used here, for local paths."""

    exists = staticmethod(_exists)
    isdir = staticmethod(lambda path: _exists(path) and os.path.isdir(path))
    size = staticmethod(os.path.getsize)
    walk = staticmethod(_walk)
    makedirs = staticmethod(os.makedirs)
    rm_file = staticmethod(os.remove)
    open = staticmethod(open)
    ls = staticmethod(lambda path, detail: os.listdir(path))
    glob = staticmethod(lambda pattern: local_glob.glob(pattern, recursive=True))
    mv = staticmethod(lambda source, target, recursive: os.replace(source, target))
    rm = staticmethod(lambda path, recursive: shutil.rmtree(path))


def _system(path: str) -> Any:
    """Returns the file system of a path; UserError if its scheme or package is missing."""
    if not is_remote(path):
        return _LocalSystem
    import fsspec

    from electra_zh.remote import RemoteSystem

    try:
        # Without the cache of listings: other processes write, too.
        return RemoteSystem(fsspec.url_to_fs(path, use_listings_cache=False)[0])
    except (ImportError, ValueError) as error:
        raise UserError(f"Cannot open {path}: {error}") from None


def _below(folder: str, paths: Sequence[str]) -> list[str]:
    """Returns paths in a folder, from its file system, under the folder's own name; sorted."""
    if not is_remote(folder):
        return sorted(paths)
    root = _system(folder)._strip_protocol(folder)
    return sorted(join(folder, path.removeprefix(root).lstrip("/")) for path in paths)


def cache_folder(name: str) -> str:
    """Returns the folder in the user's cache for files that can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "electra-zh", name)


def join(first: str, *rest: str) -> str:
    """Joins path parts with `/` for remote and the system's separator for local paths."""
    if is_remote(first):
        return "/".join([first.rstrip("/"), *rest])
    return os.path.join(first, *rest)


def absolute(path: str) -> str:
    """Returns a local path from the root; a remote one as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def is_pattern(name: str) -> bool:
    """Returns whether a name has the marks of `glob`."""
    return any(mark in name for mark in "*?[")


def is_name(name: str) -> bool:
    """Returns whether text from a file is the name of a file or folder, and not a path."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def exists(path: str) -> bool:
    """Returns whether a file or folder exists at `path`."""
    return bool(_system(path).exists(path))


def is_dir(path: str) -> bool:
    """Returns whether `path` is a folder."""
    return bool(_system(path).isdir(path))


def is_own(path: str) -> bool:
    """Returns whether only this user, root and a group could have written a local file or folder.

    True for remote paths, whose owner is not known.
    """
    if is_remote(path):
        return True
    found = os.stat(path)
    return found.st_uid in (0, os.getuid()) and not found.st_mode & stat.S_IWOTH


def size(path: str) -> int:
    """Returns the size of the file in bytes."""
    return int(_system(path).size(path))


def modified_ns(path: str) -> int:
    """Returns the time of the last modification, in nanoseconds."""
    if is_remote(path):
        return int(_system(path).modified(path).timestamp() * 1e9)
    return os.stat(path).st_mtime_ns


def walk(folder: str) -> list[str]:
    """Returns the files below the folder at any depth, sorted; hidden folders are skipped."""
    found: list[str] = []
    for parent, folders, names in _system(folder).walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(join(parent, name) for name in names)
    return _below(folder, found)


def list_dir(path: str) -> list[str]:
    """Returns the names in the folder, sorted."""
    names = _system(path).ls(path, detail=False)
    return sorted(name.rstrip("/").rpartition("/")[2] for name in names)


def glob(pattern: str) -> list[str]:
    """Returns the paths that match the pattern, sorted; `**` descends."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    return _below(fixed, _system(pattern).glob(pattern))


def make_dirs(path: str) -> None:
    """Creates the folder and its parents if they are missing."""
    _system(path).makedirs(path, exist_ok=True)


def check_output(path: str) -> None:
    """Checks before any work that a folder exists or can be created; raises UserError."""
    if not path:
        raise UserError("--output is empty; it names a folder")
    while not is_remote(path) and path and not os.path.lexists(path):
        path = os.path.dirname(path)
    if path and exists(path) and not is_dir(path):
        raise UserError(f"{path} is a file; --output names a folder")


def check_output_file(path: str, *, overwrite: bool) -> None:
    """Checks before any work that a file can be written; raises UserError."""
    if not path:
        raise UserError("--output is empty; it names a file")
    if is_dir(path):
        raise UserError(f"{path} is a folder; --output names a file")
    if exists(path) and not overwrite:
        raise UserError(f"{path} exists; --overwrite replaces it")
    parent = os.path.dirname(path) or "."
    if not is_remote(path) and not is_dir(parent):
        what = "is a file" if exists(parent) else "does not exist"
        raise UserError(f"--output {path}: {parent} {what}; it must be a folder")


def remove(path: str) -> None:
    """Removes a file."""
    _system(path).rm_file(path)


def remove_tree(path: str) -> None:
    """Removes a folder and its content."""
    _system(path).rm(path, recursive=True)


def rename(source: str, target: str) -> None:
    """Renames a file or folder, replacing a target file; atomic on local file systems."""
    _system(source).mv(source, target, recursive=is_remote(source) and is_dir(source))


def short_names(paths: Sequence[str]) -> Callable[[str], str]:
    """Returns a function that shortens each path by the folder that contains all of them.

    Bytes of a name that are not UTF-8 become U+FFFD.
    """
    if any(map(is_remote, paths)):
        return lambda path: path
    parent = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])

    def shorten(path: str) -> str:
        return os.fsencode(os.path.relpath(os.path.abspath(path), parent)).decode(errors="replace")

    return shorten


def open_read(path: str) -> BinaryIO:
    """Opens the file for reading bytes; raises UserError if it is missing or a folder."""
    try:
        return cast(BinaryIO, _system(path).open(path, "rb"))
    except FileNotFoundError:
        raise UserError(f"No such file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name a file") from None


def _partial_name(path: str) -> str:
    """Returns a name next to a file or folder; a long one is cut, so that the system takes it."""
    parent, slash, name = path.rpartition("/")
    mark = f"{_PARTIAL}{uuid.uuid4().hex}"
    # The longest is that of a folder that is replaced, with `-old`.
    short = name.encode()[: _NAME_BYTES - len(mark) - 4].decode(errors="ignore")
    return f"{parent}{slash}{short}{mark}"


@contextlib.contextmanager
def atomic_write(path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file for writing bytes that appears under its name only when it is complete.

    An error inside the `with` block removes the new file; an existing file of that name does not
    change. With `durable` the bytes are on the disk before the file gets its name. That is not
    needed for files that can be made again: only the loss of power could damage them.
    """
    partial = _partial_name(path)
    handle = _system(path).open(partial, "wb")
    try:
        with handle:
            yield handle
            if durable and not is_remote(path):
                handle.flush()
                os.fsync(handle.fileno())
        rename(partial, path)
    except BaseException as error:
        # The first error is the one to report.
        with contextlib.suppress(Exception):
            remove(partial)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = path  # of a full disk it is unknown
        raise


@contextlib.contextmanager
def new_folder(path: str, *, replace: bool = False) -> Iterator[str]:
    """Yields a folder to fill that appears under its name only at the end of the `with` block.

    An error inside the block removes the folder. An existing folder of that name does not change
    until the end, and then it is replaced; without `replace` it is a UserError.
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
    """Renames a folder; an existing target is removed afterwards, or restored after an error."""
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


def describe_error(error: Exception) -> str | None:
    """Returns one line for an error of a local or remote file system; None for other errors."""
    if isinstance(error, OSError):
        where = f": {final_path(str(error.filename))}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(error, tensorflow.errors.OpError):
        return f"{type(error).__name__}: {' '.join(str(error.message).split())}"
    return None


def final_path(text: str) -> str:
    """Returns a text with the names that the unfinished files in it will have."""
    return _UNFINISHED.sub("", text)


def is_partial(name: str) -> bool:
    """Returns whether a name belongs to a file that its writer did not finish."""
    return _PARTIAL in name


def remove_unfinished(folder: str) -> None:
    """Removes files and folders that a killed process did not finish, if the folder exists.

    Nobody else may be writing to the folder.
    """
    for name in filter(is_partial, list_dir(folder) if is_dir(folder) else []):
        path = join(folder, name)
        remove_tree(path) if is_dir(path) else remove(path)


def read_bytes(path: str) -> bytes:
    """Reads a file."""
    with open_read(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Reads a UTF-8 file without changing its line ends; raises UserError for other files."""
    return decode_text(read_bytes(path), path)


def decode_text(data: bytes, path: str, *, name: str | None = None) -> str:
    """Returns the text of a UTF-8 file; raises UserError for other encodings, which it names.

    `name` is for the message, by default the path.
    """
    head = data[: content.HEAD_BYTES]
    problem = ""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        text, problem = "", f"{error}; "
    if problem or (b"\0" in head and content.encoding(head)):
        raise UserError(
            f"{name or path} is not UTF-8 text: {problem}{content.not_utf8(path, head)}"
        )
    return text


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 file atomically; half a surrogate pair as its escape, as JSON reads it."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_json(path: str) -> Any:
    """Reads a JSON file; raises UserError for other files."""
    text = read_text(path)
    if text.startswith("\ufeff"):
        raise UserError(f"{path} starts with a byte order mark; save it without")
    if not text.strip("\0 \r\n"):
        what = "filled with zeros" if "\0" in text else "empty"
        raise UserError(f"{path} is {what}; restore it")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None


def read_json_object(path: str) -> dict[str, Any]:
    """Reads a JSON object; raises UserError for other files."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a JSON object: {json.dumps(found)[:40]}")
    return found


@contextlib.contextmanager
def explained_damage(path: str, advice: str) -> Iterator[None]:
    """Makes errors about the values of a file, which the block reads, UserErrors with advice."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is damaged ({what}). {advice}") from None


def write_json(path: str, value: Any) -> None:
    """Writes a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of the bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
