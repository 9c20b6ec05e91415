"""The rules that look at one line, or at one document.

A line goes by the first rule that hits it, in the order of `Rule`; a document by the first one
after its lines went. Each rule is a function of arrays: `L` lines, `D` documents.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from electra_zh.data.cleaning.document_batch import Figures, Stretch
from electra_zh.data.cleaning.duplicates import later_in_document
from electra_zh.data.cleaning.normalization import EMPTIED, REPLACEMENT
from electra_zh.data.cleaning.settings import CleanSettings


class Rule(enum.IntEnum):
    """Why a line or a document goes, in the order in which the rules are tried."""

    STAYS = 0
    LINE_EMPTIED = 1
    LINE_REPLACEMENT = 2
    LINE_SHORT = 3
    LINE_LONG = 4
    LINE_CHINESE = 5
    LINE_SYMBOLS = 6
    LINE_RUN = 7
    DOCUMENT_REPEATS = 8
    LINE_REPEATED = 9
    DOCUMENT_EMPTIED = 10
    DOCUMENT_SHORT = 11
    DOCUMENT_CHINESE = 12
    DOCUMENT_DUPLICATE = 13
    DOCUMENT_CONTAMINATED = 14
    DOCUMENT_NEAR_DUPLICATE = 15
    LINE_BOILERPLATE = 16
    LINE_DUPLICATE = 17
    DOCUMENT_REMAINS = 18

    @property
    def label(self) -> str:
        """The rule's name in reports."""
        return self.name.lower()

    @property
    def on_documents(self) -> bool:
        """Whether it removes documents."""
        return self.name.startswith("DOCUMENT")


class Verdicts(NamedTuple):
    """By which rule each line and each document goes.

    Attributes:
      lines: uint8 [L], a `Rule`; the lines of a document that goes are not marked for it.
      documents: uint8 [D], a `Rule`.
    """

    lines: np.ndarray
    documents: np.ndarray

    def final(self, documents: np.ndarray) -> np.ndarray:
        """Returns of each line the rule by which it goes, its own or its document's, uint8 [L].

        Args:
          documents: [L], the number of each line's document.
        """
        return np.where(self.lines == Rule.STAYS, self.documents[documents], self.lines)


def judge_lines(stretch: Stretch, figures: Figures, settings: CleanSettings) -> np.ndarray:
    """Returns of each line the first rule on single lines that hits it, uint8 [L]."""
    lines, solid = stretch.lines, figures.solid
    hits = {
        Rule.LINE_EMPTIED: _which(lines, EMPTIED),
        Rule.LINE_REPLACEMENT: _which(lines, chr(REPLACEMENT)),
        Rule.LINE_SHORT: solid < settings.min_line,
        Rule.LINE_LONG: solid > (settings.max_line or np.inf),
        Rule.LINE_CHINESE: figures.chinese < settings.min_line_chinese * solid,
        Rule.LINE_SYMBOLS: figures.symbols > settings.max_line_symbols * solid,
        Rule.LINE_RUN: figures.run > (settings.max_run or np.inf),
    }
    return _first(hits, len(lines))


def _which(lines: list[str], char: str) -> np.ndarray:
    return np.fromiter((char in line for line in lines), np.bool_, len(lines))


def judge_documents(
    stretch: Stretch,
    figures: Figures,
    line_verdicts: np.ndarray,
    *,
    hashes: np.ndarray,
    settings: CleanSettings,
) -> Verdicts:
    """Returns the verdicts on lines that repeat others of their document, and on documents.

    Args:
      stretch: the documents.
      figures: of their lines.
      line_verdicts: uint8 [L], from `judge_lines`.
      hashes: uint64 [L], of the lines.
      settings: the rules.
    """
    documents, count = stretch.documents, stretch.num_documents
    lines = line_verdicts.copy()
    left = lines == Rule.STAYS
    later = np.zeros(len(lines), np.bool_)
    later[left] = later_in_document(hashes[left], documents[left])
    share = document_sums(later, documents, count)
    repeats = share > settings.max_document_repeats * document_sums(left, documents, count)
    if settings.repeated_lines:
        lines[later & (figures.solid >= settings.repeated_lines)] = Rule.LINE_REPEATED
    left = lines == Rule.STAYS
    solid = document_sums(figures.solid * left, documents, count)
    chinese = document_sums(figures.chinese * left, documents, count)
    hits = {
        Rule.DOCUMENT_REPEATS: repeats,
        Rule.DOCUMENT_EMPTIED: solid == 0,
        Rule.DOCUMENT_SHORT: solid < settings.min_document,
        Rule.DOCUMENT_CHINESE: chinese < settings.min_document_chinese * solid,
    }
    # A document that goes for its repeated lines goes with them.
    lines[repeats[documents] & (lines == Rule.LINE_REPEATED)] = Rule.STAYS
    return Verdicts(lines, _first(hits, count))


def _first(hits: dict[Rule, np.ndarray], count: int) -> np.ndarray:
    """Returns of each line or document the first rule that hits it, uint8 [count]."""
    verdicts = np.full(count, Rule.STAYS, np.uint8)
    for rule in reversed(hits):
        verdicts[hits[rule]] = rule
    return verdicts


def document_sums(values: np.ndarray, documents: np.ndarray, count: int) -> np.ndarray:
    """Returns the sum of the values [L] of each document's lines, int64 [count]."""
    # Sums of whole numbers under 2 ** 53 are exact in float64.
    return np.bincount(documents, weights=values, minlength=count).astype(np.int64)


def describe(settings: CleanSettings) -> dict[Rule, str]:
    """Returns what each rule that is switched on removes, in the order of the rules."""
    texts = {
        Rule.LINE_EMPTIED: "lines with control and zero-width characters only",
        Rule.LINE_REPLACEMENT: f"lines with over {settings.max_replacement:.1%} of U+FFFD",
        Rule.LINE_SHORT: f"lines under {settings.min_line} characters",
        Rule.LINE_LONG: f"lines over {settings.max_line:,} characters",
        Rule.LINE_CHINESE: f"lines under {settings.min_line_chinese:.0%} Chinese",
        Rule.LINE_SYMBOLS: f"lines over {settings.max_line_symbols:.0%} symbols and digits",
        Rule.LINE_RUN: f"lines with over {settings.max_run} characters of repetition",
        Rule.DOCUMENT_REPEATS: (
            f"documents with over {settings.max_document_repeats:.0%} repeated lines"
        ),
        Rule.LINE_REPEATED: "lines repeated in their document",
        Rule.DOCUMENT_EMPTIED: "documents without a line left",
        Rule.DOCUMENT_SHORT: f"documents under {settings.min_document} characters",
        Rule.DOCUMENT_CHINESE: f"documents under {settings.min_document_chinese:.0%} Chinese",
        Rule.DOCUMENT_DUPLICATE: "documents that are the same as an earlier one",
        Rule.DOCUMENT_CONTAMINATED: f"documents with {settings.ngram}-grams of evaluation data",
        Rule.DOCUMENT_NEAR_DUPLICATE: (
            f"documents at least {settings.near_duplicates or 1:.0%} like an earlier one"
        ),
        Rule.LINE_BOILERPLATE: f"lines in over {settings.boilerplate} documents",
        Rule.LINE_DUPLICATE: "lines that stood in the corpus before",
        Rule.DOCUMENT_REMAINS: f"documents left with under {settings.min_document} characters",
    }
    off = _switched_off(settings)
    return {rule: text for rule, text in texts.items() if not off.get(rule, False)}


def _switched_off(settings: CleanSettings) -> dict[Rule, bool]:
    return {
        Rule.LINE_SHORT: not settings.min_line,
        Rule.LINE_REPLACEMENT: settings.max_replacement == 1,
        Rule.LINE_LONG: not settings.max_line,
        Rule.LINE_CHINESE: not settings.min_line_chinese,
        Rule.LINE_SYMBOLS: settings.max_line_symbols == 1,
        Rule.LINE_RUN: not settings.max_run,
        Rule.DOCUMENT_REPEATS: settings.max_document_repeats == 1,
        Rule.LINE_REPEATED: not settings.repeated_lines,
        Rule.DOCUMENT_SHORT: not settings.min_document,
        Rule.DOCUMENT_CHINESE: not settings.min_document_chinese,
        Rule.DOCUMENT_CONTAMINATED: not settings.decontaminate,
        Rule.DOCUMENT_DUPLICATE: settings.keep_duplicates,
        Rule.DOCUMENT_NEAR_DUPLICATE: settings.near_duplicates is None,
        Rule.LINE_BOILERPLATE: not settings.boilerplate,
        Rule.LINE_DUPLICATE: not settings.duplicate_lines,
        Rule.DOCUMENT_REMAINS: not (settings.boilerplate or settings.duplicate_lines),
    }
