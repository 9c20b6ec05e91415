"""Tokens of answers as in the CMRC 2018 evaluation (`cmrc2018_evaluate.py`, v5)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# The script's list also has an ellipsis of two characters, which never equals a single one: `…`
# stays. So do the ASCII comma, full stop and brackets.
_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
# The script's range of Chinese characters; all others are read in runs, kana and `〇` among them.
_CHINESE = ("\u4e00", "\u9fa5")
# What a run of other characters falls into.
_RUN_TOKEN = re.compile(
    r"""
      \.{2,}
    | (?<!\.)\.(?=[\])}>"'»”’\s]*$)         # the full stop that ends the run
    | [;@#$%&?!*()\[\]{}<>"«»‘’“”„`‒–—―]
    | [,:](?!\d)
    | '(?:s|m|d|ll|re|ve)(?!\w) | n't(?!\w)  # endings cut off from the word
    | (?<!\w)'(?=\w) | '(?!\w)               # quotes, not apostrophes
    | \S                                     # the first character of a word, then the others
      (?: (?! \.{2,} | \.[\])}>"'»”’\s]*$ | [,:](?!\d) | n't(?!\w)
            | '(?:s|m|d|ll|re|ve)?(?!\w) )
          [^\s;@#$%&?!*()\[\]{}<>"«»‘’“”„`‒–—―] )*
    """,
    re.VERBOSE,
)


def mixed_segmentation(text: str) -> list[str]:
    """Splits an answer as the CMRC 2018 script does, punctuation removed, lower-cased.

    Chinese characters stand alone. Runs of other characters are split into words at spaces, ASCII
    punctuation and English endings ('s, n't), but not inside numbers such as 1,200.5. The script
    has NLTK's `word_tokenize` do this; the rules here agree with it but for rare English
    (sentences within one run, `cannot`, the direction of quotes).

    Parity: removed punctuation does not separate: `a，b` is one run.
    """
    tokens: list[str] = []
    run = ""
    for char in without_punctuation(text):
        if _CHINESE[0] <= char <= _CHINESE[1]:
            tokens += _RUN_TOKEN.findall(run)
            tokens.append(char)
            run = ""
        else:
            run += char
    return tokens + _RUN_TOKEN.findall(run)


def without_punctuation(text: str) -> str:
    """Returns the text lower-cased, stripped at both ends, and without the script's punctuation.

    Parity: it strips first: spaces next to removed punctuation stay.
    """
    return "".join(char for char in text.lower().strip() if char not in _PUNCTUATION)


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the length of the longest contiguous run of tokens that both have."""
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    return matcher.find_longest_match().size
