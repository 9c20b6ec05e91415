"""A tokenizer is one folder: its vocabulary, tokenizer and trainer are found there."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import electra_zh.text as package
from electra_zh.text import tokenizer as tokenizers
from electra_zh.text import training
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import fit_case
from electra_zh.text.training import VocabularySettings, train_vocabulary
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

NAME = "characters_only"
TOKENIZER = """
from collections import Counter

import numpy as np

from electra_zh.text.characters import to_codepoints
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Covered, TokenizedText, Tokenizer
from electra_zh.text.vocabulary import Vocabulary


class CharacterVocabulary(Vocabulary):
    file_name = "characters.txt"

    @property
    def settings(self):
        return TokenizerSettings(lower_case=False)

    @classmethod
    def recognizes(cls, path, data):
        return path.endswith("characters.txt")


class CharacterTokenizer(Tokenizer):
    vocabulary_class = CharacterVocabulary

    def __init__(self, vocabulary, settings):
        self.vocabulary, self.settings, self.unknowns = vocabulary, settings, Counter()

    def encode(self, line, *, inside=False):
        return [self.vocabulary.ids.get(char, self.vocabulary.unk_id) for char in line]

    def tokenize_text(self, text):
        ids = np.array(self.encode(text.replace("\\n", "")), np.int32)
        points = to_codepoints(text)
        ends = np.cumsum(points != 10)
        return TokenizedText(ids, np.append(ends[points == 10], len(ids)), points, ends)

    def find_covered(self, text, tokenized):
        starts = np.flatnonzero(tokenized.codepoints != 10).astype(np.int32)
        return Covered(starts, starts + 1, np.zeros(len(starts), np.bool_))

    def _encode_block(self, texts, inside):
        ids = np.array([i for text in texts for i in self.encode(text)], np.int32)
        text = "\\n".join(texts)
        covered = self.find_covered(text, self.tokenize_text(text))
        return ids, np.cumsum([len(text) for text in texts]), covered


TOKENIZER = CharacterTokenizer
"""
TRAINER = """
from electra_zh.text.characters_only.tokenizer import CharacterVocabulary
from electra_zh.text.training import Trained
from electra_zh.text.vocabulary import SPECIAL_TOKENS


def train(blocks, settings):
    characters = sorted(set("".join(blocks)) - {"\\n"})
    vocabulary = CharacterVocabulary([*SPECIAL_TOKENS, *characters])
    return Trained(vocabulary, {}, f"{vocabulary.size} characters")


TRAINER = train
"""


def _forget() -> None:
    tokenizers._tokenizer_classes.cache_clear()
    for name in [name for name in sys.modules if NAME in name]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "more" / NAME
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "tokenizer.py").write_text(TOKENIZER)
    (folder / "train.py").write_text(TRAINER)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder.parent)])
    _forget()
    yield
    monkeypatch.undo()
    _forget()


@pytest.mark.usefixtures("_folder")
def test_a_folder_adds_a_tokenizer(tmp_path: Path) -> None:
    trained = train_vocabulary(["天地\n玄黄"], VocabularySettings(NAME, size=9))
    assert trained.summary == "9 characters"
    path = str(tmp_path / trained.vocabulary.file_name)
    trained.vocabulary.save(path)
    vocabulary = tokenizers.vocabulary_of(str(tmp_path))
    assert type(vocabulary).__name__ == "CharacterVocabulary"
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "地", "天", "玄", "黄")
    settings = tokenizers.settings_of(vocabulary, TokenizerSettings())
    assert settings == TokenizerSettings(lower_case=False)
    tokenizer = tokenizers.make_tokenizer(vocabulary, settings)
    assert tokenizer.tokens("天☃") == ["天", "[UNK]"]
    found = tokenizer.encode_batch(["天地", "", "黄"])
    assert found.ids.tolist() == [6, 5, 8]
    assert found.text_ends.tolist() == [2, 2, 3]
    assert found.starts.tolist() == [0, 1, 0]


def test_the_tokenizers_and_trainers_are_those_of_the_folders() -> None:
    folders = {path.parent.name for path in Path(package.__path__[0]).glob("*/tokenizer.py")}
    classes = tokenizers._tokenizer_classes().values()
    assert {cls.__module__.split(".")[-2] for cls in classes} == folders
    assert tuple(training.trainer_modules()) == ("wordpiece", "wordpiece-words", "sentencepiece")
    assert tokenizers.vocabulary_files() == ("vocab.txt", "spm.model")


def test_accents_are_stripped_from_lower_case_text_only() -> None:
    settings = TokenizerSettings(lower_case=False)
    assert settings == dataclasses.replace(settings, strip_accents=False)
    assert not settings.strip_accents


LOWER = Vocabulary([*SPECIAL_TOKENS, "a", "##b", "中"])
CASED = Vocabulary([*SPECIAL_TOKENS, "A", "a", "中"])


@pytest.mark.parametrize(
    ("vocabulary", "lower_case", "is_chosen", "expected", "line"),
    [
        (LOWER, True, False, True, ""),
        (CASED, False, False, False, ""),
        (
            LOWER,
            False,
            False,
            True,
            "lower_case is false by it, but .* without capitals.* is lower-cased",
        ),
        (
            CASED,
            True,
            False,
            False,
            "lower_case is true by it, but .* has capitals.* keeps its capitals",
        ),
        (LOWER, False, True, False, "is without capitals.* keeps its capitals"),
        (CASED, True, True, True, "the vocabulary has capitals.* is lower-cased"),
    ],
)
def test_the_case_fits_the_vocabulary(
    caplog: pytest.LogCaptureFixture,
    vocabulary: Vocabulary,
    lower_case: bool,
    is_chosen: bool,
    expected: bool,
    line: str,
) -> None:
    settings = TokenizerSettings(lower_case=lower_case)
    with caplog.at_level("INFO", logger="absl"):
        found = fit_case(vocabulary, settings, origin="it", is_chosen=is_chosen)
    assert found == TokenizerSettings(lower_case=expected)
    assert re.search(line, caplog.text) if line else not caplog.text


def test_the_case_is_that_with_fewer_unknown_tokens_in_the_text() -> None:
    cased = Vocabulary([*SPECIAL_TOKENS, "A", "b"])
    for sample, lower_case in (("A b", False), ("B A B", True), ("b A", False)):
        found = fit_case(cased, TokenizerSettings(), origin="it", sample=sample)
        assert found.lower_case is lower_case
