"""Hashes of n-grams against plain Python."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning.ngrams import hash_ngrams


def _units(text: str) -> list[str]:
    return re.findall("[天地]|[a1]+", text)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("天地a1，"), max_size=12), max_size=6), st.integers(1, 9))
def test_equal_n_grams_have_equal_hashes(lines: list[str], n: int) -> None:
    found = hash_ngrams(lines, np.arange(len(lines)) // 2, n=n)
    texts = [_units("\n".join(lines[start : start + 2])) for start in (0, 2, 4)]
    expected = [
        (tuple(text[start : start + n]), number)
        for number, text in enumerate(texts)
        for start in range(len(text) - n + 1)
    ]
    assert found.documents.tolist() == [number for _, number in expected]
    pairs = set(zip(found.hashes.tolist(), (text for text, _ in expected), strict=True))
    assert len(pairs) == len({text for text, _ in expected}) == len({key for key, _ in pairs})


def test_case_width_and_punctuation_make_no_difference() -> None:
    plain = hash_ngrams(["abc 1天地玄黄"], np.zeros(1, np.int64), n=6)
    other = hash_ngrams(["ＡbC, １：", "“天 地”玄——黄。"], np.zeros(2, np.int64), n=6)
    assert plain.hashes.tolist() == other.hashes.tolist()
