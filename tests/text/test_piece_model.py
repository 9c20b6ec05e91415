"""SentencePiece models as vocabularies: their content, and the errors of invalid ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import (
    load_vocabulary,
    make_tokenizer,
    settings_of,
    vocabulary_of,
)
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from support.piece_models import make_foreign, make_pieces


def _file(folder: Path, content: bytes, name: str = "some.model") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def test_special_tokens_are_the_first_pieces() -> None:
    vocabulary = make_pieces()
    assert vocabulary.tokens[:5] == SPECIAL_TOKENS
    special = (vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id)
    assert (*special, vocabulary.sep_id, vocabulary.mask_id) == (0, 1, 2, 3, 4)
    assert vocabulary.parts.kinds[:5] == ("control", "unknown", "control", "control", "control")
    assert vocabulary.size == 160


def test_save_and_load_give_the_same(tmp_path: Path) -> None:
    vocabulary = make_pieces()
    path = str(tmp_path / vocabulary.file_name)
    vocabulary.save(path)
    again = load_vocabulary(path)
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert again.sha256 == vocabulary.sha256 != make_pieces("bpe").sha256
    assert vocabulary_of(str(tmp_path)) == vocabulary
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary


def test_a_model_differs_from_a_wordpiece_vocabulary_of_the_same_tokens() -> None:
    vocabulary = make_pieces()
    same = Vocabulary(vocabulary.tokens)
    assert vocabulary != same
    assert same != vocabulary


def test_the_kind_is_recognized_by_content(tmp_path: Path) -> None:
    model = load_vocabulary(_file(tmp_path, make_pieces().model, "vocab"))
    words = load_vocabulary(_file(tmp_path, "\n".join(SPECIAL_TOKENS).encode(), "tokens"))
    assert isinstance(model, SentencePieceVocabulary)
    assert isinstance(make_tokenizer(model), SentencePieceTokenizer)
    assert type(words) is Vocabulary
    assert isinstance(make_tokenizer(words), WordPieceTokenizer)


@pytest.mark.parametrize(
    "names", [("<cls>", "<sep>", "<mask>"), ("<s>", "</s>", "[MASK]"), ("[CLS]", "[SEP]", "<mask>")]
)
def test_models_of_others_by_their_usual_names(names: tuple[str, ...]) -> None:
    vocabulary = SentencePieceVocabulary(make_foreign(names=names))
    special = (vocabulary.pad_id, vocabulary.cls_id, vocabulary.sep_id, vocabulary.mask_id)
    assert tuple(vocabulary.tokens[index] for index in special) == ("<pad>", *names)
    assert vocabulary.tokens[vocabulary.unk_id] == "<unk>"


def test_special_tokens_of_others_never_come_out_of_text() -> None:
    vocabulary = SentencePieceVocabulary(make_foreign(user_defined=True))
    ids = SentencePieceTokenizer(vocabulary).encode("a<mask>b")
    assert vocabulary.mask_id not in ids
    assert SentencePieceVocabulary(vocabulary.model) == vocabulary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a SentencePiece model: it has no pieces"),
        (b"[PAD]\n[UNK]\n", "is not a SentencePiece model, or is damaged: "),
        (make_pieces().model[:3000], "is not a SentencePiece model, or is damaged: "),
        (
            make_foreign(names=("<cls>", "<sep>", "<m>")),
            r"missing the pieces \[MASK\] or <mask>\. Train a model",
        ),
        (
            make_foreign(names=("x", "y", "z")),
            r"missing the pieces \[CLS\] or <cls> or <s>; \[SEP\] or <sep> or </s>; \[MASK\] or ",
        ),
        (make_foreign(pad=1), r"has <pad> as piece 1; padding must be piece 0, which is <unk>"),
    ],
    ids=["empty", "text", "cut", "no mask", "none", "padding"],
)
def test_rejected_models(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"some\.model.*{message}") as caught:
        load_vocabulary(_file(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such vocabulary file: .*spm\.model"):
        load_vocabulary(str(tmp_path / "spm.model"))


@pytest.mark.parametrize(
    "settings",
    [TokenizerSettings(), TokenizerSettings(strip_accents=False), TokenizerSettings(False, False)],
)
def test_a_model_says_how_it_normalises(settings: TokenizerSettings) -> None:
    vocabulary = make_pieces(tokenizer=settings)
    assert vocabulary.settings == settings
    assert settings_of(vocabulary, TokenizerSettings()) == settings


def test_settings_that_differ_from_the_model_are_rejected() -> None:
    with pytest.raises(UserError, match="lower-cases text and strips accents"):
        settings_of(make_pieces(), TokenizerSettings(False, False))
    with pytest.raises(UserError, match="Omit --no-lower-case, --keep-accents, --map-p"):
        settings_of(make_pieces(), TokenizerSettings(map_punctuation=True))
    wanted = TokenizerSettings(map_punctuation=True)
    assert settings_of(Vocabulary(SPECIAL_TOKENS), wanted) == wanted
