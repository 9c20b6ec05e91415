"""Repeats in a document and in the corpus, against plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning.duplicates import (
    CorpusLines,
    document_counts,
    find_repeats,
    later_in_document,
    later_occurrences,
)

# Hashes all over 64 bits, few enough to meet again.
HASHES = st.lists(st.sampled_from([index * (2**64 // 7) + 5 for index in range(7)]), max_size=40)
UNITS = st.lists(st.lists(st.tuples(HASHES, st.booleans()), max_size=4), min_size=1, max_size=4)


@settings(deadline=None)
@given(HASHES)
def test_later_occurrences(hashes: list[int]) -> None:
    expected = [value in hashes[:index] for index, value in enumerate(hashes)]
    assert later_occurrences(np.array(hashes, np.uint64)).tolist() == expected


@settings(deadline=None)
@given(HASHES, st.integers(1, 10))
def test_later_in_document(hashes: list[int], size: int) -> None:
    documents = np.arange(len(hashes)) // size
    expected = [value in hashes[index // size * size : index] for index, value in enumerate(hashes)]
    assert later_in_document(np.array(hashes, np.uint64), documents).tolist() == expected


def test_a_line_counts_once_in_each_document() -> None:
    hashes = np.array([7, 7, 8, 7, 9], np.uint64)
    assert document_counts(hashes, np.array([0, 0, 0, 1, 2])).tolist() == [2, 2, 1, 2, 1]
    assert document_counts(hashes[:0], np.arange(0)).tolist() == []


@pytest.mark.parametrize("part_hashes", [1, 3, 1000])
@settings(deadline=None, max_examples=30)
@given(units=UNITS)
def test_repeats_of_the_corpus(units: list[list[tuple[list[int], bool]]], part_hashes: int) -> None:
    # A document is its lines' hashes, and whether it is looked at; even hashes are long lines.
    corpus: list[CorpusLines] = []
    number = 0
    for unit in units:
        numbers = np.repeat(np.arange(number, number + len(unit)), [len(d) for d, _ in unit])
        hashes = np.array([value for document, _ in unit for value in document], np.uint64)
        looked_at = np.array([look for document, look in unit for _ in document], np.bool_)
        corpus.append(CorpusLines(hashes, numbers, hashes % 2 == 0, looked_at))
        number += len(unit)
    sizes = [len(lines.hashes) for lines in corpus]
    found = find_repeats(
        corpus.__getitem__, sizes, boilerplate=2, duplicates=True, part_hashes=part_hashes
    )
    lines = [
        (value, index)
        for index, (document, look) in enumerate(item for unit in units for item in unit)
        for value in (document if look else [-1] * len(document))
    ]
    inside: dict[int, set[int]] = defaultdict(set)
    for value, index in lines:
        inside[value].add(index)
    many = [value >= 0 and len(inside[value]) > 2 for value, _ in lines]
    assert found.boilerplate.tolist() == many
    before: set[int] = set()
    for position, (value, _) in enumerate(lines):
        later = value in before and value % 2 == 0 and not many[position]
        assert found.duplicate[position] == later
        if value >= 0:
            before.add(value)
