"""Rows of pairs: against the plain loop over rows that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.encoding.sequences import (
    Cut,
    RaggedTokens,
    build_pairs,
    concatenate,
    distinct,
)

CLS, SEP = 1, 2
Texts = list[list[int]]

texts = st.lists(st.lists(st.integers(5, 99), max_size=12), max_size=6)
pairs = st.lists(
    st.tuples(st.lists(st.integers(5, 99), max_size=14), st.lists(st.integers(5, 99), max_size=14)),
    max_size=6,
)


def flat(lists: Sequence[Sequence[int]]) -> RaggedTokens:
    ids = np.array([index for text in lists for index in text], np.int32)
    return RaggedTokens(ids, np.cumsum([0, *map(len, lists)], dtype=np.int64)[1:])


def split(ids: np.ndarray, ends: np.ndarray) -> Texts:
    starts = [0, *ends.tolist()[:-1]]
    return [ids[start:end].tolist() for start, end in zip(starts, ends, strict=False)]


def plain_row(a: list[int], b: list[int], limit: int, cut: Cut) -> tuple[list[int], list[int]]:
    """One row and its segments, token by token."""
    a, b = list(a), list(b)
    while len(a) + len(b) > limit - (3 if b else 2):
        (a if (a if cut == "first" else len(a) > len(b)) else b).pop()
    row = [CLS, *a, SEP]
    tail = [*b, SEP] if b else []
    return row + tail, [0] * len(row) + [1] * len(tail)


@given(pairs, st.integers(5, 24), st.sampled_from(["longer", "first"]))
def test_pairs_are_those_of_the_plain_loop(
    pairs: list[tuple[list[int], list[int]]], limit: int, cut: Cut
) -> None:
    a, b = [first for first, _ in pairs], [second for _, second in pairs]
    built = build_pairs(flat(a), flat(b), cls_id=CLS, sep_id=SEP, max_seq_length=limit, cut=cut)
    expected = [plain_row(*pair, limit, cut) for pair in pairs]
    assert split(built.ids, built.ends) == [row for row, _ in expected]
    assert split(built.segments, built.ends) == [segments for _, segments in expected]
    assert built.ids.dtype == built.segments.dtype == np.int32
    assert built.ends.dtype == np.int64


@given(texts, st.integers(5, 16))
def test_single_texts_are_cut_at_their_end(texts: Texts, limit: int) -> None:
    built = build_pairs(flat(texts), None, cls_id=CLS, sep_id=SEP, max_seq_length=limit)
    expected = [[CLS, *text[: limit - 2], SEP] for text in texts]
    assert split(built.ids, built.ends) == expected
    assert not built.segments.any()


def test_equal_texts_lose_a_token_of_the_second_first() -> None:
    a, b = flat([[11, 12, 13]]), flat([[21, 22, 23]])
    built = build_pairs(a, b, cls_id=CLS, sep_id=SEP, max_seq_length=8)
    assert built.ids.tolist() == [CLS, 11, 12, 13, SEP, 21, 22, SEP]
    assert built.segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


@given(texts, st.data())
def test_slices_are_python_slices(texts: Texts, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=6)) if texts else []
    bounds = [
        sorted(data.draw(st.tuples(*[st.integers(0, len(texts[index]))] * 2))) for index in chosen
    ]
    starts = np.array([start for start, _ in bounds], np.int64)
    ends = np.array([end for _, end in bounds], np.int64)
    got = flat(texts).slices(np.array(chosen, np.int64), starts, ends - starts)
    expected = [texts[index][start:end] for index, (start, end) in zip(chosen, bounds, strict=True)]
    assert split(got.ids, got.ends) == expected


@pytest.mark.parametrize("chosen", [[], [0], [2, 0, 0]])
def test_take_repeats_texts_in_the_order_asked_for(chosen: list[int]) -> None:
    texts = [[7, 8], [], [9]]
    got = flat(texts).take(np.array(chosen, np.int64))
    assert split(got.ids, got.ends) == [texts[index] for index in chosen]


@given(pairs)
def test_concatenate_joins_text_by_text(pairs: list[tuple[list[int], list[int]]]) -> None:
    got = concatenate(flat([a for a, _ in pairs]), flat([b for _, b in pairs]))
    assert split(got.ids, got.ends) == [a + b for a, b in pairs]


def test_distinct_numbers_texts_by_their_first_place() -> None:
    texts, numbers = distinct(["天", "地", "天", "", "地"])
    assert texts == ["天", "地", ""]
    assert numbers.tolist() == [0, 1, 0, 2, 1]
