"""Evaluation data, and the documents of a corpus that hold a stretch of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data import archives
from electra_zh.data.cleaning.duplicates import document_counts
from electra_zh.data.cleaning.ngrams import Grams, grams
from electra_zh.errors import UserError

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
      n: units of a gram.
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
      n: units of a gram.
      convert: does to the strings what is done to the corpus's text.

    Raises:
      UserError: no such file, it cannot be read, or it has no string of n units.
    """
    found: list[np.ndarray] = []
    for path in paths:
        strings = convert([string for string in strings_of(path) if len(string) >= n])
        hashes = grams(strings, np.arange(len(strings)), n=n).hashes
        if not len(hashes):
            raise UserError(f"{path} has no string of {n} ideographs and words")
        found.append(np.unique(hashes))
    return index(np.unique(np.concatenate(found)), n=n)


def index(hashes: np.ndarray, *, n: int) -> Contamination:
    """Returns sorted hashes as something to look up in."""
    bits = max(_MIN_BITS, (len(hashes) * _SPARSITY - 1).bit_length())
    seen = np.zeros(1 << bits, np.bool_)
    seen[hashes >> np.uint64(64 - bits)] = True
    return Contamination(hashes, n, seen)


def find_hits(lines: Sequence[str], documents: np.ndarray, evaluation: Contamination) -> Grams:
    """Returns which n-grams of the evaluation data stand in which documents, each pair once.

    Args:
      lines: the lines [L].
      documents: int64 [L], the number of each line's document, ascending.
      evaluation: the evaluation data.

    Returns:
      The grams, ordered by their documents.
    """
    found = grams(lines, documents, n=evaluation.n)
    bits = len(evaluation.filter).bit_length() - 1
    maybe = np.flatnonzero(evaluation.filter.take(found.hashes >> np.uint64(64 - bits)))
    hashes, numbers = found.hashes[maybe], found.documents[maybe]
    places = np.minimum(np.searchsorted(evaluation.hashes, hashes), len(evaluation.hashes) - 1)
    sure = evaluation.hashes[places] == hashes
    hashes, numbers = hashes[sure], numbers[sure]
    order = np.lexsort((hashes, numbers))
    hashes, numbers = hashes[order], numbers[order]
    new = np.ones(len(hashes), np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (numbers[1:] != numbers[:-1])
    return Grams(hashes[new], numbers[new])


def contaminated(hits: Grams, *, common: int) -> np.ndarray:
    """Returns the numbers of the documents that hold an n-gram of the evaluation data.

    An n-gram in many documents is a common phrase, or the name of a law, and says nothing of where
    a document comes from (Brown et al., 2020, appendix C, ignore those in over 10 documents).

    Args:
      hits: of all documents that are looked at, ordered by them.
      common: n-grams in more documents than this are ignored; 0: none is.
    """
    if not common:
        return np.unique(hits.documents)
    rare = document_counts(hits.hashes, hits.documents) <= common
    return np.unique(hits.documents[rare])


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
