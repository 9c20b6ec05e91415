"""Vocabulary and tokenizer settings in the files of Hugging Face's transformers."""

from __future__ import annotations

from electra_zh import files
from electra_zh.config import UserError
from electra_zh.convert import tensor_files
from electra_zh.text.vocabulary import CLS, MASK, PAD, SEP, UNK, Vocabulary
from electra_zh.text.wordpiece import TokenizerSettings


def read_vocabulary(folder: str) -> Vocabulary | None:
    """Returns the vocabulary of vocab.txt, or else of tokenizer.json; None without both."""
    path = files.join(folder, "vocab.txt")
    if files.exists(path):
        return Vocabulary.load(path)
    path = files.join(folder, "tokenizer.json")
    if not files.exists(path):
        return None
    model = tensor_files.read_settings(path).get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or sorted(ids.values()) != list(range(len(ids))):
        raise UserError(f"{path} has no WordPiece vocabulary")
    return Vocabulary(sorted(ids, key=ids.__getitem__), origin=path)


def read_settings(folder: str) -> TokenizerSettings:
    """Returns how text is normalised, by tokenizer_config.json; the defaults without it."""
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
    """Writes the files of BertTokenizer, whose ids are ours.

    They differ only where no real text goes: words over 100 characters, characters that this
    Python does not know, a final sigma, and special tokens spelt out in the text.
    """
    special = {
        "unk_token": UNK,
        "sep_token": SEP,
        "pad_token": PAD,
        "cls_token": CLS,
        "mask_token": MASK,
    }
    vocabulary.save(files.join(folder, "vocab.txt"))
    files.write_json(files.join(folder, "special_tokens_map.json"), special)
    tokenizer = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": settings.lower_case,
        "strip_accents": settings.strips,
        "tokenize_chinese_chars": True,
        "model_max_length": max_length,
        **special,
    }
    files.write_json(files.join(folder, "tokenizer_config.json"), tokenizer)
