"""The tokenizer as a graph gives the tokenizer's ids for all texts and settings."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.text_graph import WordPieceGraph
from electra_zh.finetuning.encoding.sequences import RaggedTokens, build_pairs
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from support.converting import SENTENCES

SETTINGS = {
    "plain": TokenizerSettings(),
    "cased": TokenizerSettings(lower_case=False, strip_accents=False),
    "accents kept": TokenizerSettings(strip_accents=False),
    "punctuation mapped": TokenizerSettings(map_punctuation=True),
}
# Where rules meet: capital sigmas and what they look past, dropped characters, marks of several
# classes, letters that decompose or become two, ideographs that decompose, Hangul, selectors.
_POOLS = (
    *(range(0x20, 0x250), range(0x370, 0x400), range(0x20, 0x110000), range(0x2010, 0x2030)),
    *(range(0x300, 0x370), range(0xAC00, 0xD7A4), range(0xE0100, 0xE01F0), range(0x1D160, 0x1D175)),
    *(range(0x302A, 0x3030), range(0xF900, 0xFA20), range(0x4E00, 0x4F00)),
    (0x3A3, 0x3A3, 0x27, 0x2E, 0x2019, 0x2026, 0x41, 0x61, 0x20, 0xAD, 0x301, 0x60, 0xAA),
    (0xAA, 0x2B0, 0x345, 0x130, 0x1E9E, 0xFFFD, 0x0, 0x9, 0xA, 0xD, 0x85, 0x2028, 0x3000),
)


@functools.cache
def _vocabulary() -> Vocabulary:
    """Nearly every letter that can be a word's first or later one; an empty token; "##"."""
    letters = [chr(point) for point in range(0x21, 0x2100) if not chr(point).isspace()]
    letters = [letter for letter in letters if letter.isprintable()]
    # Without a mapped mark and with another one.
    letters.remove("\u201c")
    pieces = ["##" + letter for letter in letters]
    words = ["", "##", "日", "月", "ab", "##cd", "abc", "[CLS]x", "\u302e\u302f"]
    return Vocabulary(dict.fromkeys([*SPECIAL_TOKENS, *letters, *pieces, *words]))


@functools.cache
def _graph(settings: TokenizerSettings) -> WordPieceGraph:
    return WordPieceGraph(_vocabulary(), settings)


def _texts(count: int) -> list[str]:
    generator = random.Random(7)
    found = []
    for _ in range(count):
        points = (
            generator.choice(generator.choice(_POOLS)) for _ in range(generator.randrange(40))
        )
        found.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_ids_are_the_tokenizers(name: str) -> None:
    vocabulary = _vocabulary()
    tokenizer = WordPieceTokenizer(vocabulary, SETTINGS[name])
    every = [
        "a".join(chr(p) for p in range(start, start + 64) if not 0xD800 <= p < 0xE000)
        for start in (*range(0, 0x3400, 64), *range(0xA000, 0x20000, 64), 0xE0000, 0x10FFC0)
    ]
    limits = ["a" * 200, "a" * 201, "é" * 200, "é" * 201]
    special = ["", " ", "[MASK] [UNK][CLS]x", "ΑΣ ΑΣ. Α.Σ Σ ΑΣ日Σ ΑΣ'Α", "日" * 300]
    texts = [*_texts(3000), *every, *limits, *special, *SENTENCES]
    ids = tf.function(_graph(SETTINGS[name]).ids)(tf.constant(texts)).to_list()
    for text, found in zip(texts, ids, strict=True):
        assert found == list(tokenizer.encode(text)), ascii(text)


def test_invalid_utf8_is_removed() -> None:
    vocabulary = _vocabulary()
    graph = _graph(TokenizerSettings())
    found = graph.ids(tf.constant([b"a\xffb \xe6\x97", b""])).to_list()
    assert found == [list(WordPieceTokenizer(vocabulary).encode("ab")), []]


@pytest.mark.parametrize("limit", [5, 8, 9, 64])
@pytest.mark.parametrize("pairs", [True, False])
def test_rows_are_those_of_fine_tuning(limit: int, pairs: bool) -> None:
    vocabulary = _vocabulary()
    tokenizer = WordPieceTokenizer(vocabulary)
    graph = _graph(TokenizerSettings())
    lengths = [(a, b) for a in (0, 1, 2, 3, 4, 7, 70) for b in (0, 1, 2, 3, 4, 6, 70)]
    first, second = (["日" * pair[side] for pair in lengths] for side in (0, 1))
    a, b = (tokenizer.encode_batch(texts) for texts in (first, second))
    expected = build_pairs(
        RaggedTokens(a.ids, a.text_ends),
        RaggedTokens(b.ids, b.text_ends) if pairs else None,
        cls_id=vocabulary.cls_id,
        sep_id=vocabulary.sep_id,
        max_seq_length=limit,
    )
    others = tf.constant(second) if pairs else None
    rows = {
        name: value.numpy()
        for name, value in graph.rows(tf.constant(first), others, max_seq_length=limit).items()
    }
    real = rows["input_mask"] > 0
    np.testing.assert_array_equal(real.sum(1), np.diff(expected.ends, prepend=0))
    np.testing.assert_array_equal(rows["input_ids"][real], expected.ids)
    np.testing.assert_array_equal(rows["segment_ids"][real], expected.segments)
    assert not rows["input_ids"][~real].any()
    assert not rows["segment_ids"][~real].any()
