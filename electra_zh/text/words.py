"""Where the words of a text begin: by jieba, by its spaces, or by a list of words.

A segmenter says of each character whether it begins a word; `begins_word` turns that into the same
of tokens. Nothing here depends on how tokens are made, only on the characters that they cover.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

JIEBA, SPACES = "jieba", "spaces"
# What segmenters count.
RECUT = "stretches cut by jieba itself"


@dataclasses.dataclass(frozen=True)
class WordSettings:
    """How text is cut into words.

    Attributes:
      kind: "jieba", "spaces", or the file of a list of words.
      hmm: jieba's model for words that its dictionary lacks.
      dictionaries: files of further words for jieba.
    """

    kind: str = JIEBA
    hmm: bool = True
    dictionaries: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """Returns what the words depend on, as a manifest shows it: no paths, but checksums."""
        return {
            "words": self.kind,
            "words_hmm": self.hmm,
            "words_library": ", ".join(f"{name} {version(name)}" for name in ("jieba", "rjieba")),
        }


class Segmenter(Protocol):
    """Cuts text into words.

    Attributes:
      counts: what happened since it was cleared last, by name.
    """

    counts: Counter[str]

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        r"""Returns bool [C]: whether each character of the text begins a word.

        Args:
          text: lines joined by "\n"; no word goes over the end of a line.
          codepoints: its characters, uint32 [C].
        """


def make_segmenter(settings: WordSettings) -> Segmenter:
    """Returns the segmenter of a kind; it loads what it needs."""
    assert settings.kind == JIEBA
    from electra_zh.text.jieba_words import JiebaSegmenter

    return JiebaSegmenter(hmm=settings.hmm, dictionaries=settings.dictionaries)


def begins_word(starts: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Returns which tokens begin a word.

    A token begins a word if its first character belongs to another word than the first character
    of the token before it; the first token always does.

    Args:
      starts: bool [C], from a segmenter.
      firsts: int [T], the first character of each token; they never fall.

    Returns:
      bool [T].
    """
    word = np.cumsum(starts, dtype=np.int32)[firsts]
    begins = np.ones(len(firsts), np.bool_)
    np.not_equal(word[1:], word[:-1], out=begins[1:])
    return begins
