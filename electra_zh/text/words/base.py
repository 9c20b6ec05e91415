"""The interface of a segmenter, which says where the words of a text begin."""

from __future__ import annotations

import abc
import itertools
from collections import Counter

import numpy as np

from electra_zh.text.characters import to_codepoints

# Counts of a segmenter: stretches that jieba itself had to cut, lines that it cut as well to check
# them, and those of these lines on which it differed.
RECUT, CHECKED, DIFFERENT = "recut", "checked", "different"
# The maximal number of lines that differed to be shown.
MAX_DIFFERENCES = 5


class Segmenter(abc.ABC):
    """A way to cut text into words.

    Attributes:
      counts: of RECUT, CHECKED and DIFFERENT, since `clear`.
      differences: the first lines that differed, for the user to read.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Resets the counts, before a new text."""
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []

    @abc.abstractmethod
    def starts(self, text: str, codepoints: np.ndarray) -> np.ndarray:
        r"""Returns whether each character begins a word, bool [C]; `codepoints` are the text's.

        The text is lines joined by "\n", best about a megabyte; no word crosses the end of a line.
        """

    def cut(self, text: str) -> list[str]:
        """Returns the words of a text, white space and single characters included."""
        starts = np.flatnonzero(self.starts(text, to_codepoints(text))).tolist()
        return [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
