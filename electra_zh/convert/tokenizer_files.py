"""Vocabulary and tokenizer settings in the files of Hugging Face's transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.convert import piece_tokenizer
from electra_zh.convert.source_settings import MAX_FILLER, SourceSettings
from electra_zh.errors import UserError, few
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import load_vocabulary, vocabulary_files
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.word_tokens import count_word_tokens

# Our own names first; the others are those of transformers' tokenizers.
_FILES = (*vocabulary_files(), "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_FAST, _CONFIG = "tokenizer.json", "tokenizer_config.json"


class FoundTokenizer(NamedTuple):
    """The tokenizer of a foreign model, and sentences on how its files were understood."""

    vocabulary: Vocabulary | None
    settings: TokenizerSettings
    notes: tuple[str, ...]


def read_tokenizer(
    folders: Sequence[str], hints: SourceSettings = SourceSettings(), *, rows: int
) -> FoundTokenizer:
    """Returns the tokenizer of a model with `rows` word embeddings.

    The first of the folders with a vocabulary is read, unless the user names one.

    Raises:
      UserError: two vocabularies differ, and both fit.
    """
    folder, notes = folders[0], list[str]()
    vocabulary = None if hints.vocab is None else load_vocabulary(hints.vocab)
    for each in folders if vocabulary is None else ():
        vocabulary = read_vocabulary(each, rows=rows)
        if vocabulary is not None:
            if each != folder:
                notes.append(f"the vocabulary is that of {each}")
            folder = each
            break
    if vocabulary is not None and type(vocabulary) is Vocabulary:
        vocabulary, added = _with_added_tokens(vocabulary, folder, rows=rows)
        notes += added
        if never := count_word_tokens(vocabulary):
            notes.append(f"unused tokens of several ideographs, as WoBERT's: {never:,}")
    settings, case_notes = _read_settings(folder, vocabulary, hints.lower_case)
    return FoundTokenizer(vocabulary, settings, (*notes, *case_notes))


def read_vocabulary(folder: str, *, rows: int) -> Vocabulary | None:
    """Returns the vocabulary of a folder; of several that of `rows` tokens; None without any.

    It is vocab.txt, a SentencePiece model, tokenizer.json or another list of tokens.

    Raises:
      UserError: it is not valid, or there are two that differ.
    """
    names = files.list_dir(folder) if files.is_dir(folder) else []
    found = [load_vocabulary(files.join(folder, name)) for name in _FILES if name in names]
    if _FAST in names:
        with contextlib.suppress(*([UserError] if found else [])):
            found.append(_read_fast(files.join(folder, _FAST)))
    if not found:
        lists = [name for name in names if "vocab" in name and name.endswith(".txt")]
        found = [load_vocabulary(files.join(folder, name)) for name in lists]
    fits = [each for each in found if 0 <= rows - each.size <= MAX_FILLER]
    different = [each for each in fits[1:] if each.tokens != fits[0].tokens]
    if different and type(different[0]) is type(fits[0]):
        raise UserError(
            f"{folder} has two vocabularies that differ, of {fits[0].size:,} and "
            f"{different[0].size:,} tokens: remove the wrong one, or name one with --vocab"
        )
    return next(iter((*fits, *found)), None)


def _read_fast(path: str) -> Vocabulary:
    """Returns the WordPiece vocabulary of tokenizer.json, or raises UserError."""
    model = files.read_json_object(path).get("model")
    model = model if isinstance(model, dict) else {}
    kind, ids = model.get("type"), model.get("vocab")
    if kind in ("Unigram", "BPE"):
        raise UserError(
            f"{path} is a {kind} tokenizer, not WordPiece. Put the SentencePiece model that it "
            f"was made from in the same folder as {SentencePieceVocabulary.file_name}"
        )
    if not isinstance(ids, dict) or {*map(repr, ids.values())} != {*map(repr, range(len(ids)))}:
        raise UserError(f"{path} has no valid WordPiece vocabulary (model.vocab)")
    return Vocabulary(map(str.strip, sorted(ids, key=ids.__getitem__)), origin=path)


def _with_added_tokens(
    vocabulary: Vocabulary, folder: str, *, rows: int
) -> tuple[Vocabulary, list[str]]:
    """Returns a vocabulary with the tokens that a folder's tokenizer adds at its end."""
    by_id: dict[int, str] = {}
    for name in (_FAST, _CONFIG, "added_tokens.json"):
        path = files.join(folder, name)
        saved = files.read_json_object(path) if files.exists(path) else {}
        with files.explained_damage(path, "Restore it"):
            if name == "added_tokens.json":
                by_id |= {number: token for token, number in saved.items() if type(number) is int}
            for each in saved.get("added_tokens") or ():
                by_id[int(each["id"])] = str(each["content"])
            for number, each in (saved.get("added_tokens_decoder") or {}).items():
                by_id[int(number)] = str(each["content"])
    tokens = list(vocabulary.tokens)
    while len(tokens) < rows and by_id.get(len(tokens), "").split() == [by_id.get(len(tokens))]:
        tokens.append(by_id[len(tokens)])
    added = tokens[vocabulary.size :]
    if not added or set(added) & vocabulary.ids.keys():
        return vocabulary, []
    note = f"added tokens keep their ids, but no text gives them: {few(added)}"
    return Vocabulary(tokens, origin=folder), [note]


def _read_settings(
    folder: str, vocabulary: Vocabulary | None, lower_case: bool | None
) -> tuple[TokenizerSettings, list[str]]:
    """Returns the normalization of text: of the user, the model, or the tokenizer's files.

    Files that contradict the vocabulary are overruled by it, with a note.
    """
    if vocabulary is not None and vocabulary.settings is not None:
        return vocabulary.settings, []
    said, strips, splits = _said(folder)
    notes = []
    if splits is False:
        notes.append("every ideograph is a token here, although tokenize_chinese_chars is false")
    by_default = said is None
    said = True if said is None else said
    if lower_case is not None:
        strips = strips if lower_case == said else None
        return TokenizerSettings(lower_case, strips is not False), notes
    cased = vocabulary.is_cased if vocabulary is not None else None
    if cased is None or cased != said:
        return TokenizerSettings(said, strips is not False), notes
    setting = "that is the default" if by_default else f"do_lower_case is {said}".lower()
    note = f"text is lower-cased, as the vocabulary has no capitals, although {setting}"
    if cased:
        note = f"text is not lower-cased, as the vocabulary has capitals, although {setting}"
    flag = "--lower-case" if said else "--no-lower-case"
    return TokenizerSettings(not said), [*notes, f"{note}; {flag} overrules this"]


def _said(folder: str) -> tuple[bool | None, bool | None, bool | None]:
    """Returns whether text is lower-cased, accents are stripped, and ideographs are split.

    None where the files omit it.
    """
    path = files.join(folder, _CONFIG)
    saved = files.read_json_object(path) if files.exists(path) else {}
    lower, strips = saved.get("do_lower_case"), saved.get("strip_accents")
    splits = saved.get("tokenize_chinese_chars")
    path = files.join(folder, _FAST)
    if lower is None and files.exists(path):
        saved = files.read_json_object(path)
        with files.explained_damage(path, "Restore it"):
            normalizer = saved.get("normalizer") or {}
            lower, strips = normalizer.get("lowercase"), normalizer.get("strip_accents")
            splits = normalizer.get("handle_chinese_chars")
    said = (None if each is None else bool(each) for each in (lower, strips, splits))
    return next(said), next(said), next(said)


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
