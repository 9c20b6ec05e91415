"""Documents from blocks, and measures of lines, against plain Python."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning.document_batch import (
    DocumentBatch,
    hash_documents,
    read_batches,
)
from electra_zh.text.characters import is_cjk

LINES = st.lists(st.text(st.sampled_from("中国a1，。 +"), min_size=1), min_size=1, max_size=12)


def _documents(found: list[DocumentBatch]) -> list[list[str]]:
    return [
        [line for line, number in zip(each.lines, each.documents, strict=True) if number == index]
        for each in found
        for index in range(each.num_documents)
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["一", "二二", ""]), max_size=30), st.randoms())
def test_documents_do_not_depend_on_the_blocks(lines: list[str], random: object) -> None:
    cuts = sorted(random.randint(0, len(lines)) for _ in range(4))  # type: ignore[attr-defined]
    bounds = [0, *cuts, len(lines)]
    blocks = ["\n".join(lines[a:b]) for a, b in itertools.pairwise(bounds) if b > a]
    groups = itertools.groupby(lines, key=bool)
    expected = [list(group) for filled, group in groups if filled]
    assert _documents(list(read_batches(blocks))) == expected


def test_a_very_long_document_is_cut_into_parts() -> None:
    found = list(read_batches(["字字字字", "字字字字", "字字", "\n尾"], max_document=5))
    assert _documents(found) == [["字字字字", "字字字字"], ["字字"], ["尾"]]


def _measured(lines: list[str]) -> DocumentBatch:
    return DocumentBatch(lines, np.zeros(len(lines), np.int64))


@settings(deadline=None)
@given(LINES)
def test_measures_equal_counts_of_single_characters(lines: list[str]) -> None:
    measures = _measured(lines)
    for index, line in enumerate(lines):
        assert measures.solid[index] == len(line.replace(" ", ""))
        assert measures.chinese[index] == sum(is_cjk(ord(char)) for char in line)
        assert measures.symbols[index] == sum(
            unicodedata.category(char)[0] in "PSN" for char in line
        )


def _longest_run(line: str) -> int:
    best = 0
    for period in range(1, 5):
        for start in range(len(line)):
            end = start + period
            while end < len(line) and line[end] == line[end - period]:
                end += 1
            if end - start >= 2 * period:
                best = max(best, end - start)
    return best


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("哈啊。"), min_size=1, max_size=30), min_size=1))
def test_repetitions_equal_a_search_in_plain_python(lines: list[str]) -> None:
    assert _measured(lines).run.tolist() == list(map(_longest_run, lines))


def test_the_ideographic_zero_is_chinese() -> None:
    assert _measured(["二〇二五"]).chinese.tolist() == [4]


def test_hashes_differ_by_line_and_by_the_order_of_a_document_s_lines() -> None:
    hashes = _measured(["甲", "乙", "甲", "乙", "乙", "甲"]).hashes
    assert hashes[0] == hashes[2]
    assert hashes[0] != hashes[1]
    first, same, other = hash_documents(hashes, np.array([0, 0, 1, 1, 2, 2])).tolist()
    assert first == same != other
