"""jieba's words, exactly, at many times its speed.

What jieba (0.42.1, accurate mode) does with a text, and who does it here:

1. It cuts the text into stretches of ideographs (U+4E00 to U+9FD5), ASCII letters, digits and
   `+#&._%-`; every other character is a word of its own, or white space. Each stretch goes its own
   way from here on.
2. Of all ways to make a stretch of dictionary words and single characters it takes the one with the
   largest sum of log(frequency) - log(total). This is what costs time, and rjieba (Rust) does it,
   without its hidden Markov model, for a whole block at once. It does the same float64 additions in
   the same order, over the same C library's logarithm, and of equal sums both take the longer word.
   Its dictionary has the same words and frequencies; jieba's `total` also counts words that were
   replaced, so the difference is made good by a character of Unicode's private use area, which no
   stretch can hold.
3. Without the model, single letters and digits that follow one another are joined; so does rjieba.
   With the model, jieba collects the single characters that follow one another. A collection that
   is a word of the dictionary stays single; of others, the ideographs go to the model (`markov`,
   with jieba's own numbers: rjieba's are rounded) and the rest is cut by a regular expression of
   jieba's. That is done here, from the places that rjieba found. What rjieba has joined is taken
   apart again: a longer word of nothing but letters and digits was made of single ones, unless the
   dictionary has such a word.

There are stretches for which this does not hold, and they are looked for and given to jieba itself:
those with ideographs beyond U+4E00 to U+9FD5, which rjieba takes into its stretches; and those that
hold a dictionary word without ideographs, or a word that a user's dictionary gives the frequency 0,
which jieba treats apart. Both programs cut stretches apart, so nothing around changes.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from electra_zh.text.wordpiece.characters import CODE_POINTS
from electra_zh.text.words.jieba_reference import Jieba
from electra_zh.text.words.lists import Entry, read_dictionary
from electra_zh.text.words.segmenter import CHECKED, DIFFERENT, MAX_DIFFERENCES, RECUT

# What a character is to the two programs.
_OUTSIDE, _IDEOGRAPH, _ALPHANUMERIC, _SYMBOL, _FOREIGN = range(5)
_SYMBOLS = "+#&._%-"
_IDEOGRAPHS = (0x4E00, 0x9FD5)
# All blocks of ideographs, and what may become one: beyond jieba's range they are foreign to it.
_ALL_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_PRIVATE = "\ue000"
_SURROGATE = re.compile("[\ud800-\udfff]")
# finalseg's rule for what is no ideograph: what matches is a word, and so is what stands between.
_LATIN_WORD = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")
# An entry of a dictionary that holds no ideograph.
_LATIN_ENTRY = re.compile(r"[a-zA-Z0-9+#&._%\-]{2,}")
# rjieba is quickest with parts of a text that stay in the processor's cache.
_PART_CHARACTERS = 1 << 14
_MAX_KNOWN = 1 << 17
# Of a line that differed, so many characters before and behind the place are shown.
_SHOWN = 15


class JiebaSegmenter:
    """Cuts text as jieba does.

    Attributes:
      counts: of RECUT, CHECKED and DIFFERENT, since `clear`.
      differences: the first lines that differed, as a person reads them.
    """

    def __init__(
        self,
        *,
        hmm: bool = True,
        dictionaries: Sequence[str] = (),
        check_every: int | None = None,
    ) -> None:
        """Loads the dictionary, which takes a second.

        Args:
          hmm: whether words that the dictionary lacks are found by the hidden Markov model.
          dictionaries: files of further words, in jieba's form.
          check_every: one line in so many is cut by jieba itself as well, and where that differs
            it is what counts; None for none.

        Raises:
          UserError: a dictionary is broken.
        """
        import rjieba

        self.clear()
        self._hmm = hmm
        self._check_every = check_every
        entries = [entry for path in dictionaries for entry in read_dictionary(path)]
        self._jieba = Jieba(entries)
        self._fast = rjieba.Jieba()
        self._special = self._complete(entries)
        self._classes = _character_classes()
        self._known: dict[str, list[int]] = {}
        self._known_latin: dict[str, list[int]] = {}
        if hmm:
            self._model = self._jieba.word_model()

    def _complete(self, entries: Sequence[Entry]) -> re.Pattern[str] | None:
        """Gives rjieba what jieba's dictionary has more.

        Returns:
          What finds the words in a text that jieba itself must cut; None if there are none.
        """
        frequencies = self._jieba.frequencies
        total = sum(frequencies.values())
        for word, before in self._jieba.replaced.items():
            if frequencies[word]:
                self._fast.add_word(word, frequencies[word], None)
            else:
                # It stays what it was, and jieba itself cuts where it stands.
                total += before
        missing = self._jieba.total - total
        if missing:
            self._fast.add_word(_PRIVATE, missing, None)
        special = {word for word, frequency in entries if frequency == 0}
        latin = (word for word in frequencies if word.isascii() and frequencies[word])
        special.update(word for word in latin if _LATIN_ENTRY.fullmatch(word))
        return re.compile("|".join(map(re.escape, sorted(special)))) if special else None

    def clear(self) -> None:
        """Begins a new text: forgets what was counted."""
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        self._lines = 0

    def cut(self, text: str) -> list[str]:
        """Returns the words of a text, white space and single characters included."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
        bounds = [*np.flatnonzero(self.starts(text, points)).tolist(), len(text)]
        return [text[start:end] for start, end in itertools.pairwise(bounds)]

    def cut_slowly(self, text: str) -> list[str]:
        """Returns the words of a text by jieba itself."""
        return self._jieba.cut(text, hmm=self._hmm)

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        r"""Returns bool [C]: whether each character of the text begins a word.

        Args:
          text: any text; lines joined by "\n", about a megabyte of them, are best.
          codepoints: its characters, uint32 [C].
        """
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
        """Has jieba itself cut one line in so many, and takes its word where it differs."""
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
            # Half a surrogate pair, which no UTF-8 can hold: to both programs a character like
            # U+FFFD, in no stretch.
            words = self._fast.cut(_SURROGATE.sub("\ufffd", text), False)
        return np.fromiter(map(len, words), np.int64, len(words))

    def _join_singles(
        self, text: str, codepoints: np.ndarray, classes: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts what the dictionary left single as jieba's model does, in `starts`."""
        _take_apart(classes, starts)
        single = starts & np.append(starts[1:], True)
        single &= (classes != _OUTSIDE) & (classes != _FOREIGN)
        is_ideograph = classes == _IDEOGRAPH
        # Runs in two stretches do not meet: what is between stretches is in none.
        get = self._jieba.frequencies.get
        for first, end in zip(*_runs_with(single, is_ideograph), strict=True):
            if get(text[first:end]):
                single[first:end] = False
        ideographs = single & is_ideograph
        firsts, ends = _runs(ideographs)
        starts[ideographs] = False
        starts[firsts] = True
        several = ends - firsts > 1
        starts[self._model.starts(codepoints, firsts[several], ends[several])] = True
        self._cut_latin(text, single & ~is_ideograph, classes == _SYMBOL, starts)

    def _cut_latin(
        self, text: str, latin: np.ndarray, is_symbol: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts runs of letters, digits and symbols, in `starts`."""
        firsts, ends = _runs(latin)
        starts[latin] = False
        starts[firsts] = True
        # What has no symbol is one word.
        symbols = np.flatnonzero(latin & is_symbol)
        mixed = np.unique(np.searchsorted(firsts, symbols, side="right") - 1)
        mixed = mixed[(ends - firsts)[mixed] > 1]
        known = self._known_latin
        if len(known) > _MAX_KNOWN:
            known.clear()
        places: list[int] = []
        for first, end in zip(firsts[mixed].tolist(), ends[mixed].tolist(), strict=True):
            run = text[first:end]
            inside = known.get(run)
            if inside is None:
                known[run] = inside = _offsets(filter(None, _LATIN_WORD.split(run)))
            places += [first + place for place in inside]
        starts[places] = True

    def _recut(self, text: str, classes: np.ndarray, starts: np.ndarray) -> None:
        """Has jieba itself cut the stretches that the two programs see differently."""
        doubtful = np.flatnonzero(classes == _FOREIGN)
        if self._special is not None:
            found = [match.start() for match in self._special.finditer(text)]
            doubtful = np.unique(np.concatenate([doubtful, np.array(found, np.int64)]))
        if not len(doubtful):
            return
        outside = np.flatnonzero(classes == _OUTSIDE)
        bounds = np.concatenate([[-1], outside, [len(text)]])
        stretches = np.unique(np.searchsorted(bounds, doubtful))
        known = self._known
        if len(known) > _MAX_KNOWN:
            known.clear()
        for index in stretches.tolist():
            first, end = int(bounds[index - 1]) + 1, int(bounds[index])
            stretch = text[first:end]
            places = known.get(stretch)
            if places is None:
                known[stretch] = places = _offsets(self.cut_slowly(stretch))
            starts[first:end] = False
            starts[[first + place for place in places]] = True
        self.counts[RECUT] += len(stretches)


def _character_classes() -> np.ndarray:
    """Returns uint8 [0x110000]: what each character is to the two programs."""
    classes = np.full(CODE_POINTS, _OUTSIDE, np.uint8)
    for first, last in _ALL_IDEOGRAPHS:
        classes[first : last + 1] = _FOREIGN
    classes[_IDEOGRAPHS[0] : _IDEOGRAPHS[1] + 1] = _IDEOGRAPH
    for low, high in ("09", "AZ", "az"):
        classes[ord(low) : ord(high) + 1] = _ALPHANUMERIC
    classes[[ord(char) for char in _SYMBOLS]] = _SYMBOL
    return classes


def _parts(text: str) -> Iterator[str]:
    """Yields a text in parts of whole lines."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start, start + _PART_CHARACTERS) + 1
        if not end and start + _PART_CHARACTERS < len(text):
            end = text.find("\n", start) + 1
        end = end or len(text)
        yield text[start:end]
        start = end


def _take_apart(classes: np.ndarray, starts: np.ndarray) -> None:
    """Makes each character of a word of letters and digits alone begin a word, in `starts`."""
    joined = classes == _ALPHANUMERIC
    # Words that have something else too are the dictionary's; they stay whole.
    inside = np.flatnonzero((joined[1:] != joined[:-1]) & ~starts[1:]) + 1
    firsts = np.append(np.flatnonzero(starts), len(starts))
    words = np.unique(np.searchsorted(firsts, inside, side="right"))
    bounds = zip(firsts[words - 1].tolist(), firsts[words].tolist(), strict=True)
    starts |= joined
    for first, end in bounds:
        starts[first + 1 : end] = False


def _runs(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns firsts and ends of the maximal runs of True."""
    edged = np.zeros(len(inside) + 2, np.bool_)
    edged[1:-1] = inside
    changes = np.flatnonzero(edged[1:] != edged[:-1])
    return changes[::2], changes[1::2]


def _runs_with(inside: np.ndarray, some: np.ndarray) -> tuple[list[int], list[int]]:
    """Returns firsts and ends of the maximal runs of more than one True that hold one of `some`."""
    firsts, ends = _runs(inside)
    before = np.append(0, np.cumsum(some, dtype=np.int32))
    chosen = (ends - firsts > 1) & (before[ends] > before[firsts])
    return firsts[chosen].tolist(), ends[chosen].tolist()


def _offsets(words: Iterable[str]) -> list[int]:
    """Returns where each of the words begins."""
    return [0, *itertools.accumulate(map(len, words))][:-1]
