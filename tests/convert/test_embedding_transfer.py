"""Matching of tokens between WordPiece and SentencePiece vocabularies."""

from __future__ import annotations

import pytest

from electra_zh.convert.embedding_transfer import parts, same_tokens
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.piece_models import make_foreign, make_pieces

PIECES = make_pieces()
# "##地" is in Google's vocabulary; no text gives it, so its row means nothing.
WORDS = Vocabulary([*SPECIAL_TOKENS, "[unused1]", "天", "地", "##地", "，", "hello", "##ing", "a"])


def _in(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    return [vocabulary.tokens[index] for index in ids]


def _same(token: str, new: Vocabulary, old: Vocabulary) -> str | None:
    index = same_tokens(new, old)[new.ids[token]]
    return old.tokens[index] if index >= 0 else None


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_match(token: str) -> None:
    assert _same(token, PIECES, WORDS) == token
    assert _same(token, WORDS, PIECES) == token


def test_special_tokens_with_other_names_match_by_role() -> None:
    foreign = SentencePieceVocabulary(make_foreign())
    same = same_tokens(foreign, PIECES)
    assert _in(PIECES, [same[foreign.ids[name]] for name in ("<pad>", "<unk>", "<mask>")]) == [
        "[PAD]",
        "[UNK]",
        "[MASK]",
    ]


def test_pieces_of_two_models_match_by_text() -> None:
    other = make_pieces("bpe")
    for token, index in zip(PIECES.tokens, same_tokens(PIECES, other), strict=True):
        assert index == other.ids.get(token, -1)


@pytest.mark.parametrize(
    ("token", "expected"),
    [("，", "，"), ("天", "天"), ("[unused1]", None), ("##ing", None), ("hello", None)],
)
def test_word_pieces_in_a_model(token: str, expected: str | None) -> None:
    found = _same(token, WORDS, PIECES)
    if token in ("##ing", "hello"):
        # With and without the mark of a space, whichever there is, the one that fits first.
        forms = ["ing", "▁ing"] if token == "##ing" else ["▁hello", "hello"]
        expected = next((form for form in forms if form in PIECES.ids), None)
    assert found == expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("天地", ["天", "地"]),
        ("▁hello", ["hello"]),
        ("hello", ["hello"]),
        ("▁helloing", ["hello", "##ing"]),
        ("中天", ["天"]),
        ("▁", []),
        ("<0x0A>", []),
    ],
)
def test_parts_of_a_piece(token: str, expected: list[str]) -> None:
    assert _in(WORDS, parts(token, PIECES, WORDS)) == expected


@pytest.mark.parametrize("token", ["人工智能的", "##人工智能的"])
def test_parts_of_a_word_piece(token: str) -> None:
    assert _in(PIECES, parts(token, WORDS, PIECES)) == ["人工智能", "的"]
    assert parts("[unused7]", WORDS, PIECES) == []


def test_parts_of_a_piece_of_another_model() -> None:
    other = make_pieces("bpe")
    assert _in(other, parts("▁人工智能x的", PIECES, other))[-1] == "的"
