"""Small SentencePiece models that the tests share, ours and those of other makers."""

from __future__ import annotations

import functools
import io
import random
from typing import Any

import sentencepiece

from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.sentencepiece.train import build_pieces
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.training import ModelType, VocabularySettings

WORDS = (
    *(
        "中华人民共和国",
        "成立",
        "北京大学",
        "人工智能",
        "学习",
        "语言",
        "模型",
        "日月",
        "洪荒",
        "天地",
    ),
    *("的", "在", "是", "了", "我们", "研究", "方法", "结果", "表明", "使用", "数据", "训练"),
    *("，", "。", "“", "”", "2024", "1949", "年", "Hello ", "World ", "learning ", "café ", " a "),
)


@functools.cache
def make_text(lines: int = 300) -> str:
    """Returns lines of the words, each word often enough to become a piece."""
    generator = random.Random(1)
    return "\n".join(
        "".join(generator.choices(WORDS, k=generator.randint(3, 14))) for _ in range(lines)
    )


@functools.cache
def make_pieces(
    model_type: ModelType = "unigram",
    *,
    size: int = 160,
    byte_fallback: bool = False,
    tokenizer: TokenizerSettings = TokenizerSettings(),
) -> SentencePieceVocabulary:
    """Returns a model as build-vocab trains it."""
    settings = VocabularySettings(
        "sentencepiece",
        size + 256 * byte_fallback,
        tokenizer,
        model_type,
        character_coverage=1.0,
        byte_fallback=byte_fallback,
    )
    vocabulary = build_pieces([make_text()], settings).vocabulary
    assert isinstance(vocabulary, SentencePieceVocabulary)
    return vocabulary


@functools.cache
def make_tokenizer(
    model_type: ModelType = "unigram", *, byte_fallback: bool = False
) -> SentencePieceTokenizer:
    """Returns the tokenizer of such a model."""
    return SentencePieceTokenizer(make_pieces(model_type, byte_fallback=byte_fallback))


@functools.cache
def make_foreign(
    *,
    names: tuple[str, ...] = ("<cls>", "<sep>", "<mask>"),
    pad: int = 0,
    user_defined: bool = False,
    **options: Any,
) -> bytes:
    """Returns a model like those of others: NFKC, a space before each text, other names.

    `options` are those of the library's trainer.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(make_text().split("\n")),
        model_writer=model,
        vocab_size=160,
        pad_id=pad,
        unk_id=1 - pad,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
        user_defined_symbols=list(names) if user_defined else [],
        control_symbols=[] if user_defined else list(names),
        **options,
    )
    return model.getvalue()
