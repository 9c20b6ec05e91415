"""What a cleaning is asked for: every rule and its default."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from electra_zh.data.workers import count_processors
from electra_zh.errors import UsageError, did_you_mean

UnicodeForm = Literal["nfc", "nfkc", "none"]
Compression = Literal["none", "gz", "zst"]

_COUNTS = (
    *("min_line", "max_line", "max_run", "repeated_lines", "boilerplate", "duplicate_lines"),
    *("min_document", "common_ngrams"),
)
_SHARES = (
    *("max_replacement", "min_line_chinese", "max_line_symbols"),
    *("min_document_chinese", "max_document_repeats"),
)
# What the result does not depend on.
_NOT_RECORDED = ("inputs", "output", "num_processes", "overwrite", "decontaminate")


@dataclasses.dataclass(frozen=True)
class CleanSettings:
    """What to clean, and how.

    Lengths are characters without white space. A count of 0 switches its rule off, as does a
    smallest share of 0 and a largest share of 1.

    Attributes:
      inputs: files, folders and globs.
      output: the folder to write.
      unicode: Unicode normal form. NFC joins a letter and its accents and gives compatibility
        ideographs their unified form. NFKC also makes full-width punctuation ASCII, which is not
        how Chinese is written and not what vocabularies hold, so it is not the default.
      to_simplified: turn traditional characters into simplified ones.
      max_replacement: a line with a larger share of U+FFFD goes; in other lines U+FFFD is removed.
      min_line: shorter lines go.
      max_line: longer lines go.
      min_line_chinese: lines with a smaller share of ideographs go.
      max_line_symbols: lines with a larger share of symbols, digits and punctuation go.
      max_run: lines that repeat one to four characters over a longer stretch go.
      repeated_lines: lines of at least this length that stood in the document before go.
      boilerplate: lines that stand in more documents than this go, all of them.
      duplicate_lines: lines of at least this length that stood in the corpus before go.
      min_document: documents with less text left go.
      min_document_chinese: documents with a smaller share of ideographs go.
      max_document_repeats: documents with a larger share of lines that repeat earlier ones go.
      keep_duplicates: keep documents that are the same as an earlier one.
      near_duplicates: documents at least so similar to an earlier one go; None: they stay.
      decontaminate: files of evaluation data; documents that share a stretch of text with it go.
      ngram: length of that stretch, in ideographs and words of other letters (13: Brown et al.,
        2020, appendix C).
      common_ngrams: stretches in more documents of the corpus than this are ignored (10: the same).
      compress: how the output is compressed.
      text_field: the field of `.jsonl` records that holds the text.
      strict: stop at the first line that cannot be read instead of leaving it out.
      num_processes: worker processes; the number of processors unless given.
      overwrite: replace a folder that an earlier cleaning wrote.
      unit_bytes: text of one task; chosen from the corpus unless given.
    """

    inputs: tuple[str, ...]
    output: str
    unicode: UnicodeForm = "nfc"
    to_simplified: bool = False
    max_replacement: float = 0.01
    min_line: int = 5
    max_line: int = 100_000
    min_line_chinese: float = 0.2
    max_line_symbols: float = 0.6
    max_run: int = 20
    repeated_lines: int = 10
    boilerplate: int = 100
    duplicate_lines: int = 0
    min_document: int = 50
    min_document_chinese: float = 0.3
    max_document_repeats: float = 0.3
    keep_duplicates: bool = False
    near_duplicates: float | None = None
    decontaminate: tuple[str, ...] = ()
    ngram: int = 13
    common_ngrams: int = 10
    compress: Compression = "none"
    text_field: str = "text"
    strict: bool = False
    num_processes: int | None = None
    overwrite: bool = False
    unit_bytes: int | None = None

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UsageError: a value is not allowed.
        """
        for name, kind in (("unicode", UnicodeForm), ("compress", Compression)):
            value, kinds = getattr(self, name), get_args(kind)
            if value not in kinds:
                hint = did_you_mean(value, kinds)
                raise UsageError(f'{name} is "{value}"; allowed: {", ".join(kinds)}.{hint}')
        for name in _COUNTS:
            _check(name, getattr(self, name), lowest=0)
        for name in ("num_processes", "unit_bytes"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), lowest=1)
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.near_duplicates is not None and not 0.1 <= self.near_duplicates <= 1:
            raise UsageError(
                f"near_duplicates is {self.near_duplicates}; it must be between 0.1 and 1"
            )
        _check("ngram", self.ngram, lowest=5)
        if 0 < self.max_line < self.min_line:
            raise UsageError(
                f"max_line is {self.max_line}; it must be at least min_line ({self.min_line}), or 0"
            )

    def recorded(self) -> dict[str, Any]:
        """Returns the settings that the result depends on, as the report shows them."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in _NOT_RECORDED}

    @property
    def processes(self) -> int:
        """Worker processes, at most."""
        return self.num_processes or count_processors()

    @property
    def suffix(self) -> str:
        """How the names of the output files end."""
        return ".txt" if self.compress == "none" else f".txt.{self.compress}"


def _check(name: str, value: int, *, lowest: int) -> None:
    if value < lowest:
        raise UsageError(f"{name} is {value}; it must be at least {lowest}")
