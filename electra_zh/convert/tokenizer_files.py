"""Vocabulary and tokenizer settings in the files of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from electra_zh import files
from electra_zh.convert import piece_tokenizer, tensor_files
from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import load_vocabulary, vocabulary_files
from electra_zh.text.vocabulary import Vocabulary

# Our own names first; the others are those of transformers' tokenizers.
_FILES = (*vocabulary_files(), "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")


def read_vocabulary(folder: str) -> Vocabulary | None:
    """Returns the vocabulary of vocab.txt, a SentencePiece model or tokenizer.json.

    The first that exists is read. Without any the result is None.
    """
    for name in _FILES:
        path = files.join(folder, name)
        if files.exists(path):
            return load_vocabulary(path)
    path = files.join(folder, "tokenizer.json")
    if not files.exists(path):
        return None
    model = tensor_files.read_settings(path).get("model")
    model = model if isinstance(model, dict) else {}
    kind, ids = model.get("type"), model.get("vocab")
    if kind in ("Unigram", "BPE"):
        raise UserError(
            f"{path} is a {kind} tokenizer, not WordPiece. Put the SentencePiece model that it "
            f"was made from in the same folder as {SentencePieceVocabulary.file_name}"
        )
    if not isinstance(ids, dict) or sorted(ids.values()) != list(range(len(ids))):
        raise UserError(f"{path} has no valid WordPiece vocabulary (model.vocab)")
    return Vocabulary(sorted(ids, key=ids.__getitem__), origin=path)


def read_settings(folder: str, vocabulary: Vocabulary | None) -> TokenizerSettings:
    """Returns the settings of text normalization, from the model or tokenizer_config.json."""
    if vocabulary is not None and vocabulary.settings is not None:
        return vocabulary.settings
    path = files.join(folder, "tokenizer_config.json")
    if not files.exists(path):
        return TokenizerSettings()
    saved = tensor_files.read_settings(path)
    lower_case = bool(saved.get("do_lower_case", True))
    strips = saved.get("strip_accents")
    return TokenizerSettings(lower_case, lower_case if strips is None else bool(strips))


def write(
    folder: str, vocabulary: Vocabulary, settings: TokenizerSettings, *, max_length: int
) -> None:
    """Writes the files of a tokenizer of transformers that gives our ids.

    WordPiece is written for BertTokenizer. Its ids differ for words over 100 characters, characters
    that this Python does not know, a final sigma, and special tokens spelt out in the text.
    SentencePiece is written as `tokenizer.json` next to the model. Its ids differ for special
    tokens spelt out, for equally probable ways of cutting a text in a unigram model, and, if
    accents are kept, for capitals with accents written as separate marks.
    """
    special = {
        f"{role}_token": vocabulary.tokens[getattr(vocabulary, f"{role}_id")]
        for role in ("unk", "sep", "pad", "cls", "mask")
    }
    vocabulary.save(files.join(folder, vocabulary.file_name))
    files.write_json(files.join(folder, "special_tokens_map.json"), special)
    tokenizer: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": settings.lower_case,
        "strip_accents": settings.strip_accents,
        "tokenize_chinese_chars": True,
    }
    if isinstance(vocabulary, SentencePieceVocabulary):
        tokenizer = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }
        pieces = piece_tokenizer.tokenizer_json(vocabulary)
        files.write_json(files.join(folder, "tokenizer.json"), pieces)
    tokenizer |= {"model_max_length": max_length, **special}
    files.write_json(files.join(folder, "tokenizer_config.json"), tokenizer)
