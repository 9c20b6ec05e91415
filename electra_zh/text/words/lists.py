"""Words from files: lists that text is cut by, and further words for jieba."""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.errors import UserError

# jieba's form of a line: the frequency and the tag may be left out.
_ENTRY = re.compile(r"(.+?)(?: ([0-9]+))?(?: ([a-z]+))?")
_MAX_FREQUENCY = 10**12
_BOM = "\ufeff"
# Letters and digits of scripts that put spaces between words, and their combining marks.
_LETTERS = "[^\\W_\u2e80-\U0010ffff]"
# From here on there are none of them.
_NO_LETTER = "\u2e80"
_RUN = re.compile(f"{_LETTERS}(?:{_LETTERS}|[\u0300-\u036f])*")


class Entry(NamedTuple):
    """A line of a dictionary in jieba's form.

    Attributes:
      word: the word.
      frequency: how often it occurs; None to have jieba choose one that keeps the word whole.
    """

    word: str
    frequency: int | None


def read_dictionary(path: str) -> list[Entry]:
    """Reads a dictionary in jieba's form: `word [frequency] [tag]` on each line.

    Raises:
      UserError: a line is broken, or there are no words.
    """
    entries: list[Entry] = []
    for number, line in _lines(path):
        match = _ENTRY.fullmatch(line)
        assert match, "any text that is not empty matches"
        word, frequency, _ = match.groups()
        if any(char.isspace() for char in word):
            raise UserError(
                f'{path}:{number}: "{line}" is not "word [frequency] [tag]" with single spaces '
                "between them, the frequency a whole number, the tag small letters"
            )
        if frequency is not None and int(frequency) > _MAX_FREQUENCY:
            raise UserError(
                f"{path}:{number}: the frequency of {word} is {frequency}; "
                f"at most {_MAX_FREQUENCY} is allowed"
            )
        entries.append(Entry(word, None if frequency is None else int(frequency)))
    if not entries:
        raise UserError(f"{path} holds no words")
    return entries


def read_words(path: str) -> frozenset[str]:
    """Reads a list of words: the first column of each line.

    Raises:
      UserError: a line is not UTF-8, or there are no words.
    """
    words = frozenset(line.split(maxsplit=1)[0] for _, line in _lines(path))
    if not words:
        raise UserError(f"{path} holds no words")
    return words


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that hold something, stripped, with their numbers."""
    for number, data in enumerate(files.read_bytes(path).split(b"\n"), 1):
        try:
            line = data.decode()
        except UnicodeDecodeError:
            raise UserError(f"{path}:{number}: the line is not UTF-8") from None
        # As jieba strips them: a wide space, say, is a part of the line.
        line = line.strip(string.whitespace).lstrip(_BOM)
        if line:
            yield number, line


class ListSegmenter:
    """Cuts text by a list of words: at each place the longest one that is there.

    Where no word begins, a run of Latin letters and digits is a word as a whole, and any other
    character is one alone. Words that are shorter than such a run do not cut it.

    Attributes:
      counts: nothing.
      differences: nothing.
    """

    def __init__(self, words: frozenset[str]) -> None:
        """Prepares the words, none of which holds white space."""
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        self._words = words
        lengths: dict[str, set[int]] = {}
        for word in words:
            if len(word) > 1:
                lengths.setdefault(word[0], set()).add(len(word))
        # Of each first character, the lengths of its words, the longest first.
        self._lengths = {char: sorted(each, reverse=True) for char, each in lengths.items()}

    def clear(self) -> None:
        """Begins a new text."""

    def cut(self, text: str) -> list[str]:
        """Returns the words of a text, white space and single characters included."""
        bounds = [*self._places(text), len(text)]
        return [text[start:end] for start, end in itertools.pairwise(bounds)]

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        """Returns bool [C]: whether each character of the text begins a word.

        Args:
          text: the text.
          codepoints: its characters, uint32 [C].
        """
        starts = np.zeros(len(text), np.bool_)
        starts[self._places(text)] = True
        return starts

    def _places(self, text: str) -> list[int]:
        words, lengths_of = self._words, self._lengths
        run_ends = {match.start(): match.end() for match in _RUN.finditer(text)}
        places: list[int] = []
        place = 0
        while place < len(text):
            places.append(place)
            end = run_ends.get(place, place + 1)
            for length in lengths_of.get(text[place], ()):
                if place + length <= end:
                    break
                word = text[place : place + length]
                if word in words:
                    end = place + len(word)
                    # A run that the word has begun goes on as one.
                    rest = _RUN.match(text, end) if word[-1] < _NO_LETTER else None
                    if rest:
                        run_ends[end] = rest.end()
                    break
            place = end
        return places
