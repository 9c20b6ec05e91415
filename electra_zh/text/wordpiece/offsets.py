"""Token ids of many texts, each token with the characters of the text that it covers.

`tokenize_texts` is for tasks that point into their texts: spans, tags, answers. Ids come from
`WordPieceTokenizer.tokenize_text`, many texts at once. Where a character is a token of its own,
which is nearly all of Chinese text, the place is known from the same arrays; for the stretches of
words between them it is worked out once for each distinct stretch, relative to its start, and kept.
SentencePiece's tokenizer knows itself what its pieces cover.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.text.wordpiece.characters import (
    SPACE,
    TokenizerSettings,
    character_forms,
    is_dropped,
    is_punctuation,
    join_sigma_parts,
    normalize,
    split_words,
    to_codepoints,
    word_runs,
)
from electra_zh.text.wordpiece.token_cache import Encoded, WordStore
from electra_zh.text.wordpiece.tokenizer import TokenizedText, WordPieceTokenizer

__all__ = ["Covered", "TokenizedTexts", "find_covered", "find_firsts", "tokenize_texts"]

# Large enough for array speed, small enough for caches: about a megabyte of Chinese.
_BLOCK_CHARACTERS = 1 << 18


class TokenizedTexts(NamedTuple):
    """Tokens of many texts, one text behind the other.

    What a token covers, always counted in characters of the text as it was given:

    - A piece covers the characters it was made of, and all between them. Where one character became
      several (a Hangul syllable decomposed) that go to different pieces, each piece covers it.
    - [UNK] covers its word from the first to the last character.
    - A combining mark that was stripped belongs to the piece of the letter before it, so a covered
      "é" is whole however it is written. Behind an ideograph or punctuation it belongs to no token.
    - Characters that vanish (control, zero width, unassigned) belong to no token, unless they stand
      inside a piece. White space belongs to none.
    - Marks that decomposing puts into another order count in the order of the text.
    - Of SentencePiece's pieces see `sentencepiece.Pieces`.

    Within a text neither `starts` nor `ends` ever falls.

    Attributes:
      ids: int32 [T]; text i is `ids[text_ends[i - 1]:text_ends[i]]`, without special tokens.
      text_ends: int64 [texts].
      starts: int32 [T], the first character of its text that a token covers.
      ends: int32 [T], one behind the last.
      continues: bool [T], whether the token is a "##" continuation; False for a word's first piece.
        A SentencePiece piece is one where it begins inside a word as WordPiece would cut words.
    """

    ids: np.ndarray
    text_ends: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    continues: np.ndarray


def tokenize_texts(
    tokenizer: Tokenizer, texts: Sequence[str], *, inside: Sequence[bool] | None = None
) -> TokenizedTexts:
    r"""Returns the tokens of all texts and what they cover.

    The ids of each text are those of `tokenizer.encode`; a "\n" in it is a space like any other.
    What became [UNK] is counted in `tokenizer.unknowns`. Not for several threads at once.

    Args:
      tokenizer: of either kind.
      texts: the texts.
      inside: of each text, whether it goes on where another one ended; see `tokenizer.encode`.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        flags = [False] * len(texts) if inside is None else inside
        blocks = [
            _pieces_block(tokenizer, texts[first:end], flags[first:end])
            for first, end in _blocks(texts)
        ]
    else:
        places = _places_of(tokenizer)
        blocks = [
            _tokenize_block(tokenizer, places, texts[first:end]) for first, end in _blocks(texts)
        ]
    if not blocks:
        blocks = [_no_texts()]
    counts = np.cumsum([0, *(len(block.ids) for block in blocks)], dtype=np.int64)
    blocks = [
        block._replace(text_ends=block.text_ends + before)
        for block, before in zip(blocks, counts[:-1], strict=True)
    ]
    return TokenizedTexts(*map(np.concatenate, zip(*blocks, strict=True)))


def _no_texts() -> TokenizedTexts:
    none = np.zeros(0, np.int32)
    return TokenizedTexts(none, np.zeros(0, np.int64), none, none, np.zeros(0, np.bool_))


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yields first and end of blocks of the texts: those that begin within a stretch of a size."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.cumsum(lengths + 1) - lengths - 1
    firsts = np.flatnonzero(np.diff(begins // _BLOCK_CHARACTERS, prepend=-1)).tolist()
    yield from itertools.pairwise([*firsts, len(texts)])


def _tokenize_block(
    tokenizer: WordPieceTokenizer, places: _Places, texts: Sequence[str]
) -> TokenizedTexts:
    # A "\n" within a text is a space to the tokenizer as well as one between two texts, so texts
    # are told apart by their lengths, and none needs a change.
    text = "\n".join(texts)
    result = tokenizer.tokenize_text(text)
    covered = places.find(text, result.codepoints, len(result.ids))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    behind = np.cumsum(lengths + 1)  # where the next text begins
    text_ends = np.append(result.token_ends[behind[:-1] - 1], len(result.ids))
    begin = np.repeat(behind - lengths - 1, np.diff(text_ends, prepend=0)).astype(np.int32)
    return TokenizedTexts(
        result.ids, text_ends, covered.starts - begin, covered.ends - begin, covered.continues
    )


def _pieces_block(
    tokenizer: SentencePieceTokenizer, texts: Sequence[str], inside: Sequence[bool]
) -> TokenizedTexts:
    found = tokenizer.pieces(texts, inside=inside)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    counts = np.diff(found.text_ends, prepend=0)
    begins = np.repeat(np.cumsum(lengths + 1) - lengths - 1, counts)
    codepoints = to_codepoints("\n".join(texts))
    continues = _continues(codepoints, found.starts + begins, found.ends + begins)
    return TokenizedTexts(found.ids, found.text_ends, found.starts, found.ends, continues)


def _continues(codepoints: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns which pieces of a block begin inside a word, or inside a character."""
    # With a space before the block, which begins with a word.
    in_word = np.zeros(len(codepoints) + 1, np.bool_)
    in_word[1:] = _character_classes(TokenizerSettings()).take(codepoints) < SPACE
    continues = in_word[starts] & in_word[np.minimum(starts + 1, len(codepoints))]
    continues[1:] |= ends[:-1] > starts[1:]
    return continues


class Covered(NamedTuple):
    """What the tokens of a block cover, in characters of the block, as in `TokenizedTexts`.

    Attributes:
      starts: int32 [T], the first character; it never falls.
      ends: int32 [T], one behind the last.
      continues: bool [T], whether the token is a "##" continuation.
    """

    starts: np.ndarray
    ends: np.ndarray
    continues: np.ndarray


def find_covered(tokenizer: Tokenizer, text: str, tokenized: TokenizedText) -> Covered:
    """Returns what the tokens of a block of text cover that was already tokenized.

    Args:
      tokenizer: what it was tokenized with.
      text: the block.
      tokenized: its tokens.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        starts, ends = tokenized.starts, tokenized.ends
        assert starts is not None
        assert ends is not None
        return Covered(starts, ends, _continues(tokenized.codepoints, starts, ends))
    return _places_of(tokenizer).find(text, tokenized.codepoints, len(tokenized.ids))


def find_firsts(
    tokenizer: Tokenizer, text: str, tokenized: TokenizedText, word_starts: np.ndarray
) -> np.ndarray:
    """Returns a character of each token that is in the same word as its first one.

    For words that is as good as the first one, and known without looking into stretches of letters
    that are one word, which most of them are.

    Args:
      tokenizer: what the block was tokenized with.
      text: the block.
      tokenized: its tokens.
      word_starts: bool [C], whether a character begins a word.

    Returns:
      int32 [T]; it never falls.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        return find_covered(tokenizer, text, tokenized).starts
    return _places_of(tokenizer).find_firsts(text, tokenized, word_starts)


class _Places:
    """Finds what tokens cover, and keeps what it has found for each distinct stretch of words."""

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        # It lives as long as its tokenizer, which it must not keep alive.
        self._tokenizer: WordPieceTokenizer = weakref.proxy(tokenizer)
        self._classes = _character_classes(tokenizer.settings)
        # The "ids" of a stretch are what its tokens cover, two numbers a token. The store takes
        # U+0000 at the end of a stretch for no character: no token covers it, so that is right.
        self._store = WordStore(lambda text: Encoded(self._cover(text), []))

    def find(self, text: str, codepoints: np.ndarray, num_tokens: int) -> Covered:
        """Returns what the tokens of a block cover; `codepoints` are the text's characters."""
        alone, run_starts, run_ends = self._divide(text, codepoints)
        if not len(run_starts):
            assert len(alone) == num_tokens
            return Covered(alone, alone + np.int32(1), np.zeros(num_tokens, np.bool_))
        counts, found = self._look_up(text, codepoints, run_starts, run_ends)
        assert len(alone) + len(found) == num_tokens
        begin = np.repeat(run_starts.astype(np.int32), counts)
        in_word = _in_runs(alone, run_starts, counts)
        starts = np.empty(num_tokens, np.int32)
        ends = np.empty(num_tokens, np.int32)
        continues = np.zeros(num_tokens, np.bool_)
        is_alone = ~in_word
        starts[is_alone] = alone
        ends[is_alone] = alone + np.int32(1)
        starts[in_word] = begin + (found[:, 0] >> 1)
        ends[in_word] = begin + found[:, 1]
        continues[in_word] = (found[:, 0] & 1).astype(np.bool_)
        return Covered(starts, ends, continues)

    def find_firsts(
        self, text: str, tokenized: TokenizedText, word_starts: np.ndarray
    ) -> np.ndarray:
        """Returns a character of the word that each token begins in; see `find_firsts`."""
        codepoints = tokenized.codepoints
        alone, run_starts, run_ends = self._divide(text, codepoints)
        token_ends = np.append(tokenized.token_ends, 0)  # none before the first character
        counts = token_ends[run_ends - 1] - token_ends[run_starts - 1]
        begin = np.repeat(run_starts.astype(np.int32), counts)
        word = np.cumsum(word_starts, dtype=np.int32)
        several = word[run_ends - 1] > word[run_starts]
        _, found = self._look_up(text, codepoints, run_starts[several], run_ends[several])
        begin[np.repeat(several, counts)] += found[:, 0] >> 1
        in_word = _in_runs(alone, run_starts, counts)
        assert len(in_word) == len(tokenized.ids)
        firsts = np.empty(len(in_word), np.int32)
        firsts[in_word] = begin
        firsts[~in_word] = alone
        return firsts

    def _divide(self, text: str, codepoints: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the characters that are tokens, int32; firsts and ends of stretches of words."""
        classes = self._classes.take(codepoints)
        if self._tokenizer.settings.lower_case:
            join_sigma_parts(text, classes)
        return (np.flatnonzero(classes == 0).astype(np.int32), *word_runs(classes))

    def _look_up(
        self, text: str, codepoints: np.ndarray, run_starts: np.ndarray, run_ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the number of tokens of each stretch, and the pairs of all of them."""
        entries = self._store.lookup(text, codepoints, run_starts, run_ends)
        counts = self._store.counts[entries] >> 1
        # Row i of the store's pairs is token i of all stretches known.
        pairs = self._store.ids.reshape(-1, 2)
        behind = np.cumsum(counts)
        rows = np.arange(behind[-1] if len(behind) else 0)
        rows += np.repeat((self._store.starts[entries] >> 1) - (behind - counts), counts)
        return counts, pairs.take(rows, axis=0)

    def _cover(self, text: str) -> list[int]:
        """Returns two numbers for each token of a stretch: 2 * start + continues, and end."""
        vocabulary, settings = self._tokenizer.vocabulary, self._tokenizer.settings
        words = [text]
        if text.isascii() and text.isalnum():  # one word, the most; only speed
            if (text.lower() if settings.lower_case else text) in vocabulary.ids:
                return [0, len(text)]
        else:
            words = split_words(text, settings)
        sources = _sources(text, settings)
        ids = iter(self._tokenizer.encode(text))
        numbers: list[int] = []
        word_end = 0
        for word in words:
            start, word_end = word_end, word_end + len(word)
            continues = 0
            while start < word_end:
                index = next(ids)
                size = len(vocabulary.tokens[index]) - 2 * continues  # without "##"
                end = word_end if index == vocabulary.unk_id else start + size
                numbers += (2 * sources.starts[start] + continues, sources.ends[end - 1])
                start, continues = end, 1
        assert word_end == len(sources.starts)
        assert next(ids, None) is None
        return numbers


def _in_runs(alone: np.ndarray, run_starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns bool [T]: which tokens are of a stretch of words, of which each has so many."""
    # Before a stretch stand the characters that are tokens, and the tokens of earlier ones.
    before = np.searchsorted(alone, run_starts.astype(np.int32))
    total = int(counts.sum())
    in_word = np.zeros(len(alone) + total, np.bool_)
    in_word[np.arange(total) + np.repeat(before, counts)] = True
    return in_word


class _Sources(NamedTuple):
    """For each character of a stretch's words, one behind the other, where it comes from."""

    starts: list[int]
    ends: list[int]


def _sources(text: str, settings: TokenizerSettings) -> _Sources:
    """Returns the characters of a stretch without spaces that those of its words come from.

    Each character is normalised alone: its neighbours decide which sigma it becomes and how marks
    are ordered, but not how many characters there are.
    """
    if text.isascii() and text.isalnum():  # the most; only speed
        return _Sources(list(range(len(text))), list(range(1, len(text) + 1)))
    starts: list[int] = []
    ends: list[int] = []
    takes_marks = False
    for place, char in enumerate(text):
        if is_dropped(char):
            continue
        form = normalize(char, settings)
        if form:
            starts += [place] * len(form)
            ends += [place + 1] * len(form)
            takes_marks = not is_punctuation(form[-1])
        elif takes_marks:
            ends[-1] = place + 1
    return _Sources(starts, ends)


@functools.lru_cache(maxsize=4)
def _character_classes(settings: TokenizerSettings) -> np.ndarray:
    """Returns int8 [0x110000]: 0 for a character that is always one token, or its class."""
    return np.minimum(character_forms(settings), 0).astype(np.int8)


_known: weakref.WeakKeyDictionary[WordPieceTokenizer, _Places] = weakref.WeakKeyDictionary()


def _places_of(tokenizer: WordPieceTokenizer) -> _Places:
    places = _known.get(tokenizer)
    if places is None:
        places = _known[tokenizer] = _Places(tokenizer)
    return places
