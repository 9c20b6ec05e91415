"""The cache of words: every stretch finds its own entry, whatever else is stored."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.text.wordpiece.token_cache import Encoded, TokenCache, _KeyTable

# Short ones, ones around the 8 and 16 characters of a key, ASCII and not, with U+0000.
stretches = st.text(alphabet="ab\0\x7f\x80é中", min_size=1, max_size=20)


def _encode(text: str) -> Encoded:
    """Ids that tell stretches apart, as many as the text has characters but U+0000, up to 3."""
    kept = text.replace("\0", "")
    if not kept:
        return Encoded([], [])
    number = int.from_bytes(kept.encode("utf-8"), "big") % 1_000_003
    return Encoded([number + place for place in range(len(kept) % 4)], [kept] * ("é" in kept))


def _look_up(store: TokenCache, texts: list[str]) -> list[list[int]]:
    text = "".join(texts)
    codepoints = np.array([ord(char) for char in text], np.uint32)
    ends = np.cumsum([len(one) for one in texts], dtype=np.int64)
    starts = ends - [len(one) for one in texts]
    entries = store.lookup(text, codepoints, starts, ends)
    found = []
    for entry, one in zip(entries.tolist(), texts, strict=True):
        ids = store.ids[store.starts[entry] : store.starts[entry] + store.counts[entry]]
        found.append(ids.tolist())
        assert store.single[entry] == (ids[0] if len(ids) == 1 else -1)
        assert store.has_unknown[entry] == bool(_encode(one).unknown)
        assert store.unknown.get(entry, []) == _encode(one).unknown
    return found


@settings(deadline=None)
@given(blocks=st.lists(st.lists(stretches, min_size=1, max_size=30), max_size=4))
def test_each_stretch_finds_its_ids(blocks: list[list[str]]) -> None:
    store = TokenCache(_encode)
    for texts in [*blocks, *blocks]:
        assert _look_up(store, texts) == [_encode(text).ids for text in texts]


def test_many_words_share_one_table() -> None:
    rng = np.random.default_rng(0)
    words = [f"{number:x}" for number in rng.integers(1, 1 << 62, 30_000).tolist()]
    words += [f"same start{number}" for number in range(30_000)]
    store = TokenCache(_encode)
    for start in range(0, len(words), 7000):
        some = words[start : start + 7000]
        assert _look_up(store, some) == [_encode(word).ids for word in some]
    assert len(store) == len(set(words))
    assert _look_up(store, words) == [_encode(word).ids for word in words]


def test_the_table_finds_inserted_keys_only() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(1, 1 << 16, (20_000, 2)).astype(np.uint64)
    low, high = np.unique(keys, axis=0).T.copy()
    table = _KeyTable()
    for start in range(0, 16_000, 1000):
        part = slice(start, start + 1000)
        assert (table.find(low[part], high[part]) == -1).all()
        table.insert(low[part], high[part], np.arange(start, start + 1000))
    found = table.find(low, high)
    np.testing.assert_array_equal(found[:16_000], np.arange(16_000))
    assert (found[16_000:] == -1).all()
    assert (table.find(np.zeros(3, np.uint64), high[:3]) == -1).all()


def test_a_word_is_encoded_once() -> None:
    calls: list[str] = []

    def encode(text: str) -> Encoded:
        calls.append(text)
        return Encoded([len(text)], [])

    store = TokenCache(encode)
    for _ in range(3):
        _look_up_plain(store, ["abc", "中", "abc", "a" * 30])
    assert calls == ["abc", "中", "a" * 30]


def _look_up_plain(store: TokenCache, texts: list[str]) -> None:
    text = "".join(texts)
    codepoints = np.array([ord(char) for char in text], np.uint32)
    ends = np.cumsum([len(one) for one in texts], dtype=np.int64)
    store.lookup(text, codepoints, ends - [len(one) for one in texts], ends)
