"""Token ids: the reference's, by both paths, on any text."""

from __future__ import annotations

import json
import lzma
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_zh.text.characters import is_punctuation
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import TokenizedText
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece import token_cache
from electra_zh.text.wordpiece.tokenizer import PUNCTUATION_MAP, WordPieceTokenizer

GOLDEN = Path(__file__).parent.parent / "golden" / "tokenizer.json.xz"
SETTINGS = {
    "lower_strip": TokenizerSettings(),
    "lower_keep_accents": TokenizerSettings(strip_accents=False),
    "cased": TokenizerSettings(lower_case=False),
    "mapped": TokenizerSettings(map_punctuation=True),
}
EVERY_SETTING = pytest.mark.parametrize("name", SETTINGS)


def _vocabulary() -> Vocabulary:
    """Pieces of all kinds: ideographs, most punctuation, Latin, Greek, jamo, kana, marks."""
    points = [*range(0x4E00, 0x9FFF), *range(0x3041, 0x3100), *range(0x1100, 0x1200)]
    points += [*range(0x21, 0x7F), *range(0xC0, 0x250), *range(0x391, 0x3CA), 0x301, 0x302E]
    points += [point for point in range(0x3000, 0x30000) if _is_wide_punctuation(point)]
    chars = [chr(point) for point in sorted(set(points))]
    pieces = [f"##{char}" for char in chars if not 0x4E00 <= ord(char) <= 0x9FFF]
    words = ["abc", "##abc", "ab", "bert", "##ing", "2019", "##19", "σς", "##00", "mask", "The"]
    words += ["ひら", "##がな", "each", "##word"]
    return Vocabulary([*SPECIAL_TOKENS, "", *chars, *pieces, *words])


def _is_wide_punctuation(point: int) -> bool:
    return unicodedata.category(chr(point))[0] == "P"


VOCABULARY = _vocabulary()
TOKENIZERS = {name: WordPieceTokenizer(VOCABULARY, how) for name, how in SETTINGS.items()}


def _lines(result: TokenizedText) -> list[list[int]]:
    starts = [0, *result.line_ends.tolist()[:-1]]
    ends = result.line_ends.tolist()
    return [result.ids[a:b].tolist() for a, b in zip(starts, ends, strict=True)]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    fixture: dict[str, Any] = json.loads(lzma.decompress(GOLDEN.read_bytes()))
    # Characters unassigned in the reference's Unicode vanished there; where Python knows a later
    # version they may not.
    if unicodedata.unidata_version != fixture["unicode"]:
        unassigned = set(fixture["unassigned"])
        fixture["cases"] = [
            case for case in fixture["cases"] if unassigned.isdisjoint(case["text"])
        ]
    return fixture


@pytest.mark.parametrize("name", ["lower_strip", "lower_keep_accents", "cased"])
def test_ids_are_the_references(golden: dict[str, Any], name: str) -> None:
    tokenizer = WordPieceTokenizer(Vocabulary(golden["vocabulary"]), SETTINGS[name])
    cases = golden["cases"]
    assert len(cases) > 1000
    quick = _lines(tokenizer.tokenize_text("\n".join(case["text"] for case in cases)))
    for case, ids in zip(cases, quick, strict=True):
        assert ids == case[name], case["text"]
        assert tokenizer.encode(case["text"]) == case[name], case["text"]


# What has bitten tokenizers: case by context, characters that decompose or vanish, odd spaces.
NASTY = (
    list("aZbc019,.'[]#-=≠≮·:“”…—。，、？Σσς中国〇々豈丽가힣각한ひガｶﾞＡ１ßİıﬁéÅ")
    + list("\t\r \u3000\xa0\u2028\u2029\u1680\u180e\x0b\x0c\x1c\x1d\x1e\x1f\x85\x00\x7f")
    + list("\u200b\u200d\u2060\ufeff\xad\ufffd\ufffe\ud800\udfff\ue000\U000e0020\U0010ffff")
    + list("\u0301\u0327\u0338\u0345\u302e\u302f\u3099\U0001d165\U0001d16d\U00016ff0\U0001e944")
    + list("\u037e\u0387\u1fef\u2126\u212a\u2329\uf900\ufa0e\ufaff\U0002f800\U00020000\U0002a6df")
    + list("\U0001f600\U0001f1e8\u0e33\u0f43\U00011935\u1e9e\u01c5\u1f88\u0130\u0149\u0390")
)
WORDS = ["abc", "ABCing", "[MASK]", "2019", "ΑΣ", "ΟΔΟΣ'", "x" * 199, "x" * 200, "x" * 201]
WORDS += ["가" * 67, "é" * 150, "ひらがな", "BertEachWord", "https://a.b/c?d=e#f", "한국어", "\n"]
texts = st.lists(
    st.one_of(st.sampled_from(NASTY), st.sampled_from(WORDS), st.characters()), max_size=40
).map("".join)


@EVERY_SETTING
@settings(deadline=None)
@given(lines=st.lists(texts, max_size=6))
@example(lines=[])
@example(lines=["", "", ""])
@example(lines=["ΑΣ,Σ.Α Σ", "Α'\ufaffΣ", "Σ中Σ"])
def test_a_block_is_its_lines_each_encoded_alone(name: str, lines: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    text = "\n".join(lines)
    expected = [tokenizer.encode(line) for line in text.split("\n")]
    assert _lines(tokenizer.tokenize_text(text)) == expected
    # Once more, now that the word store knows all of it.
    assert _lines(tokenizer.tokenize_text(text)) == expected


@EVERY_SETTING
@settings(deadline=None)
@given(text=texts)
def test_token_ends_count_the_tokens_before(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    # A capital sigma takes its surroundings along into one stretch.
    text = text.replace("Σ", "")
    result = tokenizer.tokenize_text(text)
    assert result.codepoints.tolist() == [ord(char) for char in text]
    assert len(result.token_ends) == len(text)
    assert (np.diff(result.token_ends, prepend=0) >= 0).all()
    assert not text or result.token_ends[-1] == len(result.ids)
    for place, char in enumerate(text):
        if char in "中，。“\n ":
            before = tokenizer.encode(text[: place + 1])
            assert result.ids[: result.token_ends[place]].tolist() == before


def test_token_ends_within_words() -> None:
    tokenizer = TOKENIZERS["lower_strip"]
    assert tokenizer.tokens("中abcing,") == ["中", "abc", "##ing", ","]
    assert tokenizer.tokenize_text("中abcing,").token_ends.tolist() == [1, 1, 1, 1, 1, 2, 3, 4]
    # Two Hangul syllables are five letters, each a token; the rest counts at the last one.
    assert len(tokenizer.tokens("가각")) == 5
    assert tokenizer.tokenize_text(" 가각 a").token_ends.tolist() == [0, 1, 5, 5, 6]


# All that is assigned but for most ideographs and Hangul syllables. test_characters looks at every
# code point alone; here each is in a word and next to an ideograph, too.
UNASSIGNED = ("Cn", "Co", "Cs")
DENSE = (range(0x3400), range(0x9FF0, 0xAD00), range(0xD7A0, 0x20100), range(0x2A6D0, 0xE0200))


@pytest.mark.parametrize("name", ["lower_strip", "lower_keep_accents", "cased"])
def test_every_character_in_company(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    for points in DENSE:
        chars = [char for char in map(chr, points) if unicodedata.category(char) not in UNASSIGNED]
        text = "\n".join(f"{char} a{char}b{char}中" for char in chars if char != "\n")
        expected = [tokenizer.encode(line) for line in text.split("\n")]
        assert _lines(tokenizer.tokenize_text(text)) == expected


def test_words_over_200_characters_are_unknown() -> None:
    tokenizer = TOKENIZERS["lower_strip"]
    unknown = [VOCABULARY.unk_id]
    assert len(tokenizer.encode("x" * 200)) == 200
    assert tokenizer.encode("x" * 201) == unknown
    # The limit holds for the word that is left: decomposed, and without what vanishes.
    assert tokenizer.encode("가" * 101) == unknown
    assert len(tokenizer.encode("é" * 200)) == len(tokenizer.encode("x\u200b" * 200)) == 200
    assert len(tokenizer.encode(f"{'x' * 150}-{'x' * 150}")) == 301


def test_special_tokens_in_text_are_plain_text() -> None:
    assert TOKENIZERS["lower_strip"].tokens("[MASK]") == ["[", "mask", "]"]
    assert VOCABULARY.mask_id not in TOKENIZERS["cased"].tokenize_text("[MASK][CLS]").ids


def test_unknowns_are_counted() -> None:
    tokenizer = WordPieceTokenizer(VOCABULARY)
    long_word = "x" * 201
    tokenizer.tokenize_text(f"“中”“a\u2603 \u2603 \U00020000 {long_word}\n“ a\u2603")
    assert tokenizer.unknowns == {
        "“": 3,
        "”": 1,
        "a\u2603": 2,
        "\u2603": 1,
        "\U00020000": 1,
        "x" * 40 + "...": 1,
    }
    total = tokenizer.unknowns.total()
    assert total == (tokenizer.tokenize_text("“中”“a\u2603 \u2603").ids == 1).sum() + 4
    tokenizer.unknowns.clear()
    tokenizer.tokenize_text("a\u2603")
    assert tokenizer.unknowns == {"a\u2603": 1}


def test_mapped_punctuation() -> None:
    tokenizer = TOKENIZERS["mapped"]
    text = "“你”‘好’——再见…\n“"
    assert tokenizer.tokens(text) == [*'"你"', *"'好'", *"--再见", ".", '"']
    assert _lines(tokenizer.tokenize_text(text)) == [tokenizer.encode(s) for s in text.split("\n")]
    assert TOKENIZERS["lower_strip"].tokens("“") == ["[UNK]"]


def test_punctuation_that_the_vocabulary_has_is_not_mapped() -> None:
    how = TokenizerSettings(map_punctuation=True)
    tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, "“", '"']), how)
    # The one is there, of the others the counterpart is or is not.
    assert tokenizer.tokens("“”…") == ["“", '"', "[UNK]"]


def test_every_mapped_character_and_its_counterpart_are_punctuation() -> None:
    for source, target in PUNCTUATION_MAP.items():
        assert is_punctuation(source)
        assert target in "\"'-."


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_CHARACTERS"])
def test_a_full_word_store_starts_anew(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(token_cache, limit, 3)
    tokenizer = WordPieceTokenizer(VOCABULARY)
    for text in ["ab cd ef", "gh ab", "ef gh ij ひらがな", "ab"]:
        assert tokenizer.tokenize_text(text).ids.tolist() == tokenizer.encode(text)
    assert len(tokenizer._cache) < 4


def test_can_be_sent_to_another_process() -> None:
    how = TokenizerSettings(lower_case=False)
    tokenizer = WordPieceTokenizer(VOCABULARY, how)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.settings == how
    text = "The 中文 text"
    assert again.encode(text) == tokenizer.encode(text)
