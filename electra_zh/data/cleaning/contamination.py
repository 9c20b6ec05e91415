"""Evaluation data, and the documents of a corpus that hold a stretch of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.config import UserError
from electra_zh.data import archives
from electra_zh.data.cleaning.grams import grams

_JSON = (".json", ".jsonl", ".ndjson")
_TABLES = (".tsv", ".csv")
_CHUNK_BYTES = 1 << 20
# Places of the filter for each hash: of look-ups that find nothing, one in so many is searched for.
_SPARSITY = 8
_MIN_BITS = 16


class Contamination(NamedTuple):
    """The n-grams of evaluation data.

    Attributes:
      hashes: uint64 [G], sorted, each once.
      n: characters of a gram.
      filter: bool [2 ** bits], whether a hash starts with these bits.
    """

    hashes: np.ndarray
    n: int
    filter: np.ndarray


def load_contamination(
    paths: Sequence[str], *, n: int, convert: Callable[[Sequence[str]], list[str]]
) -> Contamination:
    """Reads evaluation data.

    Args:
      paths: JSON, JSON lines, tables of tab-separated cells, plain text; also compressed.
      n: characters of a gram.
      convert: does to the strings what is done to the corpus's text.

    Raises:
      UserError: no such file, it cannot be read, or it has no string of n characters.
    """
    found: list[np.ndarray] = []
    for path in paths:
        strings = convert([string for string in strings_of(path) if len(string) >= n])
        hashes = grams(strings, np.arange(len(strings)), n=n).hashes
        if not len(hashes):
            raise UserError(f"{path} has no string of {n} letters, digits or ideographs")
        found.append(np.unique(hashes))
    return index(np.unique(np.concatenate(found)), n=n)


def index(hashes: np.ndarray, *, n: int) -> Contamination:
    """Returns sorted hashes as something to look up in."""
    bits = max(_MIN_BITS, (len(hashes) * _SPARSITY - 1).bit_length())
    seen = np.zeros(1 << bits, np.bool_)
    seen[hashes >> np.uint64(64 - bits)] = True
    return Contamination(hashes, n, seen)


def contaminated(
    lines: Sequence[str], documents: np.ndarray, count: int, *, contamination: Contamination
) -> np.ndarray:
    """Returns which documents hold an n-gram of the evaluation data, bool [count].

    Args:
      lines: the lines [L].
      documents: int64 [L], the number of each line's document, ascending.
      count: number of documents.
      contamination: the evaluation data.
    """
    found = grams(lines, documents, n=contamination.n)
    bits = len(contamination.filter).bit_length() - 1
    maybe = np.flatnonzero(contamination.filter.take(found.hashes >> np.uint64(64 - bits)))
    places = np.searchsorted(contamination.hashes, found.hashes[maybe])
    places = np.minimum(places, len(contamination.hashes) - 1)
    sure = maybe[contamination.hashes[places] == found.hashes[maybe]]
    hit = np.zeros(count, np.bool_)
    hit[found.documents[sure]] = True
    return hit


def strings_of(path: str) -> Iterator[str]:
    """Yields all strings of a file: of JSON at any depth, cells of tables, lines of text.

    Raises:
      UserError: no such file, it is not UTF-8, or not the JSON that its name says.
    """
    name = path.lower()
    for suffix in archives.SUFFIXES:
        name = name.removesuffix(suffix)
    text = _read(path)
    if name.endswith(_JSON):
        yield from _strings_in(_parse(text, path))
    elif name.endswith(_TABLES):
        separator = "\t" if name.endswith(".tsv") else ","
        for line in text.split("\n"):
            yield from line.split(separator)
    else:
        yield from text.split("\n")


def _read(path: str) -> str:
    parts: list[bytes] = []
    with files.open_read(path) as file:
        read = archives.open_reader(file, path)
        while data := archives.read_text(read, _CHUNK_BYTES, path):
            parts.append(data)
    try:
        return b"".join(parts).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


def _parse(text: str, path: str) -> list[Any]:
    """Returns the records of JSON lines, or the one value of a JSON file."""
    values: list[Any] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            try:
                return [json.loads(text)]
            except (ValueError, RecursionError):
                raise UserError(f"{path}:{number} is not JSON: {error}") from None
    return values


def _strings_in(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
