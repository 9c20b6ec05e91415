"""Training a SentencePiece model: its bytes, its pieces, its sentences."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.text.sentencepiece import train
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary, load_processor
from electra_zh.text.sentencepiece.train import build_pieces, normalization_rules
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import ModelType, VocabularySettings
from support.piece_models import make_pieces, make_text

SETTINGS = VocabularySettings("sentencepiece", 160, character_coverage=1.0)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_the_same_text_gives_the_same_bytes(model_type: ModelType) -> None:
    settings = dataclasses.replace(SETTINGS, model_type=model_type, sentences=200)
    half = make_text().index("\n", 2000)
    blocks = [make_text()[:half], make_text()[half + 1 :]]
    first, second = (build_pieces(some, settings) for some in ([make_text()], blocks))
    assert first.vocabulary == second.vocabulary
    assert (first.figures["seen"], first.figures["used"]) == (300, 200)
    assert isinstance(first.vocabulary, SentencePieceVocabulary)
    assert tempfile.gettempdir().encode() not in first.vocabulary.model


def test_another_seed_draws_other_sentences() -> None:
    settings = dataclasses.replace(SETTINGS, sentences=50, character_coverage=0.98)
    first, second = (
        build_pieces([make_text()], dataclasses.replace(settings, seed=seed)).vocabulary
        for seed in (0, 1)
    )
    assert first != second


def test_the_draw_is_uniform_and_of_the_right_size() -> None:
    counts = [0] * 40
    for seed in range(400):
        sample = train._Sample(10, seed)
        for start in range(0, 40, 7):
            sample.add("\n".join(map(str, range(start, min(start + 7, 40)))))
        assert len(set(sample.kept)) == 10
        for number in sample.kept:
            counts[int(number)] += 1
    # 100 expected of each; six standard deviations.
    assert all(48 < count < 152 for count in counts)


def test_long_lines_are_learnt_in_parts() -> None:
    sample = train._Sample(10, 0)
    sample.add("天" * 1000 + "\n \n\n地")
    assert list(map(len, sample.kept)) == [200] * 5 + [1]


def test_pieces_are_words_and_none_goes_over_punctuation_digits_or_spaces() -> None:
    tokens = make_pieces().tokens
    assert {"人工智能", "我们", "，", "2024"} <= set(tokens)
    for token in tokens[5:]:
        token = token.strip("▁")
        marks = sum(char in "，。“”" for char in token)
        digits = sum(char.isdigit() for char in token)
        assert marks in (0, len(token)), token
        assert digits in (0, len(token)), token
        assert "▁" not in token, token


def test_bytes_take_256_of_the_pieces() -> None:
    kinds = make_pieces(byte_fallback=True).parts.kinds
    assert kinds.count("byte") == 256
    assert make_pieces().parts.kinds.count("byte") == 0


def test_figures_of_the_model() -> None:
    learned = build_pieces([make_text()], SETTINGS)
    assert learned.figures["longer"] > 30
    assert learned.figures["characters_per_token"] > 1.5
    assert learned.figures["unknown"] == 0


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        (TokenizerSettings(), "ÉCLAIR É，ＡＢ", "eclair▁e，ａｂ"),
        (TokenizerSettings(), "\u3000 a\t\u2028b\u00a0\n", "a▁b"),
        (TokenizerSettings(), "a\u200b\x00\ufffdb\ufeff▁", "ab"),
        (TokenizerSettings(), "각Σ豈", "각σ豈"),
        (TokenizerSettings(strip_accents=False), "ÉE\u0301豈", "ée\u0301豈"),
        (TokenizerSettings(False, False), "Éa\t A", "Éa▁A"),
    ],
)
def test_normalisation_of_text(settings: TokenizerSettings, text: str, expected: str) -> None:
    processor = load_processor(make_pieces(tokenizer=settings).model)
    # U+0000 ends nothing and vanishes only in whole texts; compatibility ideographs decompose.
    if settings.strip_accents:
        expected = expected.replace("豈", "豈")
    assert processor.Normalize(text).replace("\x00", "") == expected


def test_rules_are_of_single_characters() -> None:
    lines = normalization_rules(TokenizerSettings()).split("\n")[:-1]
    assert all(" " not in line.partition("\t")[0] for line in lines)
    assert "41\t61" in lines
    assert "3000\t20" in lines
    assert "301\t" in lines


@pytest.mark.parametrize(
    ("values", "text", "message"),
    [
        ({}, "\n \n", "The corpus is empty: a vocabulary needs text"),
        ({"size": 20}, make_text(), "20 pieces is too small: the characters alone"),
        ({"size": 5}, make_text(), "5 pieces is too small: special tokens alone take 5"),
        ({"byte_fallback": True}, make_text(), "and bytes alone take 261"),
        (
            {"character_coverage": 0.5},
            "天",
            "character_coverage must be at least 0.98 and at most 1; received 0.5",
        ),
        ({"sentences": 0}, "天", "sentences must be at least 1; received 0"),
        ({"seed": -1}, "天", "seed must be at least 0; received -1"),
        (
            {"kind": "wordpiece", "model_type": "bpe", "character_coverage": 0.9995},
            "天",
            "model_type applies to kind sentencepiece only; kind is wordpiece. Remove model_type",
        ),
    ],
)
def test_rejected_settings(values: dict[str, Any], text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_pieces([text], dataclasses.replace(SETTINGS, **values))
