"""Rules on the lines of the whole corpus, against plain Python."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning.corpus import CorpusLines, judge_lines
from electra_zh.data.cleaning.settings import CleanSettings

# Hashes all over 64 bits, few enough to occur again.
HASHES = st.lists(st.sampled_from([index * (2**64 // 7) + 5 for index in range(7)]), max_size=40)
# A document is the hashes of its lines, and whether earlier rules kept it.
UNITS = st.lists(st.lists(st.tuples(HASHES, st.booleans()), max_size=4), min_size=1, max_size=4)
VALUES: dict[str, Any] = {"boilerplate": 2, "duplicate_lines": 10}
SETTINGS = CleanSettings(("in",), "out", **VALUES)
RULES = [
    (verdict, rule)
    for verdict, rule in SETTINGS.active_rules()
    if rule.name in ("line_boilerplate", "line_duplicate")
]


def _load(units: list[list[tuple[list[int], bool]]]) -> list[CorpusLines]:
    """Returns the lines of each unit in documents that are left; even hashes are long lines."""
    corpus: list[CorpusLines] = []
    documents = lines = 0
    for unit in units:
        numbers = np.repeat(np.arange(documents, documents + len(unit)), [len(d) for d, _ in unit])
        hashes = np.array([value for document, _ in unit for value in document], np.uint64)
        left = np.array([kept for document, kept in unit for _ in document], np.bool_)
        positions = np.arange(lines, lines + len(hashes))
        loaded = CorpusLines(hashes, numbers, np.where(hashes % 2 == 0, 10, 9), positions)
        corpus.append(loaded.select(left))
        documents += len(unit)
        lines += len(hashes)
    return corpus


@pytest.mark.parametrize(("part_hashes", "part_files"), [(1, 2), (3, 100), (1000, 100)])
@settings(deadline=None, max_examples=30)
@given(units=UNITS)
def test_repeats_of_the_corpus(
    units: list[list[tuple[list[int], bool]]], part_hashes: int, part_files: int
) -> None:
    lines = [
        (value, index)
        for index, (document, kept) in enumerate(item for unit in units for item in unit)
        for value in (document if kept else [-1] * len(document))
    ]
    found = np.zeros(len(lines), np.uint8)
    load = _load(units).__getitem__
    limits = {"part_hashes": part_hashes, "part_files": part_files}
    with tempfile.TemporaryDirectory() as work:
        judge_lines(load, len(units), RULES, SETTINGS, found, work=work, **limits)
        assert os.listdir(work) == []
    (boilerplate, _), (duplicate, _) = RULES
    inside: dict[int, set[int]] = defaultdict(set)
    for value, index in lines:
        inside[value].add(index)
    many = [value >= 0 and len(inside[value]) > 2 for value, _ in lines]
    assert (found == boilerplate).tolist() == many
    before: set[int] = set()
    for position, (value, _) in enumerate(lines):
        later = value in before and value % 2 == 0 and not many[position]
        assert (found[position] == duplicate) == later
        if value >= 0:
            before.add(value)
