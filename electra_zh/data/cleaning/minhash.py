"""Documents that are almost the same as an earlier one, by MinHash (Broder, 1997).

A document is the set of its 5-grams (see `grams`), a signature of 128 numbers stands for the set,
and the share of numbers that two signatures have in common estimates the share that the sets have
in common (Jaccard), to about 0.04. rensa makes the signatures of hashes in one call; pairs to
compare are those that agree in a whole band of their signatures.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from electra_zh.data.cleaning.ngrams import grams, scramble
from electra_zh.errors import UserError

SIGNATURE = 128
_GRAM = 5
_SEED = 1
_THREADS = "RAYON_NUM_THREADS"
# What rensa gives for the empty set.
_NO_GRAMS = 0xFFFFFFFF
# A pair that is just similar enough is found with this probability at least.
_RECALL = 0.95
# Documents of one band's group that others are compared with. A group that needs more is of
# documents that have little in common but the band.
_MAX_LEADERS = 64


@functools.cache
def _rensa() -> Any:
    try:
        import rensa
    except ImportError:
        raise UserError(
            "--near-duplicates needs rensa: pip install 'electra-zh[near-duplicates]'"
        ) from None
    return rensa


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps rensa from using threads: a forked worker would wait for those of its parent forever.

    rensa looks at the variable in each call.
    """
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def prepare() -> None:
    """Loads what signatures need, before worker processes are forked.

    Raises:
      UserError: rensa is not installed.
    """
    _rensa()


def signatures(lines: list[str], documents: np.ndarray, count: int) -> np.ndarray:
    """Returns the signatures of documents, uint32 [count, SIGNATURE].

    Args:
      lines: the lines [L].
      documents: int64 [L], the number of each line's document, ascending.
      count: number of documents.
    """
    found = grams(lines, documents, n=_GRAM)
    offsets = np.searchsorted(found.documents, np.arange(count + 1))
    with _one_thread():
        matrix = _rensa().RMinHash.digest_matrix_from_flat_token_hashes(
            found.hashes, offsets.astype(np.uint64), SIGNATURE, _SEED
        )
    return np.array(matrix.to_rows(), np.uint32).reshape(count, SIGNATURE)


def near_duplicates(rows: np.ndarray, threshold: float) -> np.ndarray:
    """Returns which documents are near an earlier one, bool [n].

    In each group of documents that agree in a band, the first one is compared with all behind it,
    then the first one that is not near it with the rest, and so on.

    Args:
      rows: uint32 [n, SIGNATURE], signatures in the order of the corpus.
      threshold: the share of numbers in common from which on two are near.
    """
    near = np.zeros(len(rows), np.bool_)
    width = band_width(threshold)
    # Documents of under five units have no 5-gram, and are not near to anything.
    some = np.flatnonzero((rows != _NO_GRAMS).any(axis=1))
    for start in range(0, SIGNATURE - width + 1, width):
        keys = np.zeros(len(some), np.uint64)
        for column in range(start, start + width):
            keys = scramble(keys ^ rows[some, column])
        ranks = np.argsort(keys, kind="stable")
        order, keys = some[ranks], keys[ranks]
        same = keys[1:] == keys[:-1]
        changes = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        for first, last in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True):
            _mark_group(rows, order[first : last + 1], near, threshold)
    return near


def _mark_group(rows: np.ndarray, group: np.ndarray, near: np.ndarray, threshold: float) -> None:
    """Marks which documents of a group, in the order of the corpus, are near an earlier one."""
    for _ in range(_MAX_LEADERS):
        if len(group) < 2:
            return
        leader, group = group[0], group[1:]
        alike = np.mean(rows[group] == rows[leader], axis=1) >= threshold
        near[group[alike]] = True
        group = group[~alike]


def band_width(threshold: float) -> int:
    """Returns the widest band with which pairs of the threshold's similarity are still found."""
    for width in range(SIGNATURE, 1, -1):
        if 1 - (1 - threshold**width) ** (SIGNATURE // width) >= _RECALL:
            return width
    return 1
