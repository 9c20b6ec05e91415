"""Which files an input names.

An input is a file, a folder or a glob of `.txt` or `.jsonl` files, plain or compressed (`.gz`,
`.xz`, `.zst`), local or remote.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from electra_zh import files
from electra_zh.data import archives
from electra_zh.errors import UserError

_FORMATS = (".txt", ".jsonl", ".ndjson")
_JSON_FORMATS = (".jsonl", ".ndjson")


class InputFile(NamedTuple):
    """One file of the corpus.

    Attributes:
      path: where it is.
      size: bytes, as stored.
      modified: time of last modification in nanoseconds.
    """

    path: str
    size: int
    modified: int


def find_inputs(inputs: Sequence[str], *, exclude: str | None = None) -> tuple[InputFile, ...]:
    """Returns the files that the inputs name, each once, in the order given.

    Args:
      inputs: files, folders (searched through, known suffixes only, sorted) and globs.
      exclude: a folder whose files are not taken: the one to be written.

    Raises:
      UserError: nothing is there under one of the names, or only what is excluded.
    """
    if not inputs:
        raise UserError("No input: give files, folders or globs")
    outside = None if exclude is None else os.path.join(os.path.abspath(exclude), "")
    found: dict[str, InputFile] = {}
    for name in inputs:
        there = _expand(name)
        paths = [path for path in there if not _is_below(path, outside)]
        if there and not paths:
            raise UserError(f"The input {name} is inside of --output {exclude}")
        if not paths:
            raise UserError(f"No text files in {name} (known: {_known_suffixes()})")
        for path in paths:
            key = path if files.is_remote(path) else os.path.realpath(path)
            if key not in found:
                found[key] = InputFile(path, files.size(path), files.modified_ns(path))
    return tuple(found.values())


def _is_below(path: str, folder: str | None) -> bool:
    """Returns whether a local path begins with a folder's, which ends in a separator."""
    if folder is None or files.is_remote(path):
        return False
    return os.path.abspath(path).startswith(folder)


def _expand(name: str) -> list[str]:
    if files.is_dir(name):
        return _files_below(name)
    if files.exists(name):
        return [name]
    if not any(mark in name for mark in "*?["):
        raise UserError(f"No such file or folder: {name}")
    matches = files.glob(name)
    if not matches:
        raise UserError(f"Nothing matches {name}")
    return [
        path
        for match in matches
        for path in (_files_below(match) if files.is_dir(match) else [match])
    ]


def _files_below(folder: str) -> list[str]:
    return [path for path in files.walk(folder) if _is_known(os.path.basename(path))]


def _is_known(name: str) -> bool:
    lower = name.lower()
    if name.startswith(".") or lower.endswith((".tar.gz", ".tar.xz", ".tar.zst")):
        return False
    return lower.endswith((*_FORMATS, *archives.SUFFIXES))


def _known_suffixes() -> str:
    return " ".join((*_FORMATS, *archives.SUFFIXES))


def is_compressed(path: str) -> bool:
    """Returns whether a file is to be unpacked, by its suffix."""
    return path.lower().endswith(archives.SUFFIXES)


def is_json(path: str) -> bool:
    """Returns whether a file, unpacked or not, is JSON lines, by its suffix."""
    name = path.lower()
    for suffix in archives.SUFFIXES:
        name = name.removesuffix(suffix)
    return name.endswith(_JSON_FORMATS)
