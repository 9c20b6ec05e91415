"""The files of an input.

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

_JSON_FORMATS = (".jsonl", ".ndjson")
_KNOWN = (".txt", *_JSON_FORMATS, *archives.SUFFIXES)


class InputFile(NamedTuple):
    """One file of the corpus: its size in bytes as stored, and its last change in nanoseconds."""

    path: str
    size: int
    modified: int


def find_inputs(inputs: Sequence[str], *, exclude: str | None = None) -> tuple[InputFile, ...]:
    """Returns the files of the inputs without repetition, in the given order.

    Folders are searched recursively for known suffixes, in sorted order. The files of the output
    folder, `exclude`, are skipped.

    Raises:
      UserError: a name has no files, or only excluded ones.
    """
    if not inputs:
        raise UserError("No input. Give files, folders or globs")
    found: dict[str, InputFile] = {}
    for name in inputs:
        there = _expand(name)
        paths = [path for path in there if exclude is None or not is_inside(path, exclude)]
        if there and not paths:
            raise UserError(f"The input {name} is inside --output {exclude}")
        if not paths:
            raise UserError(f"No text files in {name} (known: {' '.join(_KNOWN)})")
        for path in paths:
            key = path if files.is_remote(path) else os.path.realpath(path)
            if key not in found:
                found[key] = InputFile(path, files.size(path), files.modified_ns(path))
    return tuple(found.values())


def is_inside(path: str, folder: str) -> bool:
    """Returns whether a path is a folder's or inside it; links are followed."""
    if files.is_remote(path) or files.is_remote(folder):
        return path.rstrip("/") == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(os.path.join(outer, ""))


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
    return lower.endswith(_KNOWN)


def is_compressed(path: str) -> bool:
    """Returns whether a file is compressed, by its suffix."""
    return path.lower().endswith(archives.SUFFIXES)


def is_json(path: str) -> bool:
    """Returns whether a file, compressed or not, is JSON lines, by its suffix."""
    return archives.strip_suffix(path.lower()).endswith(_JSON_FORMATS)
