"""Tokens of several ideographs: as jieba and plain WordPiece give them, with their characters."""

from __future__ import annotations

import pickle
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from electra_zh.errors import UsageError
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import VocabularySettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from electra_zh.text.wordpiece.word_tokens import count_word_tokens, unused_words

WORDS = ("中国", "中国人", "北京", "大学", "北京大学", "学生", "研究", "我们")
SINGLE = "中国人北京大学生研究我们的，a1。"
VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *SINGLE, "##a", "##1", "an", *WORDS, "##京", "t恤"])
PLAIN = WordPieceTokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def jieba() -> Any:
    import jieba

    return jieba.Tokenizer()


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(VOCABULARY, TokenizerSettings(word_tokens=True))


def _plainly(jieba: Any, line: str) -> list[int]:
    """The rule of WoBERT, written down slowly."""
    decomposed = unicodedata.normalize("NFD", line.lower())
    text = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    ids: list[int] = []
    rest = ""
    for word in jieba.cut(text, HMM=False):
        if word in WORDS:
            ids += [*PLAIN.encode(rest), VOCABULARY.ids[word]]
            rest = ""
        else:
            rest += word
    return ids + PLAIN.encode(rest)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([*SINGLE, *WORDS, "A", "Ｂ", " ", "é", "卡拉OK", "𠀀", "\u200b"]))
        .map("".join)
        .map(str.strip),
        max_size=6,
    )
)
@example(["北京大学的中国人研究an大学生，我们中国", "", "北\u200b京 北京T恤", "ΑΣ北京"])
def test_words_are_tokens_as_in_wobert(
    jieba: Any, tokenizer: WordPieceTokenizer, lines: list[str]
) -> None:
    expected = [_plainly(jieba, line) for line in lines]
    assert [tokenizer.encode(line) for line in lines] == expected
    tokenized = tokenizer.tokenize_text("\n".join(lines))
    found = np.split(tokenized.ids, tokenized.line_ends[:-1])
    assert [each.tolist() for each in found[: len(lines)]] == expected


def test_the_tokens_of_words_cover_them(tokenizer: WordPieceTokenizer) -> None:
    text = "我们在北京大学an学，中国"
    batch = tokenizer.encode_batch([text, "", "大学"])
    covered = [
        text[first:end] for first, end in zip(batch.starts[:-1], batch.ends[:-1], strict=True)
    ]
    assert covered == ["我们", "在", "北京大学", "an", "学", "，", "中国"]
    assert (batch.starts[-1], batch.ends[-1]) == (0, 2)
    assert batch.text_ends.tolist() == [7, 7, 8]
    assert not batch.continues.any()
    starts = np.array([char in "我在北大an学，中" for char in text])
    firsts = tokenizer.find_firsts(text, tokenizer.tokenize_text(text), starts)
    assert firsts.tolist() == [0, 2, 3, 7, 9, 10, 11]


def test_a_character_of_a_word_is_not_counted_as_unknown(tokenizer: WordPieceTokenizer) -> None:
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "北京"])
    found = WordPieceTokenizer(vocabulary, TokenizerSettings(word_tokens=True))
    assert found.encode("北京") == [5]
    found.tokenize_text("北京，北")
    assert found.unknowns == {"，": 1, "北": 1}


def test_a_copy_makes_the_same_tokens(tokenizer: WordPieceTokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).tokens("北京大学") == ["北京大学"]


def test_word_tokens_are_counted() -> None:
    assert count_word_tokens(VOCABULARY) == len(WORDS)


def test_words_that_jieba_cuts_are_never_tokens() -> None:
    vocabulary = Vocabulary([*VOCABULARY.tokens, "大学我们"])
    assert unused_words(vocabulary, TokenizerSettings()) == [*WORDS, "大学我们"]
    assert unused_words(vocabulary, TokenizerSettings(word_tokens=True)) == ["中国人", "大学我们"]


def test_build_vocab_has_no_word_tokens() -> None:
    with pytest.raises(UsageError, match="word_tokens applies to build-data"):
        VocabularySettings(tokenizer=TokenizerSettings(word_tokens=True))
