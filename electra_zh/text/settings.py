"""Settings of tokenizing and of segmentation into words; this module does not import NumPy."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from electra_zh import files
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.settings.declaration import Settings, setting

JIEBA, SPACES = "jieba", "spaces"
# Tokens of the usual Chinese vocabulary, Google's, which runs without data assume.
USUAL_SIZE = 21128


@dataclasses.dataclass(frozen=True)
class TokenizerSettings(Settings):
    """Normalisation of text before it is tokenized."""

    lower_case: bool = setting(True, "lower-case the text; without it accents are kept too")
    strip_accents: bool = setting(
        True, "remove accents and other combining marks", off_flags=("--keep-accents",)
    )
    map_punctuation: bool = setting(
        False,
        "map punctuation that is missing from a WordPiece vocabulary (curly quotes, dashes, "
        "ellipsis) to ASCII",
    )

    word_tokens: bool = setting(
        False,
        "make words, cut by jieba, one token if a WordPiece vocabulary has them (WoBERT's)",
    )

    def __post_init__(self) -> None:
        """Checks the values; the reference strips accents only from text that it lower-cases."""
        super().__post_init__()
        object.__setattr__(self, "strip_accents", self.lower_case and self.strip_accents)


@dataclasses.dataclass(frozen=True)
class WordSettings(Settings):
    """Segmentation of text into words."""

    kind: str = setting(
        JIEBA,
        "jieba, spaces (those of the text), or a file of words, one per line",
        metavar="{jieba,spaces,FILE}",
    )
    hmm: bool = setting(True, "find words outside of jieba's dictionary with its Markov model")
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
        paths = tuple(map(change, self.dictionaries))
        return dataclasses.replace(self, kind=kind, dictionaries=paths)

    def recorded(self) -> dict[str, Any]:
        """Returns the entries of a manifest, with checksums instead of paths."""
        if self.kind == SPACES:
            return {"words": SPACES}
        paths = self.dictionaries if self.kind == JIEBA else (self.kind,)
        sums = [files.sha256(files.read_bytes(path)) for path in paths]
        if self.kind != JIEBA:
            return {"words": os.path.basename(self.kind), "words_sha256": sums[0]}
        return {
            "words": JIEBA,
            "words_library": ", ".join(f"{name} {version(name)}" for name in ("jieba", "rjieba")),
            "words_hmm": self.hmm,
            "words_dictionaries": sums,
            "check_words": self.check_every,
        }


def _check_file(path: str, rule: str) -> None:
    if not files.exists(path):
        raise UserError(f"No such file: {path}; {rule}")
    if files.is_dir(path):
        raise UserError(f"{path} is a folder; {rule}")
