"""Training a vocabulary: its layout, its size, its tokens and the text that they cover."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import Trained, VocabularySettings
from electra_zh.text.wordpiece import train
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from electra_zh.text.wordpiece.train_words import match_pieces

# Special tokens, 99 free slots, ASCII punctuation, ASCII letters and digits with and without ##.
LEAST = 104 + 32 + 2 * 36
TEXT = (
    "中文文本中的字，按频率排列。中文字！\n"
    "Learning learned learner; walking walked walker, 2019 and 2020.\n"
    "Straße Café ひらがな カタカナ 한국어 “引号”…… ΟΔΟΣ' ≠ Ａ１\n"
)


def _build(
    blocks: Iterable[str],
    *,
    size: int,
    settings: TokenizerSettings = TokenizerSettings(),
    **options: Any,
) -> Trained:
    return train.build_vocab(blocks, VocabularySettings(size=size, tokenizer=settings), **options)


def test_layout() -> None:
    vocabulary = _build([TEXT], size=600, min_frequency=1).vocabulary
    tokens = vocabulary.tokens
    assert vocabulary.size == 600
    assert tokens[0] == "[PAD]"
    assert tokens[1:100] == tuple(f"[unused{number}]" for number in range(1, 100))
    assert tokens[100:104] == ("[UNK]", "[CLS]", "[SEP]", "[MASK]")
    # Ideographs by frequency, those as frequent as each other by code point.
    assert tokens[104:108] == ("中", "文", "字", "列")
    start = tokens.index("!")
    assert "".join(tokens[start : start + 32]) == string.punctuation
    assert set(tokens[start + 32 : tokens.index("0")]) == set("，。！“”…")
    letters = tokens[tokens.index("0") : tokens.index("##0")]
    assert "".join(letters[:36]) == string.digits + string.ascii_lowercase
    after = tokens.index("##0") + len(letters)
    assert tokens[tokens.index("##0") : after] == tuple(f"##{letter}" for letter in letters)
    assert all(len(token.removeprefix("##")) > 1 for token in tokens[after:])


def test_text_is_normalised_as_the_tokenizer_does_it() -> None:
    learned = _build([TEXT], size=600, min_frequency=1)
    ids = learned.vocabulary.ids
    assert learned.figures["covered"] == 1
    assert "e" in ids
    assert "é" not in ids
    assert "Ａ" not in ids
    assert {"ａ", "ß", "##ひ", "ς", "ᄒ", "##ᆨ"} <= ids.keys()
    tokenizer = WordPieceTokenizer(learned.vocabulary)
    assert learned.vocabulary.unk_id not in tokenizer.tokenize_text(TEXT).ids


def test_cased_keeps_capitals() -> None:
    cased = TokenizerSettings(lower_case=False)
    learned = _build([TEXT * 2], size=700, settings=cased)
    assert {"A", "Z", "##A", "##Z", "é", "Σ", "Learn"} <= learned.vocabulary.ids.keys()
    tokenizer = WordPieceTokenizer(learned.vocabulary, cased)
    assert learned.vocabulary.unk_id not in tokenizer.tokenize_text(TEXT).ids


def test_frequent_words_become_pieces() -> None:
    learned = _build([TEXT * 3], size=600)
    tokenizer = WordPieceTokenizer(learned.vocabulary)
    assert tokenizer.tokens("Learning walked 2019") == ["learning", "walked", "2019"]
    assert tokenizer.tokens("relearn")[-1] in ("##learn", "##earn", "##rn", "##n")
    assert learned.figures["pieces"] > 20


def test_a_small_size_is_shared_by_frequency() -> None:
    chars = "".join(chr(0x4E00 + number) * (200 - number) for number in range(150))
    words = " ".join(f"word{number:02} " * 3 for number in range(99))
    learned = _build([f"{chars}\n{words}"], size=LEAST + 100, piece_share=0.2)
    assert (
        learned.figures["ideographs"],
        learned.figures["pieces"],
        learned.figures["unused"],
    ) == (80, 20, 99)
    assert learned.vocabulary.tokens[104:184] == tuple(map(chr, range(0x4E00, 0x4E50)))
    # Without pieces to learn, the characters have their share, and the reverse.
    assert _build([chars], size=LEAST + 100).figures["ideographs"] == 100
    assert _build([words], size=LEAST + 100).figures["pieces"] == 100


def test_rare_and_too_many_letters_are_left_out() -> None:
    text = "中中国" + " ф" * 5 + " ж" * 4 + " щ" * 3
    learned = _build([text], size=400, min_frequency=2, limit_alphabet=2)
    ids = learned.vocabulary.ids
    assert "中" in ids
    assert "国" not in ids
    assert {"ф", "##ф", "ж", "##ж"} <= ids.keys()
    assert "щ" not in ids
    assert learned.figures["letters"] == 36 + 2
    assert learned.figures["covered"] == pytest.approx(11 / 15)


def test_a_small_corpus_is_padded_to_the_size() -> None:
    learned = _build(["中中"], size=300)
    padding = 300 - LEAST - 1
    assert learned.figures["unused"] == 99 + padding
    assert learned.vocabulary.tokens[-1] == f"[unused{99 + padding}]"


def test_same_text_same_vocabulary_whatever_the_blocks() -> None:
    lines = TEXT.split("\n") * 2
    whole = _build(["\n".join(lines)], size=500)
    by_line = _build(iter(lines), size=500)
    assert whole.vocabulary.sha256 == by_line.vocabulary.sha256


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_MAX_WORDS", 20)

    def blocks() -> Iterator[str]:
        for number in range(50):
            yield f"often often always always rare{number} word{number}"

    ids = _build(blocks(), size=LEAST + 60, min_frequency=40).vocabulary.ids
    assert {"often", "always"} <= ids.keys()


def test_stretches_that_are_no_words_are_left_out() -> None:
    learned = _build(["z" * 1000 + " " + "q" * 201 + " word word"], size=400, min_frequency=1)
    assert "word" in learned.vocabulary.ids
    assert not [token for token in learned.vocabulary.tokens if "zz" in token or "qq" in token]


@pytest.mark.parametrize("text", ["", " \n\u3000\n", "\u200b"])
def test_an_empty_corpus_is_rejected(text: str) -> None:
    with pytest.raises(UserError, match="The corpus is empty"):
        _build([text], size=1000)


def test_a_size_without_room_is_rejected() -> None:
    with pytest.raises(UserError, match=f"{LEAST} entries is too small: .* alone take {LEAST}"):
        _build([TEXT], size=LEAST)
    assert _build([TEXT], size=LEAST + 1).vocabulary.size == LEAST + 1


@settings(max_examples=40, deadline=None)
@given(text=st.text(min_size=1), size=st.integers(LEAST + 1, 500))
def test_any_text_gives_a_vocabulary_of_the_size(text: str, size: int) -> None:
    learned = _build([f"中 {text}"], size=size, min_frequency=1)
    assert learned.vocabulary.size == size
    counted = (
        learned.figures["ideographs"]
        + learned.figures["punctuation"]
        + 2 * learned.figures["letters"]
        + learned.figures["pieces"]
    )
    assert counted + learned.figures["unused"] + 5 == size


def test_pieces_by_longest_match() -> None:
    text = "walking walked walker talking talked talker\n" * 5 + "中文，字。\n" * 5
    learned = _build([text], size=LEAST + 40, learn=match_pieces)
    again = _build([text], size=LEAST + 40, learn=match_pieces)
    assert learned.vocabulary == again.vocabulary
    assert learned.vocabulary.size == LEAST + 40
    pieces = learned.vocabulary.tokens[learned.vocabulary.tokens.index("##z") + 1 :]
    assert {"walking", "talker"} <= set(pieces)
    assert learned.figures["pieces"] == sum(not piece.startswith("[unused") for piece in pieces)
    tokenizer = WordPieceTokenizer(learned.vocabulary)
    assert learned.vocabulary.unk_id not in tokenizer.encode(text)


def test_longest_match_of_text_without_words() -> None:
    learned = _build(["天地玄黄，"], size=LEAST + 9, min_frequency=1, learn=match_pieces)
    assert learned.figures["pieces"] == 0
