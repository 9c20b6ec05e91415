"""What stood in a document or in the corpus before, by 64-bit hashes and sorting.

Two different texts have the same hash with a probability of about n * n / 2 ** 65 among n: one pair
in a billion lines with 3 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Hashes that are sorted at once; each takes about 80 bytes meanwhile.
PART_HASHES = 1 << 24


def later_in_document(hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns which lines stood in their document before, bool [L].

    Args:
      hashes: uint64 [L].
      documents: int64 [L], ascending.
    """
    order = np.lexsort((hashes, documents))
    later = np.zeros(len(hashes), np.bool_)
    hashes, documents = hashes[order], documents[order]
    later[order[1:]] = (hashes[1:] == hashes[:-1]) & (documents[1:] == documents[:-1])
    return later


def later_occurrences(hashes: np.ndarray) -> np.ndarray:
    """Returns which hashes stood in the array before, bool [n]."""
    order = np.argsort(hashes, kind="stable")
    later = np.zeros(len(hashes), np.bool_)
    ordered = hashes[order]
    later[order[1:]] = ordered[1:] == ordered[:-1]
    return later


def document_counts(hashes: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Returns of each line in how many documents it stands, int64 [L].

    Args:
      hashes: uint64 [L].
      documents: int64 [L], ascending.
    """
    order = np.argsort(hashes, kind="stable")
    hashes, documents = hashes[order], documents[order]
    new = np.concatenate([np.ones(min(1, len(hashes)), np.bool_), hashes[1:] != hashes[:-1]])
    another = new.copy()
    another[1:] |= documents[1:] != documents[:-1]
    groups = np.cumsum(new) - 1
    counts = np.empty(len(hashes), np.int64)
    counts[order] = np.bincount(groups[another])[groups] if len(groups) else 0
    return counts


class CorpusLines(NamedTuple):
    """The lines of one unit of the corpus that the rules on the whole corpus look at.

    Attributes:
      hashes: uint64 [L].
      documents: int64 [L], numbers over the whole corpus.
      long: bool [L], which are long enough to go as duplicates.
      looked_at: bool [L], which are to be looked at: those of documents that stay.
    """

    hashes: np.ndarray
    documents: np.ndarray
    long: np.ndarray
    looked_at: np.ndarray


class Repeats(NamedTuple):
    """Which lines of the whole corpus go, bool [lines of the corpus] each."""

    boilerplate: np.ndarray
    duplicate: np.ndarray


def find_repeats(
    load: Callable[[int], CorpusLines],
    sizes: Sequence[int],
    *,
    boilerplate: int,
    duplicates: bool,
    part_hashes: int = PART_HASHES,
) -> Repeats:
    """Finds the lines that stand in many documents, and those that stood in the corpus before.

    The hashes are taken in parts by their first bits, so that memory does not grow with the corpus
    but for the two bytes a line of the result; a unit's lines are loaded once for each part.

    Args:
      load: returns the lines of a unit.
      sizes: how many lines each unit has.
      boilerplate: lines in more documents than this go, all of them; 0: none.
      duplicates: whether long lines go that stood in the corpus before.
      part_hashes: about how many hashes are sorted at once.
    """
    total = sum(sizes)
    result = Repeats(np.zeros(total, np.bool_), np.zeros(total, np.bool_))
    bits = max(0, (max(total - 1, 0) // part_hashes).bit_length())
    for part in range(1 << bits if total else 0):
        gathered = _gather(load, sizes, part=part, bits=bits)
        many = np.zeros(len(gathered.hashes), np.bool_)
        if boilerplate:
            many = document_counts(gathered.hashes, gathered.documents) > boilerplate
            result.boilerplate[gathered.places[many]] = True
        if duplicates:
            rest = gathered.long & ~many
            places = gathered.places[rest]
            result.duplicate[places[later_occurrences(gathered.hashes[rest])]] = True
    return result


class _Gathered(NamedTuple):
    hashes: np.ndarray
    documents: np.ndarray
    long: np.ndarray
    places: np.ndarray


def _gather(
    load: Callable[[int], CorpusLines], sizes: Sequence[int], *, part: int, bits: int
) -> _Gathered:
    """Returns what is to be looked at of the hashes that start with the bits of `part`."""
    hashes: list[np.ndarray] = []
    documents: list[np.ndarray] = []
    long: list[np.ndarray] = []
    places: list[np.ndarray] = []
    offset = 0
    for unit, size in enumerate(sizes):
        lines = load(unit)
        mask = lines.looked_at
        if bits:
            mask = mask & (lines.hashes >> np.uint64(64 - bits) == part)
        chosen = np.flatnonzero(mask)
        hashes.append(lines.hashes[chosen])
        documents.append(lines.documents[chosen])
        long.append(lines.long[chosen])
        places.append(chosen + offset)
        offset += size
    return _Gathered(*map(np.concatenate, (hashes, documents, long, places)))
