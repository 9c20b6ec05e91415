"""Windows of long sentences."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.tagging_words import cut_windows


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(6, 60))
def test_every_token_is_scored_once_with_context(lengths: list[int], limit: int) -> None:
    windows = cut_windows(np.array(lengths, np.int64), limit)
    scored: list[list[int]] = [[] for _ in lengths]
    for number, start, size, own_start, own_end, (before, behind) in zip(*windows, strict=True):
        assert size <= limit
        assert before == (start > 0)
        assert behind == (start + size < lengths[number])
        assert start <= own_start <= own_end <= start + size
        scored[number] += range(own_start, own_end)
        quarter = limit // 4
        assert not before or own_start - start >= quarter
        assert not behind or start + size - own_end >= quarter
    assert scored == [list(range(length)) for length in lengths]


def test_a_sentence_that_fits_is_one_window() -> None:
    assert len(cut_windows(np.array([6, 7, 0]), 6).starts) == 1 + 2
