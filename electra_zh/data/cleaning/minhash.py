"""Documents that are similar to an earlier one, by MinHash (Broder, 1997).

A document is the set of its 5-grams (see `ngrams.py`), and a signature of 128 numbers represents
the set. The fraction of equal numbers of two signatures estimates the Jaccard similarity of the
sets, to about 0.04. rensa makes all signatures in one call. Only pairs that agree in a complete
band of their signatures are compared.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from electra_zh.data.cleaning.ngrams import hash_ngrams, scramble
from electra_zh.errors import UserError, install_line

SIGNATURE = 128
_NGRAM = 5
_SEED = 1
# rensa's signature of the empty set.
_EMPTY_SET = 0xFFFFFFFF
# The least probability of finding a pair that is just similar enough.
_RECALL = 0.95
# The most documents of a band's group that others are compared with. The documents of a larger
# group have little in common but the band.
_MAX_LEADERS = 64


@functools.cache
def _rensa() -> Any:
    try:
        import rensa
    except ImportError:
        raise UserError(
            f"--near-duplicates needs rensa: {install_line('near-duplicates')}"
        ) from None
    # rensa must not use threads: a forked worker would wait for those of its parent forever.
    os.environ["RAYON_NUM_THREADS"] = "1"
    return rensa


def signatures(lines: list[str], documents: np.ndarray, count: int) -> np.ndarray:
    """Returns the signatures of `count` documents, uint32 [count, SIGNATURE].

    The documents of the lines have the ascending numbers int64 [L].
    """
    ngrams = hash_ngrams(lines, documents, n=_NGRAM)
    offsets = np.searchsorted(ngrams.documents, np.arange(count + 1))
    matrix = _rensa().RMinHash.digest_matrix_from_flat_token_hashes(
        ngrams.hashes, offsets.astype(np.uint64), SIGNATURE, _SEED
    )
    return np.array(matrix.to_rows(), np.uint32).reshape(count, SIGNATURE)


def near_duplicates(rows: np.ndarray, threshold: float) -> np.ndarray:
    """Returns whether each document is similar to an earlier one, bool [n].

    In each group of documents that agree in a band, the first one is compared with all others, then
    the first one that is not similar to it with the rest, and so forth. The signatures `rows`,
    uint32 [n, SIGNATURE], are in the order of the corpus.
    """
    near = np.zeros(len(rows), np.bool_)
    width = band_width(threshold)
    # Documents of under five units have no 5-gram, and are not similar to anything.
    some = np.flatnonzero((rows != _EMPTY_SET).any(axis=1))
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
    """Marks the documents of a group, in the order of the corpus, that are similar to another."""
    for _ in range(_MAX_LEADERS):
        if len(group) < 2:
            return
        leader, group = group[0], group[1:]
        similar = np.mean(rows[group] == rows[leader], axis=1) >= threshold
        near[group[similar]] = True
        group = group[~similar]


def band_width(threshold: float) -> int:
    """Returns the widest band that still finds pairs of the threshold's similarity."""
    for width in range(SIGNATURE, 1, -1):
        if 1 - (1 - threshold**width) ** (SIGNATURE // width) >= _RECALL:
            return width
    return 1
