"""The words of a text: by jieba, by its spaces, or by a list of words.

A segmenter says for each character whether it begins a word; `begins_word` turns that into the same
for tokens. Nothing here depends on how tokens are made, only on the characters that they cover.
"""

from __future__ import annotations

import numpy as np

from electra_zh.text.characters import code_point_table
from electra_zh.text.settings import JIEBA, SPACES, WordSettings
from electra_zh.text.words.base import Segmenter
from electra_zh.text.words.jieba import JiebaSegmenter
from electra_zh.text.words.lists import ListSegmenter, read_words


def make_segmenter(settings: WordSettings) -> Segmenter:
    """Returns the segmenter of the settings; raises UserError for a malformed file of words."""
    if settings.kind == SPACES:
        return SpacesSegmenter()
    if settings.kind != JIEBA:
        return ListSegmenter(read_words(settings.kind))
    return JiebaSegmenter(
        hmm=settings.hmm, dictionaries=settings.dictionaries, check_every=settings.check_every
    )


class SpacesSegmenter(Segmenter):
    """Takes every stretch between white space as a word, and each white space as one."""

    def __init__(self) -> None:
        super().__init__()
        # White space to Python, and with it to the tokenizers.
        self._is_space = code_point_table(str.isspace, np.bool_)

    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:  # noqa: D102
        spaces = self._is_space.take(codepoints)
        starts = spaces.copy()
        starts[1:] |= spaces[:-1]
        starts[:1] = True
        return starts


def begins_word(starts: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Returns whether each token begins a word, bool [T].

    A token begins a word if its first character belongs to another word than the first character
    of the token before it; the first token always does.

    Args:
      starts: bool [C], from a segmenter.
      firsts: int [T], the first character of each token, or another of its word, never decreasing.
    """
    word = np.cumsum(starts, dtype=np.int32)[firsts]
    begins = np.ones(len(firsts), np.bool_)
    np.not_equal(word[1:], word[:-1], out=begins[1:])
    return begins
