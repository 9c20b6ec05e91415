"""The words of a text: by jieba, by its spaces, or by a list of words.

A segmenter says for each character whether it begins a word; `begins_word` turns that into the same
for tokens. Nothing here depends on how tokens are made, only on the characters that they cover.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from electra_zh import files
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.settings.declaration import Settings, setting
from electra_zh.text.characters import code_point_table
from electra_zh.text.words.base import Segmenter
from electra_zh.text.words.jieba import JiebaSegmenter
from electra_zh.text.words.lists import ListSegmenter, read_words

JIEBA, SPACES = "jieba", "spaces"


@dataclasses.dataclass(frozen=True)
class WordSettings(Settings):
    """Segmentation of text into words."""

    kind: str = setting(
        JIEBA,
        "jieba, spaces (those of the text), or a file of words, one per line",
        metavar="jieba|spaces|FILE",
    )
    hmm: bool = setting(
        True, "find words that are not in jieba's dictionary with its hidden Markov model"
    )
    dictionaries: tuple[str, ...] = setting(
        (),
        "file of further words for jieba, lines of: word [frequency] [tag]",
        metavar="FILE",
        flags=("--words-dict",),
    )
    check_every: int | None = setting(
        None,
        "cut one line in N with jieba itself as well, and report differences",
        at_least=1,
        metavar="N",
        flags=("--check-words",),
    )

    def check_together(self) -> None:  # noqa: D102
        given = {
            "--no-hmm": not self.hmm,
            "--words-dict": bool(self.dictionaries),
            "--check-words": self.check_every is not None,
        }
        for flag, is_given in given.items():
            if is_given and self.kind != JIEBA:
                raise UsageError(
                    f"{flag} applies to --words {JIEBA} only; --words is {self.kind}."
                    f"{did_you_mean(self.kind, [JIEBA]) or f' Remove {flag}'}"
                )
        if self.kind not in (JIEBA, SPACES):
            hint = did_you_mean(self.kind, (JIEBA, SPACES, "none"))
            _check_file(self.kind, f"--words must be {JIEBA}, none, {SPACES} or a file.{hint}")
        for path in self.dictionaries:
            _check_file(path, "--words-dict must name a dictionary of words")

    def with_paths(self, change: Callable[[str], str]) -> WordSettings:
        """Returns the same settings with every file's path changed."""
        kind = self.kind if self.kind in (JIEBA, SPACES) else change(self.kind)
        return dataclasses.replace(
            self, kind=kind, dictionaries=tuple(map(change, self.dictionaries))
        )

    def recorded(self) -> dict[str, Any]:
        """Returns the entries of a manifest, with checksums instead of paths."""
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


def _check_file(path: str, rule: str) -> None:
    if not files.exists(path):
        raise UserError(f"No such file: {path}; {rule}")
    if files.is_dir(path):
        raise UserError(f"{path} is a folder; {rule}")


def _sha256(path: str) -> str:
    return files.sha256(files.read_bytes(path))


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
      firsts: int [T], the first character of each token, or another of its word; they never fall.
    """
    word = np.cumsum(starts, dtype=np.int32)[firsts]
    begins = np.ones(len(firsts), np.bool_)
    np.not_equal(word[1:], word[:-1], out=begins[1:])
    return begins
