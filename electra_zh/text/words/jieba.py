"""jieba's words, exactly, at many times its speed.

The steps of jieba (0.42.1, accurate mode), and who does them here:

1. It cuts the text into stretches of ideographs (U+4E00 to U+9FD5), ASCII letters, digits and
   `+#&._%-`; every other character is a word of its own, or white space. The next steps treat each
   stretch alone.
2. Of all ways to make a stretch of dictionary words and single characters it takes the one with the
   largest sum of log(frequency) - log(total). This takes nearly all the time, and rjieba (Rust)
   does it, without its hidden Markov model, for a whole block at once. It does the same float64
   additions in the same order, over the same C library's logarithm, and of equal sums both take the
   longer word. Its dictionary has the same words and frequencies; jieba's `total` also counts words
   that were replaced, so the difference is added as a character of Unicode's private use area,
   which no stretch can contain.
3. Without the model, adjacent single letters and digits are joined; rjieba does it too. With the
   model, jieba collects adjacent single characters. A collection that is a word of the dictionary
   stays single; of others, the ideographs are given to the model (`viterbi`, with jieba's own
   numbers: rjieba's are rounded) and the rest is cut by a regular expression of jieba's. That is
   done here, from the places that rjieba found. Words that rjieba has joined are split again: a
   longer word of only letters and digits was made of single ones, unless it is in the dictionary.

Some stretches are exceptions, and are cut by jieba itself: those with ideographs beyond U+4E00 to
U+9FD5, which rjieba takes into its stretches; and those with a dictionary word without ideographs,
or a word to which a user's dictionary gives the frequency 0, which jieba treats separately. Both
programs cut stretches independently, so nothing around them changes.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from electra_zh.text.characters import CODE_POINTS, SURROGATE, find_runs
from electra_zh.text.words.base import CHECKED, DIFFERENT, MAX_DIFFERENCES, RECUT, Segmenter
from electra_zh.text.words.jieba_reference import Jieba
from electra_zh.text.words.lists import DictionaryWord, read_dictionary

# The classes of characters to the two programs.
_OUTSIDE, _IDEOGRAPH, _ALPHANUMERIC, _SYMBOL, _FOREIGN = range(5)
_SYMBOLS = "+#&._%-"
_IDEOGRAPHS = (0x4E00, 0x9FD5)
# All blocks of ideographs, assigned or not: outside of jieba's range they are foreign to it.
_ALL_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_PRIVATE = "\ue000"
# finalseg's rule for other characters: each match is a word, and so is the text between matches.
_LATIN_WORD = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")
# A dictionary entry without ideographs.
_LATIN_ENTRY = re.compile(r"[a-zA-Z0-9+#&._%\-]{2,}")
# rjieba is fastest with parts of a text that fit the processor's cache.
_PART_CHARACTERS = 1 << 14
_MAX_KNOWN = 1 << 17
# The number of characters shown before and after the place at which a line differed.
_SHOWN = 15


class JiebaSegmenter(Segmenter):
    """Cuts text as jieba does."""

    def __init__(
        self, *, hmm: bool = True, dictionaries: Sequence[str] = (), check_every: int | None = None
    ) -> None:
        """Loads the dictionary, which takes a second, and files of further words in jieba's form.

        With `hmm`, words that are not in a dictionary are found by the hidden Markov model. One
        line in `check_every` is cut by jieba itself as well, whose words are taken where they
        differ. A malformed dictionary is a UserError.
        """
        import rjieba

        super().__init__()
        self._hmm = hmm
        self._check_every = check_every
        entries = [entry for path in dictionaries for entry in read_dictionary(path)]
        self._jieba = Jieba(entries)
        self._fast = rjieba.Jieba()
        self._special = self._complete(entries)
        self._classes = _character_classes()
        self._slow_offsets = functools.lru_cache(_MAX_KNOWN)(
            lambda stretch: _offsets(self.cut_slowly(stretch))
        )
        if hmm:
            self._model = self._jieba.word_model()

    def _complete(self, entries: Sequence[DictionaryWord]) -> re.Pattern[str] | None:
        """Adds the rest of jieba's dictionary; returns a pattern of words jieba itself must cut."""
        frequencies = self._jieba.frequencies
        total = sum(frequencies.values())
        for word, before in self._jieba.replaced.items():
            if frequencies[word]:
                self._fast.add_word(word, frequencies[word], None)
            else:
                # rjieba keeps its old frequency, and jieba itself cuts the stretches that have it.
                total += before
        missing = self._jieba.total - total
        if missing:
            self._fast.add_word(_PRIVATE, missing, None)
        special = {word for word, frequency in entries if frequency == 0}
        latin = (word for word in frequencies if word.isascii() and frequencies[word])
        special.update(word for word in latin if _LATIN_ENTRY.fullmatch(word))
        return re.compile("|".join(map(re.escape, sorted(special)))) if special else None

    def clear(self) -> None:  # noqa: D102
        super().clear()
        self._lines = 0

    def cut_slowly(self, text: str) -> list[str]:
        """Returns the words of a text by jieba itself."""
        return self._jieba.cut(text, hmm=self._hmm)

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:  # noqa: D102
        starts = np.zeros(len(text), np.bool_)
        if not text:
            return starts
        lengths = np.concatenate([self._fast_lengths(part) for part in _parts(text)])
        ends = np.cumsum(lengths)
        assert ends[-1] == len(text)
        starts[ends - lengths] = True
        classes = self._classes.take(codepoints)
        if self._hmm:
            self._join_singles(text, codepoints, classes, starts)
        self._recut(text, classes, starts)
        if self._check_every is not None:
            self._check(text, starts, self._check_every)
        return starts

    def _check(self, text: str, starts: np.ndarray, every: int) -> None:
        """Cuts one line in `every` with jieba itself, and takes its words where they differ."""
        end = -1
        for line in text.split("\n"):
            start, end = end + 1, end + 1 + len(line)
            if not line:
                continue
            self._lines += 1
            if self._lines % every != 1 % every:
                continue
            self.counts[CHECKED] += 1
            expected = np.zeros(len(line), np.bool_)
            expected[_offsets(self.cut_slowly(line))] = True
            different = np.flatnonzero(expected != starts[start:end])
            if len(different):
                self.counts[DIFFERENT] += 1
                if len(self.differences) < MAX_DIFFERENCES:
                    shown = line[max(0, int(different[0]) - _SHOWN) :][: 2 * _SHOWN]
                    self.differences.append(shown)
                starts[start:end] = expected

    def _fast_lengths(self, text: str) -> np.ndarray:
        """Returns the lengths of rjieba's words."""
        try:
            words = self._fast.cut(text, False)
        except UnicodeEncodeError:
            # Half a surrogate pair, which UTF-8 cannot encode: to both programs a character like
            # U+FFFD, in no stretch.
            words = self._fast.cut(SURROGATE.sub("\ufffd", text), False)
        return np.fromiter(map(len, words), np.int64, len(words))

    def _join_singles(
        self, text: str, codepoints: np.ndarray, classes: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts runs of single characters as jieba's model does, in `starts`."""
        _take_apart(classes, starts)
        single = starts & np.append(starts[1:], True)
        single &= (classes != _OUTSIDE) & (classes != _FOREIGN)
        is_ideograph = classes == _IDEOGRAPH
        # Runs in two stretches do not meet: the characters between stretches are in none.
        get = self._jieba.frequencies.get
        firsts, ends = find_runs(single)
        before = np.append(0, np.cumsum(is_ideograph, dtype=np.int32))
        chosen = (ends - firsts > 1) & (before[ends] > before[firsts])
        for first, end in zip(firsts[chosen].tolist(), ends[chosen].tolist(), strict=True):
            if get(text[first:end]):
                single[first:end] = False
        ideographs = single & is_ideograph
        firsts, ends = find_runs(ideographs)
        starts[ideographs] = False
        starts[firsts] = True
        several = ends - firsts > 1
        starts[self._model.starts(codepoints, firsts[several], ends[several])] = True
        self._cut_latin(text, single & ~is_ideograph, classes == _SYMBOL, starts)

    def _cut_latin(
        self, text: str, latin: np.ndarray, is_symbol: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts runs of letters, digits and symbols, in `starts`."""
        firsts, ends = find_runs(latin)
        starts[latin] = False
        starts[firsts] = True
        # A run without symbols is one word.
        symbols = np.flatnonzero(latin & is_symbol)
        mixed = np.unique(np.searchsorted(firsts, symbols, side="right") - 1)
        mixed = mixed[(ends - firsts)[mixed] > 1]
        bounds = zip(firsts[mixed].tolist(), ends[mixed].tolist(), strict=True)
        offsets = ((first, _latin_offsets(text[first:end])) for first, end in bounds)
        starts[[first + place for first, places in offsets for place in places]] = True

    def _recut(self, text: str, classes: np.ndarray, starts: np.ndarray) -> None:
        """Cuts the stretches that the two programs see differently with jieba itself."""
        doubtful = np.flatnonzero(classes == _FOREIGN)
        if self._special is not None:
            found = [match.start() for match in self._special.finditer(text)]
            doubtful = np.unique(np.concatenate([doubtful, np.array(found, np.int64)]))
        if not len(doubtful):
            return
        outside = np.flatnonzero(classes == _OUTSIDE)
        bounds = np.concatenate([[-1], outside, [len(text)]])
        stretches = np.unique(np.searchsorted(bounds, doubtful))
        for index in stretches.tolist():
            first, end = int(bounds[index - 1]) + 1, int(bounds[index])
            starts[first:end] = False
            starts[[first + place for place in self._slow_offsets(text[first:end])]] = True
        self.counts[RECUT] += len(stretches)


def _character_classes() -> np.ndarray:
    """Returns uint8 [0x110000]: the class of each character."""
    classes = np.full(CODE_POINTS, _OUTSIDE, np.uint8)
    for first, last in _ALL_IDEOGRAPHS:
        classes[first : last + 1] = _FOREIGN
    classes[_IDEOGRAPHS[0] : _IDEOGRAPHS[1] + 1] = _IDEOGRAPH
    for low, high in ("09", "AZ", "az"):
        classes[ord(low) : ord(high) + 1] = _ALPHANUMERIC
    classes[[ord(char) for char in _SYMBOLS]] = _SYMBOL
    return classes


def _parts(text: str) -> Iterator[str]:
    """Yields a text in parts of complete lines."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start, start + _PART_CHARACTERS) + 1
        if not end and start + _PART_CHARACTERS < len(text):
            end = text.find("\n", start) + 1
        end = end or len(text)
        yield text[start:end]
        start = end


def _take_apart(classes: np.ndarray, starts: np.ndarray) -> None:
    """Splits words of only letters and digits into characters, in `starts`."""
    joined = classes == _ALPHANUMERIC
    # Words that also have other characters are the dictionary's, and are not split.
    inside = np.flatnonzero((joined[1:] != joined[:-1]) & ~starts[1:]) + 1
    firsts = np.append(np.flatnonzero(starts), len(starts))
    words = np.unique(np.searchsorted(firsts, inside, side="right"))
    bounds = zip(firsts[words - 1].tolist(), firsts[words].tolist(), strict=True)
    starts |= joined
    for first, end in bounds:
        starts[first + 1 : end] = False


def _offsets(words: Iterable[str]) -> list[int]:
    """Returns the offset of each word."""
    return [0, *itertools.accumulate(map(len, words))][:-1]


@functools.lru_cache(_MAX_KNOWN)
def _latin_offsets(run: str) -> list[int]:
    """Returns the offsets of the words in a run of letters, digits and symbols."""
    return _offsets(filter(None, _LATIN_WORD.split(run)))
