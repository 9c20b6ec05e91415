"""The interface of a tokenizer, and the choice of the tokenizer for a vocabulary.

A tokenizer is one folder here with a `tokenizer.py` that names its class `TOKENIZER`; nothing else
lists the tokenizers. The class names its vocabulary class, which recognizes its files.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from absl import logging

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.modules import load_module, parts_of_folders
from electra_zh.text.characters import joined_starts
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary, read_file

# Large enough for array speed, small enough for caches: about a megabyte of Chinese.
BLOCK_CHARACTERS = 1 << 18
_MULTIPLE = 16  # of tokens, for the length of a batch


class TokenizedText(NamedTuple):
    r"""Token ids of a block of lines.

    Attributes:
      ids: int32 [T], the ids of all lines, one line after the other.
      line_ends: int64 [lines]; line i is `ids[line_ends[i - 1]:line_ends[i]]`.
      codepoints: uint32 [C], every character of the text, the "\n" between lines included.
      token_ends: int64 [C], the number of tokens up to and with character c. Exact after every
        character that is a word of its own (ideographs, punctuation) and after every space. The k
        tokens of a WordPiece stretch that needs the word path (a word, or all between two spaces
        or ideographs if that has a capital sigma) are counted at its last k characters; if it has
        fewer, the rest at the last one. A SentencePiece piece, and a WordPiece token of several
        ideographs, is counted at its last character.
      starts, ends: int32 [T], the characters of the block that each token covers, if the tokenizer
        has them at hand; else None, see `Tokenizer.find_covered`.
    """

    ids: np.ndarray
    line_ends: np.ndarray
    codepoints: np.ndarray
    token_ends: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


class Covered(NamedTuple):
    """The characters that tokens cover; within a text, `starts` and `ends` never decrease.

    See `wordpiece.offsets` and `sentencepiece.tokenizer` for what a token covers.

    Attributes:
      starts: int32 [T], the first character.
      ends: int32 [T], the end, exclusive.
      continues: bool [T], whether the token is a "##" continuation; False for a word's first piece.
        A SentencePiece piece is one if it begins inside a word as WordPiece would cut words.
    """

    starts: np.ndarray
    ends: np.ndarray
    continues: np.ndarray


class TokenizedTexts(NamedTuple):
    """Tokens of many texts, one text after the other, with their offsets in the text as given.

    Attributes:
      ids: int32 [T]; text i is `ids[text_ends[i - 1]:text_ends[i]]`, without special tokens.
      text_ends: int64 [texts].
      starts, ends, continues: as in `Covered`.
    """

    ids: np.ndarray
    text_ends: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    continues: np.ndarray


class Tokenizer(abc.ABC):
    """Text to token ids with offsets. Not for several threads at once.

    Attributes:
      vocabulary_class: the form of vocabulary that it is for.
      vocabulary: the tokens.
      settings: normalisation of text.
      unknowns: characters and words that became [UNK], counted by `tokenize_text` and
        `encode_batch`; may be cleared.
    """

    vocabulary_class: ClassVar[type[Vocabulary]]

    def __init__(self, vocabulary: Vocabulary, settings: TokenizerSettings) -> None:
        self.vocabulary = vocabulary
        self.settings = settings
        self.unknowns: Counter[str] = Counter()

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[Vocabulary, TokenizerSettings]]:
        # A copy in another process makes its own tables, in less time than sending them takes.
        return type(self), (self.vocabulary, self.settings)

    @abc.abstractmethod
    def encode(self, line: str, *, inside: bool = False) -> list[int]:
        """Returns the ids of one line; no word boundary is assumed before one `inside` a text."""

    def tokens(self, line: str) -> list[str]:
        """Returns the tokens of one line."""
        return [self.vocabulary.tokens[index] for index in self.encode(line)]

    @abc.abstractmethod
    def tokenize_text(self, text: str) -> TokenizedText:
        r"""Returns the ids of a block of lines joined by "\n", each exactly as `encode` has it.

        Blocks of about a megabyte are best: large enough for array speed, small enough for caches.
        """

    @abc.abstractmethod
    def find_covered(self, text: str, tokenized: TokenizedText) -> Covered:
        """Returns the characters that the tokens of a block cover; `tokenized` is its tokens."""

    def find_firsts(
        self, text: str, tokenized: TokenizedText, word_starts: np.ndarray
    ) -> np.ndarray:
        """Returns a character of the word that each token begins in, int [T], never decreasing.

        For `begins_word` that is as good as the first character, and faster to find. `word_starts`
        says whether each character begins a word, bool [C].
        """
        del word_starts
        return self.find_covered(text, tokenized).starts

    def encode_batch(
        self, texts: Sequence[str], *, inside: Sequence[bool] | None = None
    ) -> TokenizedTexts:
        r"""Returns the tokens of texts with their offsets; `inside` is for each text.

        The ids of each text are those of `encode`; a "\n" in it is a space like any other.
        """
        flags = inside or [False] * len(texts)
        none = np.zeros(0, np.int32)
        found = [TokenizedTexts(none, np.zeros(0, np.int64), none, none, np.zeros(0, np.bool_))]
        tokens = 0
        # A block is the texts that begin within one stretch of BLOCK_CHARACTERS.
        firsts = np.flatnonzero(np.diff(joined_starts(texts) // BLOCK_CHARACTERS, prepend=-1))
        for first, end in itertools.pairwise([*firsts.tolist(), len(texts)]):
            block = texts[first:end]
            ids, text_ends, covered = self._encode_block(block, flags[first:end])
            begin = np.repeat(joined_starts(block), np.diff(text_ends, prepend=0)).astype(np.int32)
            starts, ends = covered.starts - begin, covered.ends - begin
            found.append(TokenizedTexts(ids, text_ends + tokens, starts, ends, covered.continues))
            tokens += len(ids)
        return TokenizedTexts(*map(np.concatenate, zip(*found, strict=True)))

    @abc.abstractmethod
    def _encode_block(
        self, texts: Sequence[str], inside: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray, Covered]:
        """Returns ids and text ends, as `encode_batch`, and the offsets in the joined texts."""


@functools.cache
def _tokenizer_classes() -> dict[type[Vocabulary], type[Tokenizer]]:
    """Returns the tokenizer class of each vocabulary class."""
    modules = parts_of_folders("electra_zh.text", "tokenizer").values()
    classes = (load_module("electra_zh.text", name).TOKENIZER for name in modules)
    return {tokenizer.vocabulary_class: tokenizer for tokenizer in classes}


def vocabulary_files() -> tuple[str, ...]:
    """Returns the names of a vocabulary's file in a folder that holds a copy of it."""
    return tuple(sorted((cls.file_name for cls in _tokenizer_classes()), reverse=True))


def load_vocabulary(path: str) -> Vocabulary:
    """Reads a vocabulary of any form; a file that no other form recognizes is a list of tokens."""
    data = read_file(path)
    found = (cls for cls in _tokenizer_classes() if cls.recognizes(path, data))
    return next(found, Vocabulary).parse(data, path)


def vocabulary_of(folder: str) -> Vocabulary:
    """Reads the vocabulary of a run, of a fine-tuned model or of data; raises UserError."""
    paths = [files.join(folder, name) for name in vocabulary_files()]
    return load_vocabulary(next(filter(files.exists, paths), paths[0]))


def settings_of(vocabulary: Vocabulary, settings: TokenizerSettings) -> TokenizerSettings:
    """Returns the normalisation for a vocabulary: the given one, unless the file determines it.

    Raises:
      UserError: the settings differ from those of the vocabulary's file.
    """
    own = vocabulary.settings
    if own is None:
        return settings
    if settings not in (TokenizerSettings(), own):
        case = "lower-cases text" if own.lower_case else "keeps capitals"
        accents = "strips accents" if own.strip_accents else "keeps accents"
        raise UserError(
            f"The SentencePiece model determines how text is normalised: it {case} and {accents}. "
            "Omit --no-lower-case, --keep-accents, --map-punctuation and --word-tokens; the first "
            "two belong to the build-vocab that trains a model, the others to WordPiece"
        )
    return own


def fit_case(
    vocabulary: Vocabulary,
    settings: TokenizerSettings,
    *,
    origin: str,
    is_chosen: bool = False,
    sample: str = "",
) -> TokenizerSettings:
    """Returns settings whose case fits a vocabulary; a change is logged, with its reason.

    Text with capitals is [UNK] to a vocabulary without any, and one with capitals was made for text
    that has them. Where they contradict, the case that gives fewer [UNK] wins.

    Args:
      vocabulary: the vocabulary.
      settings: the settings as given.
      origin: their source, for the log.
      is_chosen: the user chose the case: it is kept, with a warning.
      sample: text at hand; without any the vocabulary decides.
    """
    cased = vocabulary.is_cased
    if vocabulary.settings is not None or cased is None or cased != settings.lower_case:
        return settings
    other = dataclasses.replace(settings, lower_case=not cased, strip_accents=not cased)
    has = "has" if cased else "is without"
    given = str(settings.lower_case).lower()
    line = f"lower_case is {given} by {origin}, but the vocabulary {has} capitals"
    unknown = [_count_unknown(vocabulary, each, sample) for each in (settings, other)]
    if sample:
        line += f" ([UNK] in a sample of the text: {unknown[0]:,}, or {unknown[1]:,} otherwise)"
    chosen = settings if is_chosen or unknown[0] < unknown[1] else other
    done = "is lower-cased" if chosen.lower_case else "keeps its capitals"
    logging.warning("%s. The text %s; --lower-case or --no-lower-case decides.", line, done)
    return chosen


def _count_unknown(vocabulary: Vocabulary, settings: TokenizerSettings, text: str) -> int:
    ids = make_tokenizer(vocabulary, settings).tokenize_text(text).ids if text else np.zeros(0)
    return int(np.count_nonzero(ids == vocabulary.unk_id))


def pad(
    rows: Sequence[Sequence[int]], longest: int, *, multiple: int = _MULTIPLE
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids as a batch, and its mask, int32 [B, L]; few different L, so few are traced."""
    length = min(-(-max(map(len, rows), default=2) // multiple) * multiple, longest)
    ids = np.zeros((len(rows), length), np.int32)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return ids, mask


def make_tokenizer(
    vocabulary: Vocabulary, settings: TokenizerSettings = TokenizerSettings()
) -> Tokenizer:
    """Returns the tokenizer of a vocabulary; `settings` apply if its file determines none."""
    return _tokenizer_classes()[type(vocabulary)](vocabulary, settings)
