"""The characters that each WordPiece token covers.

- A piece covers the characters it was made of, and all between them. If one character became
  several (a Hangul syllable decomposed) that belong to different pieces, each piece covers it.
- [UNK] covers its word from the first to the last character.
- A combining mark that was stripped belongs to the piece of the letter before it, so "é" is covered
  completely however it is written. After an ideograph or punctuation it belongs to no token.
- Characters that vanish (control, zero width, unassigned) belong to no token, unless they are
  inside a piece. White space belongs to none.
- Marks that decomposing puts into another order count in the order of the text.

A character that is always one token, which is nearly all of Chinese text, covers itself. For the
stretches of words between them the offsets are found once for each distinct stretch, relative to
its start, and cached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from electra_zh.text.characters import is_dropped, is_punctuation, normalize
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Covered, TokenizedText
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.splitting import character_forms, split_words, word_runs
from electra_zh.text.wordpiece.token_cache import Encoded, TokenCache, ranges


class OffsetFinder:
    """Finds the characters that the tokens of one tokenizer cover."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: TokenizerSettings,
        encode: Callable[[str], list[int]],
    ) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._encode = encode
        self._classes = character_classes(settings)
        # The "ids" of a stretch are its offsets, two numbers per token. The cache ignores U+0000
        # at the end of a stretch, which is right: no token covers it.
        self._cache = TokenCache(lambda text: Encoded(self._cover(text), []))

    def find(self, text: str, tokenized: TokenizedText) -> Covered:
        """Returns the characters that the tokens of a block cover."""
        starts = _places(tokenized)
        ends = starts + np.int32(1)
        continues = np.zeros(len(starts), np.bool_)
        tokens, begin, pairs = self._look_up(text, tokenized, *self._runs(text, tokenized))
        starts[tokens] = begin + (pairs[:, 0] >> 1)
        ends[tokens] = begin + pairs[:, 1]
        continues[tokens] = (pairs[:, 0] & 1).astype(np.bool_)
        return Covered(starts, ends, continues)

    def find_firsts(
        self, text: str, tokenized: TokenizedText, word_starts: np.ndarray
    ) -> np.ndarray:
        """Returns a character of each token's first word; see `Tokenizer.find_firsts`.

        Only the stretches of several words are looked up.
        """
        firsts = _places(tokenized)
        run_starts, run_ends = self._runs(text, tokenized)
        word = np.cumsum(word_starts, dtype=np.int32)
        several = word[run_ends - 1] > word[run_starts]
        runs = run_starts[several], run_ends[several]
        tokens, begin, pairs = self._look_up(text, tokenized, *runs)
        firsts[tokens] = begin + (pairs[:, 0] >> 1)
        return firsts

    def _runs(self, text: str, tokenized: TokenizedText) -> tuple[np.ndarray, np.ndarray]:
        """Returns starts and ends of the stretches of words."""
        classes = self._classes.take(tokenized.codepoints)
        return word_runs(text, classes, self._settings)

    def _look_up(
        self, text: str, tokenized: TokenizedText, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the tokens of stretches: number in the block, start of the stretch, and pair."""
        entries = self._cache.lookup(text, tokenized.codepoints, starts, ends)
        counts = self._cache.counts[entries] >> 1
        # Row i of the cache's pairs is token i of all known stretches.
        rows = ranges(self._cache.starts[entries] >> 1, counts)
        tokens = ranges(tokenized.token_ends[ends - 1] - counts, counts)
        pairs = self._cache.ids.reshape(-1, 2).take(rows, axis=0)
        return tokens, np.repeat(starts.astype(np.int32), counts), pairs

    def _cover(self, text: str) -> list[int]:
        """Returns two numbers for each token of a stretch: 2 * start + continues, and end."""
        vocabulary, settings = self._vocabulary, self._settings
        if text.isascii() and text.isalnum():  # most stretches: one word; only for speed
            if (text.lower() if settings.lower_case else text) in vocabulary.ids:
                return [0, len(text)]
            words, starts, ends = [text], list(range(len(text))), list(range(1, len(text) + 1))
        else:
            words, (starts, ends) = split_words(text, settings), _sources(text, settings)
        ids = iter(self._encode(text))
        numbers: list[int] = []
        word_end = 0
        for word in words:
            start, word_end = word_end, word_end + len(word)
            continues = 0
            while start < word_end:
                index = next(ids)
                size = len(vocabulary.tokens[index]) - 2 * continues  # without "##"
                end = word_end if index == vocabulary.unk_id else start + size
                numbers += (2 * starts[start] + continues, ends[end - 1])
                start, continues = end, 1
        assert word_end == len(starts)
        assert next(ids, None) is None
        return numbers


def _places(tokenized: TokenizedText) -> np.ndarray:
    """Returns int32 [T]: the character at which each token is counted, one of its stretch."""
    counts = np.diff(tokenized.token_ends, prepend=0)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _sources(text: str, settings: TokenizerSettings) -> tuple[list[int], list[int]]:
    """Returns the characters of a stretch that those of its normalised words come from.

    Each character is normalised alone: its neighbours decide which sigma it becomes and how marks
    are ordered, but not how many characters there are.

    Returns:
      Starts and ends of the sources of each normalised character.
    """
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
    return starts, ends


@functools.lru_cache(maxsize=4)
def character_classes(settings: TokenizerSettings) -> np.ndarray:
    """Returns int8 [0x110000]: 0 for a character that is always one token, or its class."""
    classes: np.ndarray = np.minimum(character_forms(settings), 0).astype(np.int8)
    return classes
