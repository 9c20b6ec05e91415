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
hold a dictionary word of letters and digits alone, or a word that a user's dictionary gives the
frequency 0, which jieba treats apart. Both programs cut stretches apart, so nothing around changes.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from electra_zh.text.characters import CODE_POINTS
from electra_zh.text.markov import WordModel
from electra_zh.text.words import RECUT

if TYPE_CHECKING:
    import jieba

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
_ALPHANUMERIC_WORD = re.compile("[a-zA-Z0-9]{2,}")
_MAX_KNOWN = 1 << 17


class JiebaSegmenter:
    """Cuts text as jieba does.

    Attributes:
      counts: of `RECUT`, since it was cleared last.
    """

    def __init__(self, *, hmm: bool = True, dictionaries: Sequence[str] = ()) -> None:
        """Loads the dictionary, which takes a second.

        Args:
          hmm: whether words that the dictionary lacks are found by the hidden Markov model.
          dictionaries: files of further words, in jieba's form.
        """
        import rjieba

        self.counts: Counter[str] = Counter()
        self._hmm = hmm
        self._jieba = load_jieba(dictionaries)
        self._fast = rjieba.Jieba()
        self._special = self._complete_fast()
        self._classes = _character_classes()
        self._known: dict[str, list[int]] = {}
        self._known_latin: dict[str, list[int]] = {}
        if hmm:
            from jieba.finalseg import emit_P, start_P, trans_P

            self._model = WordModel(start_P, trans_P, emit_P)

    def _complete_fast(self) -> re.Pattern[str] | None:
        """Gives rjieba the words that it lacks; returns what finds words that it cannot have."""
        frequencies = self._jieba.FREQ
        special = [word for word in frequencies if _ALPHANUMERIC_WORD.fullmatch(word)]
        special = [word for word in special if frequencies[word]]
        missing = self._jieba.total - sum(frequencies.values())
        if missing:
            self._fast.add_word(_PRIVATE, missing, None)
        return re.compile("|".join(map(re.escape, sorted(special)))) if special else None

    def cut(self, text: str) -> list[str]:
        """Returns the words of a text, white space and single characters included."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
        bounds = [*np.flatnonzero(self.starts(text, points)).tolist(), len(text)]
        return [text[start:end] for start, end in itertools.pairwise(bounds)]

    def cut_slowly(self, text: str) -> list[str]:
        """Returns the words of a text by jieba itself."""
        return list(self._jieba.cut(text, HMM=self._hmm))

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        r"""Returns bool [C]: whether each character of the text begins a word.

        Args:
          text: any text; lines joined by "\n", about a megabyte of them, are best.
          codepoints: its characters, uint32 [C].
        """
        starts = np.zeros(len(text), np.bool_)
        if not text:
            return starts
        words = self._cut_fast(text)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        ends = np.cumsum(lengths)
        assert ends[-1] == len(text)
        starts[ends - lengths] = True
        classes = self._classes.take(codepoints)
        if self._hmm:
            self._join_singles(text, codepoints, classes, starts)
        self._recut(text, classes, starts)
        return starts

    def _cut_fast(self, text: str) -> list[str]:
        try:
            return self._fast.cut(text, False)
        except UnicodeEncodeError:
            # Half a surrogate pair, which no UTF-8 can hold: to both programs a character like
            # U+FFFD, in no stretch.
            return self._fast.cut(_SURROGATE.sub("\ufffd", text), False)

    def _join_singles(
        self, text: str, codepoints: np.ndarray, classes: np.ndarray, starts: np.ndarray
    ) -> None:
        """Cuts what the dictionary left single as jieba's model does, in `starts`."""
        _take_apart(classes, starts)
        single = starts & np.append(starts[1:], True)
        single &= (classes != _OUTSIDE) & (classes != _FOREIGN)
        # Runs in two stretches do not meet: what is between stretches is in none.
        get = self._jieba.FREQ.get
        for first, end in zip(*_long_runs(single), strict=True):
            if get(text[first:end]):
                single[first:end] = False
        is_ideograph = classes == _IDEOGRAPH
        ideographs = single & is_ideograph
        firsts, ends = _runs(ideographs)
        starts[ideographs] = False
        starts[firsts] = True
        several = ends - firsts > 1
        starts[self._model.starts(codepoints, firsts[several], ends[several])] = True
        self._cut_latin(text, single & ~is_ideograph, starts)

    def _cut_latin(self, text: str, single: np.ndarray, starts: np.ndarray) -> None:
        """Cuts runs of letters, digits and symbols, in `starts`."""
        known = self._known_latin
        if len(known) > _MAX_KNOWN:
            known.clear()
        places: list[int] = []
        for first, end in zip(*_long_runs(single), strict=True):
            run = text[first:end]
            inside = known.get(run)
            if inside is None:
                known[run] = inside = _offsets(filter(None, _LATIN_WORD.split(run)))
            starts[first:end] = False
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


def load_jieba(dictionaries: Sequence[str] = ()) -> jieba.Tokenizer:
    """Returns a tokenizer of jieba's own, apart from its global one.

    jieba's own loading is not used: it writes a cache into the folder for temporary files, where
    the processes of a build would meet, and tells standard error about it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    tokenizer: Any = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    for path in dictionaries:
        tokenizer.load_userdict(path)
    return tokenizer


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


def _take_apart(classes: np.ndarray, starts: np.ndarray) -> None:
    """Makes each character of a word of letters and digits alone begin a word, in `starts`."""
    is_joined = classes == _ALPHANUMERIC
    firsts = np.flatnonzero(starts & is_joined)
    if not len(firsts):
        return
    ends = np.append(np.flatnonzero(starts), len(starts))
    ends = ends[np.searchsorted(ends, firsts, side="right")]
    before = np.concatenate([[0], np.cumsum(is_joined)])
    apart = (before[ends] - before[firsts] == ends - firsts) & (ends - firsts > 1)
    for first, end in zip(firsts[apart].tolist(), ends[apart].tolist(), strict=True):
        starts[first:end] = True


def _runs(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns firsts and ends of the maximal runs of True."""
    edged = np.zeros(len(inside) + 2, np.bool_)
    edged[1:-1] = inside
    changes = np.flatnonzero(edged[1:] != edged[:-1])
    return changes[::2], changes[1::2]


def _long_runs(inside: np.ndarray) -> tuple[list[int], list[int]]:
    """Returns firsts and ends of the maximal runs of more than one True."""
    firsts, ends = _runs(inside)
    several = ends - firsts > 1
    return firsts[several].tolist(), ends[several].tolist()


def _offsets(words: Iterable[str]) -> list[int]:
    """Returns where each of the words begins."""
    return [0, *itertools.accumulate(map(len, words))][:-1]
