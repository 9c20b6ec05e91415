"""Vocabularies and tokenizer settings of foreign folders, and contradictions between them."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path

import pytest

from electra_zh.convert.source_settings import SourceSettings
from electra_zh.convert.tokenizer_files import read_tokenizer
from electra_zh.errors import UserError
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

SMALL = (*SPECIAL_TOKENS, "<S>", "<T>", "天", *string.ascii_lowercase)
SMALL = (*SMALL, *(f"##{letter}" for letter in string.ascii_lowercase))
CASED = (*SMALL, *string.ascii_uppercase, *(f"##{letter}" for letter in string.ascii_uppercase))
ONLY_CAPITALS = tuple(token.upper() for token in SMALL)


def _write(folder: Path, tokens: tuple[str, ...], **files: Mapping[str, object]) -> str:
    Vocabulary(tokens).save(str(folder / "vocab.txt"))
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("tokens", "said", "lower", "note"),
    [
        (SMALL, None, True, ""),
        (SMALL, True, True, ""),
        (SMALL, False, True, "no capitals, although do_lower_case is false; --no-lower-case"),
        (CASED, False, False, ""),
        (CASED, None, False, "has capitals, although that is the default; --lower-case"),
        (CASED, True, False, "has capitals, although do_lower_case is true; --lower-case"),
        (ONLY_CAPITALS, True, False, "has capitals"),
        ((*SMALL, "NBA"), False, True, "no capitals"),
        ((*SPECIAL_TOKENS, "天"), False, False, ""),
    ],
)
def test_the_case_of_text_is_that_of_the_vocabulary(
    tokens: tuple[str, ...], said: bool | None, lower: bool, note: str, tmp_path: Path
) -> None:
    config = {} if said is None else {"tokenizer_config": {"do_lower_case": said}}
    folder = _write(tmp_path, tokens, **config)
    found = read_tokenizer([folder], rows=len(tokens))
    assert found.settings == TokenizerSettings(lower)
    assert len(found.notes) == bool(note)
    assert note in "".join(found.notes)
    # The user decides otherwise, without a note.
    for wanted in (True, False):
        given = read_tokenizer([folder], SourceSettings(lower_case=wanted), rows=len(tokens))
        assert (given.settings, given.notes) == (TokenizerSettings(wanted), ())


def test_no_word_is_unknown_by_a_wrong_setting(tmp_path: Path) -> None:
    folder = _write(tmp_path, SMALL, tokenizer_config={"do_lower_case": False})
    vocabulary, settings, _ = read_tokenizer([folder], rows=len(SMALL))
    assert vocabulary is not None
    tokens = WordPieceTokenizer(vocabulary, settings).tokens("iPhone NBA café")
    assert "[UNK]" not in tokens


def _fast(tokens: tuple[str, ...], **more: object) -> dict[str, object]:
    vocab = {token: number for number, token in enumerate(tokens)}
    return {"model": {"type": "WordPiece", "vocab": vocab}, **more}


def test_settings_of_a_fast_tokenizer_alone(tmp_path: Path) -> None:
    normalizer = {"type": "BertNormalizer", "lowercase": True, "strip_accents": False}
    folder = _write(tmp_path, SMALL, tokenizer=_fast(SMALL, normalizer=normalizer))
    (tmp_path / "vocab.txt").unlink()
    vocabulary, settings, notes = read_tokenizer([folder], rows=len(SMALL))
    assert vocabulary is not None
    assert (vocabulary.tokens, settings, notes) == (SMALL, TokenizerSettings(True, False), ())


@pytest.mark.parametrize(
    "saved",
    [
        {"tokenizer_config": {"do_lower_case": True, "tokenize_chinese_chars": False}},
        {"tokenizer": {"normalizer": {"lowercase": True, "handle_chinese_chars": False}}},
    ],
)
def test_ideographs_that_the_source_does_not_split(
    saved: dict[str, Mapping[str, object]], tmp_path: Path
) -> None:
    (note,) = read_tokenizer([_write(tmp_path, SMALL, **saved)], rows=len(SMALL)).notes
    assert note == "every ideograph is a token here, although tokenize_chinese_chars is false"


def test_of_two_vocabularies_the_one_that_fits(tmp_path: Path) -> None:
    folder = _write(tmp_path, SMALL, tokenizer=_fast(CASED * 1))
    more = (*CASED, *(f"[unused{number}]" for number in range(200)))
    (tmp_path / "tokenizer.json").write_text(json.dumps(_fast(more)), encoding="utf-8")
    assert read_tokenizer([folder], rows=len(SMALL)).vocabulary == Vocabulary(SMALL)
    assert read_tokenizer([folder], rows=len(more)).vocabulary == Vocabulary(more)
    swapped = (*SMALL[:-2], SMALL[-1], SMALL[-2])
    (tmp_path / "tokenizer.json").write_text(json.dumps(_fast(swapped)), encoding="utf-8")
    with pytest.raises(UserError, match=r"has two vocabularies that differ, .* with --vocab"):
        read_tokenizer([folder], rows=len(SMALL))
    hints = SourceSettings(vocab=str(tmp_path / "vocab.txt"))
    assert read_tokenizer([folder], hints, rows=len(SMALL)).vocabulary == Vocabulary(SMALL)


def test_a_vocabulary_of_another_name_and_one_folder_above(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    Vocabulary(SMALL).save(str(tmp_path / "vocab_clue.txt"))
    found = read_tokenizer([str(folder), str(tmp_path)], rows=len(SMALL))
    assert (found.vocabulary, len(found.notes)) == (Vocabulary(SMALL), 1)
    assert read_tokenizer([str(folder)], rows=len(SMALL)).vocabulary is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("added_tokens", {"<e1>": len(SMALL), "<e2>": len(SMALL) + 1}),
        ("tokenizer_config", {"added_tokens_decoder": {len(SMALL): {"content": "<e1>"}}}),
        ("tokenizer", _fast(SMALL, added_tokens=[{"id": len(SMALL), "content": "<e1>"}])),
    ],
)
def test_added_tokens_keep_their_ids(
    name: str, values: Mapping[str, object], tmp_path: Path
) -> None:
    folder = _write(tmp_path, SMALL, **{name: values})
    vocabulary, _, notes = read_tokenizer([folder], rows=len(SMALL) + 8)
    assert vocabulary is not None
    assert vocabulary.ids["<e1>"] == len(SMALL)
    assert "added tokens keep their ids, but no text gives them: <e1>" in notes[0]
    # Without rows for them, there is nothing to keep.
    assert read_tokenizer([folder], rows=len(SMALL)).vocabulary == Vocabulary(SMALL)


def test_tokens_that_no_text_gives_are_counted(tmp_path: Path) -> None:
    tokens = (*SMALL, "天地", "##天")
    found = read_tokenizer([_write(tmp_path, tokens)], rows=len(tokens))
    assert found.notes == ("unused tokens of several ideographs, as WoBERT's: 1",)
