"""Where the words of a text begin: by jieba, by its spaces, or by a list of words.

A segmenter says of each character whether it begins a word; `begins_word` turns that into the same
of tokens. Nothing here depends on how tokens are made, only on the characters that they cover.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from electra_zh import files
from electra_zh.errors import UserError, did_you_mean

JIEBA, SPACES = "jieba", "spaces"
# What segmenters count: stretches that jieba itself had to cut, lines that it cut as well, and
# those of them on which it differed.
RECUT, CHECKED, DIFFERENT = "recut", "checked", "different"
# Lines that differed are shown up to this number.
MAX_DIFFERENCES = 5


@dataclasses.dataclass(frozen=True)
class WordSettings:
    """How text is cut into words.

    Attributes:
      kind: "jieba", "spaces", or the file of a list of words.
      hmm: whether jieba looks for words that its dictionary lacks (its hidden Markov model).
      dictionaries: files of further words for jieba.
      check_every: one line in so many is cut by jieba itself as well; None for none.
    """

    kind: str = JIEBA
    hmm: bool = True
    dictionaries: tuple[str, ...] = ()
    check_every: int | None = None

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: a value is not allowed, or a file is missing.
        """
        given = not self.hmm or self.dictionaries or self.check_every is not None
        if given and self.kind != JIEBA:
            raise UserError(f'hmm, dictionaries and check_every are for "{JIEBA}" words only')
        if self.check_every is not None and self.check_every < 1:
            raise UserError(f"check_every is {self.check_every}; it must be at least 1")
        if self.kind not in (JIEBA, SPACES):
            hint = did_you_mean(self.kind, (JIEBA, SPACES, "none"))
            _check_file(self.kind, f"words are {JIEBA}, none, {SPACES} or a file of words.{hint}")
        for path in self.dictionaries:
            _check_file(path, "it was given as a dictionary of words")

    def with_paths(self, change: Callable[[str], str]) -> WordSettings:
        """Returns the same settings with every file's path changed."""
        kind = self.kind if self.kind in (JIEBA, SPACES) else change(self.kind)
        return dataclasses.replace(
            self, kind=kind, dictionaries=tuple(map(change, self.dictionaries))
        )

    def recorded(self) -> dict[str, Any]:
        """Returns what the words depend on, as a manifest shows it: no paths, but checksums."""
        if self.kind == SPACES:
            return {"words": SPACES}
        if self.kind != JIEBA:
            return {"words": os.path.basename(self.kind), "words_sha256": _sha256(self.kind)}
        return {
            "words": JIEBA,
            "words_library": ", ".join(f"{name} {version(name)}" for name in ("jieba", "rjieba")),
            "words_hmm": self.hmm,
            "words_dictionaries": [_sha256(path) for path in self.dictionaries],
            "check_words": self.check_every,
        }


def _check_file(path: str, what: str) -> None:
    if not files.exists(path):
        raise UserError(f"No such file: {path}; {what}")
    if files.is_dir(path):
        raise UserError(f"{path} is a folder; {what}")


def _sha256(path: str) -> str:
    return files.sha256(files.read_bytes(path))


class Segmenter(Protocol):
    """Cuts text into words.

    Attributes:
      counts: of RECUT, CHECKED and DIFFERENT, since `clear`.
      differences: the first lines that differed, as a person reads them.
    """

    counts: Counter[str]
    differences: list[str]

    def clear(self) -> None:
        """Begins a new text: forgets what was counted."""

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        r"""Returns bool [C]: whether each character of the text begins a word.

        Args:
          text: lines joined by "\n"; no word goes over the end of a line.
          codepoints: its characters, uint32 [C].
        """


def make_segmenter(settings: WordSettings) -> Segmenter:
    """Returns the segmenter of a kind; it loads what it needs.

    Raises:
      UserError: a file of words is broken.
    """
    if settings.kind == SPACES:
        return SpacesSegmenter()
    if settings.kind != JIEBA:
        from electra_zh.text.words.lists import ListSegmenter, read_words

        return ListSegmenter(read_words(settings.kind))
    from electra_zh.text.words.jieba import JiebaSegmenter

    return JiebaSegmenter(
        hmm=settings.hmm, dictionaries=settings.dictionaries, check_every=settings.check_every
    )


class SpacesSegmenter:
    """Takes every stretch between white space for a word.

    Attributes:
      counts: nothing.
      differences: nothing.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []

    def clear(self) -> None:
        """Begins a new text."""

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        """Returns bool [C]: whether each character begins a word, white space each one of its own.

        Args:
          text: the text.
          codepoints: its characters, uint32 [C].
        """
        spaces = _is_space().take(codepoints)
        starts = spaces.copy()
        starts[1:] |= spaces[:-1]
        starts[:1] = True
        return starts


@functools.cache
def _is_space() -> np.ndarray:
    """Returns bool [0x110000]: what Python, and with it the tokenizers, take for white space."""
    spaces = np.zeros(0x110000, np.bool_)
    # All of them are in the basic plane; a test goes over every code point.
    spaces[[point for point in range(0x10000) if chr(point).isspace()]] = True
    return spaces


def begins_word(starts: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Returns which tokens begin a word.

    A token begins a word if its first character belongs to another word than the first character
    of the token before it; the first token always does.

    Args:
      starts: bool [C], from a segmenter.
      firsts: int [T], the first character of each token, or another of its word; they never fall.

    Returns:
      bool [T].
    """
    word = np.cumsum(starts, dtype=np.int32)[firsts]
    begins = np.ones(len(firsts), np.bool_)
    np.not_equal(word[1:], word[:-1], out=begins[1:])
    return begins
