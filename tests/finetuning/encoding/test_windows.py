"""Windows of texts: every token is covered, and has the most context in exactly one window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.encoding.windows import cut_windows


@given(
    tokens=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    room=st.integers(1, 20),
    stride=st.integers(1, 25),
    even=st.booleans(),
)
def test_windows_cover_every_token_and_each_has_one_window_of_most_context(
    tokens: list[int], room: int, stride: int, even: bool
) -> None:
    rooms = np.full(len(tokens), room)
    windows = cut_windows(np.array(tokens), rooms, stride=stride, even=even)
    assert (windows.lengths <= room).all()
    for number, count in enumerate(tokens):
        mine = windows.texts == number
        seen, most = np.zeros(count, int), np.zeros(count, int)
        for start, length, (first, end) in zip(
            windows.starts[mine], windows.lengths[mine], windows.max_context[mine], strict=True
        ):
            seen[start : start + length] += 1
            most[first:end] += 1
            assert count == 0 or start <= first < end <= start + length
        assert mine.sum() >= 1
        assert (seen >= 1).all()
        assert (most == 1).all()


def test_windows_begin_a_stride_apart_and_the_last_ends_with_the_text() -> None:
    windows = cut_windows(np.array([20, 5]), np.array([10, 10]), stride=4)
    assert windows.texts.tolist() == [0, 0, 0, 0, 1]
    assert windows.starts.tolist() == [0, 4, 8, 12, 0]
    assert windows.lengths.tolist() == [10, 10, 10, 8, 5]


def test_a_token_belongs_where_its_lesser_context_is_greatest() -> None:
    windows = cut_windows(np.array([60]), np.array([20]), stride=8)
    ends = windows.starts + windows.lengths - 1
    for token in range(60):
        contexts = np.minimum(token - windows.starts, ends - token)
        first, end = windows.max_context.T
        (best,) = np.flatnonzero((first <= token) & (token < end))
        assert best == contexts.argmax()


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(6, 60))
def test_even_windows_give_every_token_context_on_both_sides(
    lengths: list[int], limit: int
) -> None:
    rooms = np.full(len(lengths), limit)
    windows = cut_windows(np.array(lengths, np.int64), rooms, stride=limit // 2, even=True)
    scored: list[list[int]] = [[] for _ in lengths]
    for number, start, size, (first, end), (before, after) in zip(*windows, strict=True):
        assert size <= limit
        assert before == (start > 0)
        assert after == (start + size < lengths[number])
        assert start <= first <= end <= start + size
        scored[number] += range(first, end)
        quarter = limit // 4
        assert not before or first - start >= quarter
        assert not after or start + size - end >= quarter
    assert scored == [list(range(length)) for length in lengths]


def test_a_text_that_fits_is_one_window() -> None:
    rooms = np.full(3, 6)
    assert cut_windows(np.array([6, 7, 0]), rooms, stride=3, even=True).texts.tolist() == [
        *(0, 1, 1, 2)
    ]
