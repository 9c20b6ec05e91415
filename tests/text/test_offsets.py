"""Offsets: each token covers the right characters of the text as it was given."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_zh.text import tokenizer as tokenizers
from electra_zh.text.characters import is_dropped, normalize
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import TokenizedTexts
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.splitting import split_words
from electra_zh.text.wordpiece.tokenizer import PUNCTUATION_MAP, WordPieceTokenizer

SETTINGS = {
    "lower_strip": TokenizerSettings(),
    "lower_keep_accents": TokenizerSettings(strip_accents=False),
    "cased": TokenizerSettings(lower_case=False),
    "mapped": TokenizerSettings(map_punctuation=True),
}
EVERY_SETTING = pytest.mark.parametrize("name", SETTINGS)


def _vocabulary() -> Vocabulary:
    points = [*range(0x4E00, 0x9000), *range(0x3041, 0x3100), *range(0x1100, 0x1200)]
    points += [*range(0x21, 0x7F), *range(0xC0, 0x250), *range(0x391, 0x3CA), 0x301, 0x307, 0x3002]
    chars = [chr(point) for point in points]
    pieces = [f"##{char}" for char in chars if not 0x4E00 <= ord(char) <= 0x9FFF]
    words = ["abc", "##abc", "ab", "bert", "##ing", "2019", "##19", "οδ", "##ος", "istan"]
    words += ["ひら", "##がな", "cafe", "caf", "##fe", "The"]
    return Vocabulary([*SPECIAL_TOKENS, "", *chars, *pieces, *words])


VOCABULARY = _vocabulary()
TOKENIZERS = {name: WordPieceTokenizer(VOCABULARY, how) for name, how in SETTINGS.items()}

# Marks that decomposing puts into another order, and that are not stripped: pieces are those of
# the new order, places those of the old one, so what is covered need not be what the piece says.
REORDERED = list("\u302e\u302f\U0001d165\U0001d16d\U00016ff0")
NASTY = (
    list("aZbc019,.'[]#-=≠≮·:`“”…—。，豈中国〇𠀀丽々가각한ひガｶﾞΣσςΑΟΔß")
    + list("\n\n\t\r \u3000\u2028\u2029\x0b\x1c\x85\x00\x00\x7f\u200b\u200d\ufeff\xad\ufffd\ud800")
    + list("İıﬁéÅÉǅᾈΐẞ\u0301\u0307\u0327\u0338\u0345\u3099\ufe0f\U000e0100\u20e3\u0e33")
    + list("😀👩❤☃\U0001f1e8\U0002a6df\u037e\u2126\u212a\u2329\ufa0e\U00011935")
)
WORDS = ["abc", "ABCing", "[MASK]", "2019", "ΟΔΟΣ", "Α'Σ", "cafe\u0301", "İSTAN", "ひらがな", "e\0"]
WORDS += ["x" * 200, "x" * 201, "é" * 150, "각" * 67, "한국어", "#\ufe0f\u20e3"]
SOME = st.one_of(st.sampled_from(NASTY), st.sampled_from(WORDS))
texts = st.lists(SOME, max_size=30).map("".join)
any_texts = st.lists(st.one_of(SOME, st.sampled_from(REORDERED), st.characters()), max_size=30).map(
    "".join
)


def _each(result: TokenizedTexts) -> list[TokenizedTexts]:
    """The tokens of each text alone."""
    begins = np.append(0, result.text_ends)[:-1].tolist()
    return [
        TokenizedTexts(
            result.ids[begin:end],
            np.array([end - begin]),
            result.starts[begin:end],
            result.ends[begin:end],
            result.continues[begin:end],
        )
        for begin, end in zip(begins, result.text_ends.tolist(), strict=True)
    ]


def _shown(tokenizer: WordPieceTokenizer, text: str) -> list[tuple[str, int, int]]:
    result = tokenizer.encode_batch([text])
    tokens = [VOCABULARY.tokens[index] for index in result.ids]
    return list(zip(tokens, result.starts.tolist(), result.ends.tolist(), strict=True))


def _normal(tokenizer: WordPieceTokenizer, covered: str) -> str:
    """Returns a stretch as the tokenizer normalises it, with one sigma for both forms."""
    if tokenizer.settings.map_punctuation:
        mapped = {a: b for a, b in PUNCTUATION_MAP.items() if a not in VOCABULARY.ids}
        covered = "".join(mapped.get(char, char) for char in covered)
    kept = "".join(char for char in covered if not is_dropped(char))
    return normalize(kept, tokenizer.settings).replace("ς", "σ")


@EVERY_SETTING
@settings(deadline=None)
@given(some=st.lists(any_texts, max_size=6))
@example(some=[])
@example(some=["", "", ""])
@example(some=["\n", "a\nb", "", "中\n"])
@example(some=["ΑΣ,Σ.Α Σ", "Α'\ufaffΣ", "Σ中Σ"])
@example(some=["ab", "ab\0", "\0ab", "a\0b", "\0", "\0" * 8 + "ab", "ab\0"])
def test_ids_are_those_of_each_text(name: str, some: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    result = tokenizer.encode_batch(some)
    assert [item.dtype for item in result] == [np.int32, np.int64, np.int32, np.int32, np.bool_]
    assert len(result.text_ends) == len(some)
    assert len(result.ids) == len(result.starts) == len(result.ends) == len(result.continues)
    for text, one in zip(some, _each(result), strict=True):
        assert one.ids.tolist() == tokenizer.encode(text.replace("\n", " "))


@EVERY_SETTING
@settings(deadline=None)
@given(some=st.lists(any_texts, max_size=6))
def test_places_stay_in_the_text_and_never_fall(name: str, some: list[str]) -> None:
    for text, one in zip(some, _each(TOKENIZERS[name].encode_batch(some)), strict=True):
        assert (one.starts >= 0).all()
        assert (one.starts < one.ends).all()
        assert (one.ends <= len(text)).all()
        assert (np.diff(one.starts) >= 0).all()
        assert (np.diff(one.ends) >= 0).all()


@EVERY_SETTING
@settings(deadline=None)
@given(text=texts)
@example(text="e\0\u0301")
@example(text="가\u0301Σ,\u0301")
def test_a_piece_covers_its_own_characters(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    result = tokenizer.encode_batch([text])
    for index, start, end in zip(result.ids, result.starts, result.ends, strict=True):
        if index == VOCABULARY.unk_id:
            continue
        token = VOCABULARY.tokens[index]
        token = (token[2:] if len(token) > 2 and token.startswith("##") else token).replace(
            "ς", "σ"
        )
        covered = text[start:end]
        # Of a character that became several, a piece may have got some.
        if any(len(normalize(char, tokenizer.settings)) > 1 for char in covered):
            assert token in _normal(tokenizer, covered)
        else:
            assert token == _normal(tokenizer, covered)


@EVERY_SETTING
@settings(deadline=None)
@given(text=texts)
def test_the_pieces_of_a_word_cover_the_word(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    result = tokenizer.encode_batch([text])
    firsts = np.flatnonzero(~result.continues)
    lasts = [*(firsts[1:] - 1), len(result.ids) - 1] if len(firsts) else []
    covered = (
        [
            text[start:end]
            for start, end in zip(result.starts[firsts], result.ends[lasts], strict=True)
        ]
        if len(firsts)
        else []
    )
    mapping = str.maketrans(PUNCTUATION_MAP) if tokenizer.settings.map_punctuation else {}
    words = split_words(text.translate(mapping), tokenizer.settings)
    expected = [word.replace("ς", "σ") for word in words]
    assert [_normal(tokenizer, part).translate(mapping) for part in covered] == expected
    for index, token in enumerate(result.ids.tolist()):
        named = VOCABULARY.tokens[token]
        assert result.continues[index] == (named.startswith("##") and len(named) > 2)


@EVERY_SETTING
@settings(deadline=None)
@given(text=any_texts)
def test_uncovered_characters_have_no_tokens(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    result = tokenizer.encode_batch([text])
    is_covered = np.zeros(len(text), np.bool_)
    for start, end in zip(result.starts, result.ends, strict=True):
        is_covered[start:end] = True
        assert not is_dropped(text[start])
        assert not is_dropped(text[end - 1])
    for place in np.flatnonzero(~is_covered):
        char = text[place]
        assert char.isspace() or is_dropped(char) or not normalize(char, tokenizer.settings)


@EVERY_SETTING
@settings(deadline=None)
@given(some=st.lists(any_texts, max_size=6), size=st.integers(1, 40))
def test_neither_block_nor_neighbours_matter(name: str, some: list[str], size: int) -> None:
    tokenizer = TOKENIZERS[name]
    whole = tokenizer.encode_batch(some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizers, "BLOCK_CHARACTERS", size)
        cut = tokenizer.encode_batch(tuple(some))
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for text, each in zip(some, _each(whole), strict=True):
        # The words are cached by now; a new tokenizer would give the same.
        for cached, alone in zip(each, tokenizer.encode_batch([text]), strict=True):
            np.testing.assert_array_equal(cached, alone)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=100, deadline=None)
@given(text=any_texts, seed=st.integers(0, 99))
@example(text="3.5c++ ΑΣab", seed=1)
def test_firsts_are_in_the_words_of_the_first_characters(name: str, text: str, seed: int) -> None:
    tokenizer = TOKENIZERS[name]
    tokenized = tokenizer.tokenize_text(text)
    word_starts = np.random.default_rng(seed).random(len(text)) < 0.3
    word = np.cumsum(word_starts)
    covered = tokenizer.find_covered(text, tokenized)
    firsts = tokenizer.find_firsts(text, tokenized, word_starts)
    assert word[firsts].tolist() == word[covered.starts].tolist()
    assert np.all(np.diff(firsts) >= 0)


@pytest.mark.parametrize("order", [1, -1])
def test_cached_words_with_nul_keep_their_offsets(order: int) -> None:
    some = ["abcd", "abcd\0", "ab\0cd", "\0abcd", "\0" * 9 + "abcd"][::order]
    tokenizer = WordPieceTokenizer(VOCABULARY)
    places = [
        list(zip(one.starts.tolist(), one.ends.tolist(), strict=True))
        for one in _each(tokenizer.encode_batch([*some, *some]))
    ]
    expected = [
        [(0, 3), (3, 4)],
        [(0, 3), (3, 4)],
        [(0, 4), (4, 5)],
        [(1, 4), (4, 5)],
        [(9, 12), (12, 13)],
    ][::order]
    assert places == expected * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\u200b", []),
        ("中文。", [("中", 0, 1), ("文", 1, 2), ("。", 2, 3)]),
        (
            "用ABCing训2019年",
            [
                ("用", 0, 1),
                ("abc", 1, 4),
                ("##ing", 4, 7),
                ("训", 7, 8),
                ("2019", 8, 12),
                ("年", 12, 13),
            ],
        ),
        ("a\nb\u2028c\0", [("a", 0, 1), ("b", 2, 3), ("c", 4, 5)]),
        # A stripped mark belongs to its letter, however the two are written.
        ("le Café!", [("l", 0, 1), ("##e", 1, 2), ("cafe", 3, 7), ("!", 7, 8)]),
        ("le Cafe\u0301!", [("l", 0, 1), ("##e", 1, 2), ("cafe", 3, 8), ("!", 8, 9)]),
        ("caf\u0301fe", [("caf", 0, 4), ("##fe", 4, 6)]),
        ("中\U000e0100a,\u0301b", [("中", 0, 1), ("a", 2, 3), (",", 3, 4), ("b", 5, 6)]),
        # What vanishes belongs to a piece only inside of it.
        ("\u200bab\u200bc\u200bing\u200b", [("abc", 1, 5), ("##ing", 6, 9)]),
        # One letter of each syllable is a piece: both cover the syllable.
        (
            "가각",
            [
                ("\u1100", 0, 1),
                ("##\u1161", 0, 1),
                ("##\u1100", 1, 2),
                ("##\u1161", 1, 2),
                ("##\u11a8", 1, 2),
            ],
        ),
        ("İSTAN,ß", [("istan", 0, 5), (",", 5, 6), ("ß", 6, 7)]),
        # The last sigma is a final one, and its word continues after punctuation.
        ("ΟΔΟΣ", [("οδ", 0, 2), ("##ος", 2, 4)]),
        ("ΟΔΟΣ'Α", [("οδ", 0, 2), ("##ο", 2, 3), ("##σ", 3, 4), ("'", 4, 5), ("α", 5, 6)]),
        ("Σ\u0301,\u0301b", [("σ", 0, 2), (",", 2, 3), ("b", 4, 5)]),
        (
            "x.ΟΔΟΣ'中",
            [("x", 0, 1), (".", 1, 2), ("οδ", 2, 4), ("##ος", 4, 6), ("'", 6, 7), ("中", 7, 8)],
        ),
        ("“a☃b\u0301”𠀀", [("[UNK]", 0, 1), ("[UNK]", 1, 5), ("[UNK]", 5, 6), ("[UNK]", 6, 7)]),
        ("a 👩\u200d👧\ufe0f b", [("a", 0, 1), ("[UNK]", 2, 6), ("b", 7, 8)]),
        (f"-{'x' * 150}\u200b{'x' * 51}-", [("-", 0, 1), ("[UNK]", 1, 203), ("-", 203, 204)]),
    ],
)
def test_by_hand(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert _shown(TOKENIZERS["lower_strip"], text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lower_keep_accents", "É", [("é", 0, 1)]),
        # Lower-cased it is an i and a dot, and both are pieces.
        (
            "lower_keep_accents",
            "aİb",
            [("a", 0, 1), ("##i", 1, 2), ("##\u0307", 1, 2), ("##b", 2, 3)],
        ),
        ("lower_keep_accents", "e\u0301", [("e", 0, 1), ("##\u0301", 1, 2)]),
        ("cased", "TheΣ", [("The", 0, 3), ("##Σ", 3, 4)]),
        (
            "mapped",
            "“中…ΟΔ“Σ",
            [('"', 0, 1), ("中", 1, 2), (".", 2, 3), ("οδ", 3, 5), ('"', 5, 6), ("σ", 6, 7)],
        ),
    ],
)
def test_by_hand_with_other_settings(
    name: str, text: str, expected: list[tuple[str, int, int]]
) -> None:
    assert _shown(TOKENIZERS[name], text) == expected


def test_several_texts_are_flat() -> None:
    result = TOKENIZERS["lower_strip"].encode_batch(["中abcing", "", "\n2019年", "文"])
    assert [VOCABULARY.tokens[index] for index in result.ids] == [
        *["中", "abc", "##ing"],
        *["2019", "年"],
        "文",
    ]
    assert result.text_ends.tolist() == [3, 3, 5, 6]
    assert result.starts.tolist() == [0, 1, 4, 1, 5, 0]
    assert result.ends.tolist() == [1, 4, 7, 5, 6, 1]
    assert result.continues.tolist() == [False, False, True, False, False, False]


def test_marks_in_another_order_count_in_the_order_of_the_text() -> None:
    # Decomposed, the second mark comes first; places must not fall.
    shown = _shown(TOKENIZERS["lower_strip"], "a\u302f\u302eb")
    assert shown == [("[UNK]", 0, 4)]
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "##\U0001d165", "##\u302e"])
    tokenizer = WordPieceTokenizer(vocabulary)
    assert tokenizer.tokens("a\u302e\U0001d165") == ["a", "##\U0001d165", "##\u302e"]
    result = tokenizer.encode_batch(["a\u302e\U0001d165"])
    assert result.starts.tolist() == [0, 1, 2]
    assert result.ends.tolist() == [1, 2, 3]


def test_unknowns_are_counted() -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY)
    tokenizer.encode_batch(["a☃ “", "a☃"])
    assert tokenizer.unknowns == {"a☃": 2, "“": 1}


def test_cached_offsets_do_not_keep_a_tokenizer_alive() -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY)
    tokenizer.encode_batch(["abc"])
    reference = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert reference() is None
