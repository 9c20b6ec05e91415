"""A SentencePiece model as the `tokenizer.json` of Hugging Face's tokenizers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.model import SPACE_MARK, PieceModel, SentencePieceVocabulary

_TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def tokenizer_json(vocabulary: SentencePieceVocabulary) -> dict[str, Any]:
    """Returns a tokenizer that gives the model's ids.

    It includes the model's own normalization rules, then joins and strips spaces if the model
    does. It cuts at spaces first, which changes nothing, since no piece spans one.

    Raises:
      UserError: the model's pieces are words or single characters, or not all made by merges.
    """
    parts = vocabulary.parts
    if parts.algorithm not in ("unigram", "bpe"):
        raise UserError(
            f'The SentencePiece model has the type "{parts.algorithm}". Use unigram or bpe, the '
            "types of Hugging Face's tokenizers"
        )
    if parts.algorithm == "bpe" and "user" in parts.kinds:
        piece = parts.pieces[parts.kinds.index("user")]
        raise UserError(
            f'The SentencePiece model has "{piece}" as a symbol that its maker defined, which no '
            "merges give, as the BPE of Hugging Face's tokenizers needs. Use a unigram model"
        )
    # It puts no mark before a text that begins with a space.
    scheme = "always" if parts.dummy_prefix and parts.joins_spaces else "never"
    metaspace = {"type": "Metaspace", "replacement": SPACE_MARK, "prepend_scheme": scheme}
    roles = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")
    special = [
        {"id": index, "content": vocabulary.tokens[index], **_TOKEN, "special": True}
        for index in sorted(getattr(vocabulary, role) for role in roles)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(parts))},
        "pre_tokenizer": {**metaspace, "split": True},
        "post_processor": _frame(vocabulary),
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace]},
        "model": _model(vocabulary),
    }


def _normalizers(parts: PieceModel) -> Iterator[dict[str, Any]]:
    if parts.charsmap:
        rules = base64.b64encode(parts.charsmap).decode("ascii")
        yield {"type": "Precompiled", "precompiled_charsmap": rules}
    if parts.joins_spaces:
        yield {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
        yield {"type": "Strip", "strip_left": True, "strip_right": True}
    elif parts.dummy_prefix:
        yield {"type": "Prepend", "prepend": " "}


def _frame(vocabulary: SentencePieceVocabulary) -> dict[str, Any]:
    """Returns [CLS] first [SEP] second [SEP], with segments 0 and 1."""
    cls, sep = (vocabulary.tokens[index] for index in (vocabulary.cls_id, vocabulary.sep_id))

    def item(kind: str, name: str, segment: int) -> dict[str, Any]:
        return {kind: {"id": name, "type_id": segment}}

    special, text = "SpecialToken", "Sequence"
    single = [item(special, cls, 0), item(text, "A", 0), item(special, sep, 0)]
    ids = {cls: vocabulary.cls_id, sep: vocabulary.sep_id}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, item(text, "B", 1), item(special, sep, 1)],
        "special_tokens": {
            name: {"id": name, "ids": [index], "tokens": [name]} for name, index in ids.items()
        },
    }


def _model(vocabulary: SentencePieceVocabulary) -> dict[str, Any]:
    parts = vocabulary.parts
    if parts.algorithm == "unigram":
        return {
            "type": "Unigram",
            "unk_id": vocabulary.unk_id,
            "vocab": [list(pair) for pair in zip(parts.pieces, parts.scores, strict=True)],
            "byte_fallback": parts.byte_fallback,
        }
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": vocabulary.tokens[vocabulary.unk_id],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": parts.byte_fallback,
        "ignore_merges": False,
        "vocab": dict(vocabulary.ids),
        "merges": _merges(parts),
    }


def _merges(parts: PieceModel) -> list[Sequence[str]]:
    """Returns all pairs of pieces that make up a piece, in the order of their merging."""
    score = {
        piece: score
        for piece, score, kind in zip(parts.pieces, parts.scores, parts.kinds, strict=True)
        if kind == "normal"
    }
    pairs = [
        (-score[piece], number, (piece[:cut], piece[cut:]))
        for number, piece in enumerate(score)
        for cut in range(1, len(piece))
        if piece[:cut] in score and piece[cut:] in score
    ]
    return [list(pair) for _, _, pair in sorted(pairs)]
