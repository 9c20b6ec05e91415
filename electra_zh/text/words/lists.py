"""Words from files: lists to cut text by, and further words for jieba."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from absl import logging

from electra_zh import files
from electra_zh.content import HEAD_BYTES, JSON, JSON_LINES, NAMES, XML, not_utf8, recognize
from electra_zh.errors import UserError
from electra_zh.text.words.base import Segmenter

# jieba's form of a line: the frequency and the tag are optional.
_ENTRY = re.compile(r"(.+?)(?: ([0-9]+))?(?: ([a-z]+))?")
_MAX_FREQUENCY = 10**12
_OTHER_SPACE = re.compile(r"[^\S ]")
# A frequency that is not an integer, or an integer before a tag that is not in lower case.
_MISTYPED = re.compile(r" [+-]?[\d.]+( [A-Za-z]+)?$")
_BOM = "\ufeff"
# Letters and digits of scripts that put spaces between words, and their combining marks.
_LETTERS = "[^\\W_\u2e80-\U0010ffff]"
# The first code point after all of them.
_NO_LETTER = "\u2e80"
_RUN = re.compile(f"{_LETTERS}(?:{_LETTERS}|[\u0300-\u036f])*")


class DictionaryWord(NamedTuple):
    """A word of a dictionary in jieba's form and how often it occurs."""

    word: str
    frequency: int | None  # None lets jieba choose one with which it does not cut the word


def read_dictionary(path: str) -> list[DictionaryWord]:
    """Reads a dictionary in jieba's form, `word [frequency] [tag]`; raises UserError for others.

    As to jieba, a word may have spaces inside. It cuts text at every space, so such a word never
    matches: the log says how many there are.
    """
    entries: list[DictionaryWord] = []
    spaced: list[str] = []
    for number, line in _lines(path):
        match = _ENTRY.fullmatch(line)
        assert match, "any text that is not empty matches"
        word, frequency, _ = match.groups()
        parts = word.split(" ")
        if not all(parts) or _OTHER_SPACE.search(word) or _MISTYPED.search(word):
            raise UserError(
                f'{path}:{number}: "{line}" is not "word [frequency] [tag]". Use single spaces, '
                "an integer frequency and a tag of lower-case letters"
            )
        if frequency is not None and int(frequency) > _MAX_FREQUENCY:
            raise UserError(
                f"{path}:{number}: the frequency of {word} is {frequency}; "
                f"it must be at most {_MAX_FREQUENCY}"
            )
        spaced += [word] if parts[1:] else []
        entries.append(DictionaryWord(word, None if frequency is None else int(frequency)))
    if not entries:
        raise UserError(f"{path} contains no words")
    if spaced:
        logging.info(
            '%s: words with spaces, which never match text, as in jieba: %d, such as "%s".',
            path,
            len(spaced),
            spaced[0],
        )
    return entries


def read_words(path: str) -> frozenset[str]:
    """Reads a list of words, the first column of each line; raises UserError for other files."""
    words = frozenset(line.split(maxsplit=1)[0] for _, line in _lines(path))
    if not words:
        raise UserError(f"{path} contains no words")
    return words


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, stripped, with their numbers."""
    content = files.read_bytes(path)
    form = recognize(content[:HEAD_BYTES])
    if form in (JSON, JSON_LINES, XML):
        raise UserError(f"{path} is {NAMES[form]}, not a list of words. Write one word per line")
    for number, data in enumerate(content.split(b"\n"), 1):
        try:
            line = data.decode()
        except UnicodeDecodeError:
            hint = not_utf8(path, content[:HEAD_BYTES])
            raise UserError(f"{path}:{number}: the line is not UTF-8; {hint}") from None
        # Stripped as jieba does it: a wide space, say, is part of the line.
        line = line.strip(string.whitespace).lstrip(_BOM)
        if line:
            yield number, line


class ListSegmenter(Segmenter):
    """Cuts text by a list of words: the longest one that matches at each place.

    If no word matches, a run of Latin letters and digits is one word, and so is any other single
    character. Words that are shorter than such a run do not cut it.
    """

    def __init__(self, words: frozenset[str]) -> None:
        """Prepares the words, which are free of white space."""
        super().__init__()
        self._words = words
        lengths: dict[str, set[int]] = {}
        for word in words:
            if len(word) > 1:
                lengths.setdefault(word[0], set()).add(len(word))
        # For each first character, the lengths of its words, the longest first.
        self._lengths = {char: sorted(each, reverse=True) for char, each in lengths.items()}

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:  # noqa: D102
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
                    # The rest of a run that the word has begun is one word.
                    rest = _RUN.match(text, end) if word[-1] < _NO_LETTER else None
                    if rest:
                        run_ends[end] = rest.end()
                    break
            place = end
        starts = np.zeros(len(text), np.bool_)
        starts[places] = True
        return starts
