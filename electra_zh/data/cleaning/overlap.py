"""Text that occurs elsewhere: in its document, earlier in the corpus, or in evaluation data.

Arrays of lines are `hashes`, uint64 [L], and `documents`, int64 [L], the ascending numbers of their
documents.

Texts are compared by 64-bit hashes. Among n different texts, two have the same hash with a
probability of about n * n / 2 ** 65: 3 % in a billion.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_zh import content, files
from electra_zh.data import archives, columnar
from electra_zh.data.cleaning.ngrams import Ngrams, hash_ngrams
from electra_zh.errors import UserError

_JSON = (".json", ".jsonl", ".ndjson")
_CHUNK_BYTES = 1 << 20
# The most hashes to sort at once; each takes up to 110 bytes meanwhile.
PART_HASHES = 1 << 21
# Entries of the filter per hash. One in this many look-ups of other hashes needs a search.
_SPARSITY = 8
_MIN_BITS = 16


def later_in_document(hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns whether each line occurs earlier in its document, bool [L]."""
    order = np.lexsort((hashes, documents))
    later = np.zeros(len(hashes), np.bool_)
    hashes, documents = hashes[order], documents[order]
    later[order[1:]] = (hashes[1:] == hashes[:-1]) & (documents[1:] == documents[:-1])
    return later


def later_occurrences(hashes: np.ndarray, *, part_hashes: int = PART_HASHES) -> np.ndarray:
    """Returns whether each hash occurs earlier in the array, bool [n].

    Parts of about `part_hashes` hashes, cut by their first bits, bound the memory.
    """
    bits = max(0, (max(len(hashes) - 1, 0) // part_hashes).bit_length())
    later = np.zeros(len(hashes), np.bool_)
    for part in range(1 << bits):
        among = np.flatnonzero(hashes >> np.uint64(64 - bits) == part) if bits else slice(None)
        chosen = hashes[among]
        later[among] = later_in_document(chosen, np.zeros(len(chosen), np.uint8))
    return later


def document_counts(hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns the number of documents that each line occurs in, int64 [L]."""
    order = np.argsort(hashes, kind="stable")
    hashes, documents = hashes[order], documents[order]
    new = np.concatenate([np.ones(min(1, len(hashes)), np.bool_), hashes[1:] != hashes[:-1]])
    another = new.copy()
    another[1:] |= documents[1:] != documents[:-1]
    groups = np.cumsum(new) - 1
    counts = np.empty(len(hashes), np.int64)
    counts[order] = np.bincount(groups[another])[groups] if len(groups) else 0
    return counts


class EvaluationData(NamedTuple):
    """The n-grams of evaluation data, and a filter: whether a hash starts with certain bits."""

    hashes: np.ndarray  # uint64 [G], sorted and distinct
    n: int
    filter: np.ndarray  # bool [2 ** bits]


def load_evaluation_data(
    paths: Sequence[str], *, n: int, convert: Callable[[Sequence[str]], list[str]]
) -> EvaluationData:
    """Reads JSON, JSON lines, tables or plain text, also compressed, by the content of each file.

    `convert` normalises strings as the text of the corpus is.

    Raises:
      UserError: no such file, it cannot be read, or it has no string of n units.
    """
    found: list[np.ndarray] = []
    for path in paths:
        strings = convert([string for string in strings_of(path) if len(string) >= n])
        found.append(hash_ngrams(strings, np.arange(len(strings)), n=n).hashes)
        if not len(found[-1]):
            raise UserError(
                f"{path} has no string of {n} ideographs and words. Remove it from "
                "--decontaminate, or lower --ngram"
            )
    hashes = np.unique(np.concatenate(found))
    bits = max(_MIN_BITS, (len(hashes) * _SPARSITY - 1).bit_length())
    seen = np.zeros(1 << bits, np.bool_)
    seen[hashes >> np.uint64(64 - bits)] = True
    return EvaluationData(hashes, n, seen)


def find_hits(lines: Sequence[str], documents: np.ndarray, evaluation: EvaluationData) -> Ngrams:
    """Returns the n-grams of the evaluation data in each document, ordered, without duplicates."""
    found = hash_ngrams(lines, documents, n=evaluation.n)
    bits = len(evaluation.filter).bit_length() - 1
    maybe = np.flatnonzero(evaluation.filter.take(found.hashes >> np.uint64(64 - bits)))
    hashes, numbers = found.hashes[maybe], found.documents[maybe]
    places = np.minimum(np.searchsorted(evaluation.hashes, hashes), len(evaluation.hashes) - 1)
    sure = evaluation.hashes[places] == hashes
    pairs = np.stack([numbers[sure].astype(np.uint64), hashes[sure]])
    numbers, hashes = np.unique(pairs, axis=1)
    return Ngrams(hashes, numbers.astype(np.int64))


def contaminated(hits: Ngrams, *, common: int) -> np.ndarray:
    """Returns the numbers of the documents that have an n-gram of the evaluation data.

    N-grams in more than `common` documents are ignored, unless it is 0: a common phrase or the name
    of a law says nothing about the source (Brown et al., 2020, appendix C, ignore those in over 10
    documents). `hits` are those of all documents in question, ordered by them.
    """
    if not common:
        return np.unique(hits.documents)
    rare = document_counts(hits.hashes, hits.documents) <= common
    return np.unique(hits.documents[rare])


def strings_of(path: str) -> Iterator[str]:
    """Yields all strings of a file: of JSON and tables at any depth, cells of TSV, lines of text.

    Raises:
      UserError: no such file, it is not UTF-8, or damaged JSON.
    """
    data = _read(path)
    form = content.recognize(data[: content.HEAD_BYTES])
    if form == content.BINARY:
        raise UserError(f"{path} is binary, not text")
    if form in content.COLUMNAR:
        with columnar.open_table(data, path) as table:
            for rows, _ in table.batches:
                yield from _strings_in(rows)
        return
    text = files.decode_text(data, path).removeprefix("\ufeff")
    name = archives.strip_suffix(path.lower())
    if form in (content.JSON, content.JSON_LINES) or name.endswith(_JSON):
        yield from _strings_in(_parse(text, path))
        return
    for line in text.split("\n"):
        # A comma may be inside a cell.
        yield from line.split("\t") if name.endswith(".tsv") else (line,)


def _read(path: str) -> bytes:
    with files.open_read(path) as file:
        read = archives.open_reader(file)
        return b"".join(iter(lambda: archives.read_text(read, _CHUNK_BYTES, path), b""))


def _parse(text: str, path: str) -> list[Any]:
    """Returns the records of JSON lines, or the one value of a JSON file."""
    with contextlib.suppress(ValueError, RecursionError):
        return [json.loads(text)]
    values: list[Any] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number} is not JSON: {error}") from None
    return values


def _strings_in(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            left.extend(item.values() if isinstance(item, dict) else item)
