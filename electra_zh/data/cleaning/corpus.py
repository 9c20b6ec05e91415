"""The rules on the whole corpus: what stood in it before, and what stands everywhere.

They look at what the rules on lines and documents left, in this order: documents that are the same
as an earlier one, documents with evaluation data in them, documents near an earlier one, then the
lines of the documents that stay. Of what is the same, the first in the order of the input stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.data.cleaning.contamination import contaminated
from electra_zh.data.cleaning.duplicates import CorpusLines, find_repeats, later_occurrences
from electra_zh.data.cleaning.minhash import near_duplicates
from electra_zh.data.cleaning.ngrams import Grams
from electra_zh.data.cleaning.rules import Rule, Verdicts, document_sums
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.cleaning.units import Filtered, load_records


class _Corpus(NamedTuple):
    """The units, and where their lines and documents are among all.

    Attributes:
      work: the folder of the lines' records.
      sizes: lines of each unit.
      offsets: int64 [units + 1], documents before each unit.
      document_rules: uint8 [documents of the corpus].
    """

    work: str
    sizes: tuple[int, ...]
    offsets: np.ndarray
    document_rules: np.ndarray

    def lines(self, unit: int, *, long: int) -> CorpusLines:
        records = load_records(self.work, unit)
        documents = records["document"] + self.offsets[unit]
        return CorpusLines(
            records["hash"],
            documents,
            records["solid"] >= long,
            self.document_rules[documents] == Rule.STAYS,
        )


def judge_corpus(
    filtered: Sequence[Filtered], settings: CleanSettings, *, work: str
) -> list[Verdicts]:
    """Returns the verdicts on the lines and documents of each unit.

    Args:
      filtered: what the first task said of each unit, in order.
      settings: the rules.
      work: where the first task left what is known of the lines.
    """
    counts = [len(unit.document_hashes) for unit in filtered]
    corpus = _Corpus(
        work,
        tuple(unit.lines for unit in filtered),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        _judge_documents(filtered, settings),
    )
    total = sum(corpus.sizes)
    line_rules = np.full(total, Rule.STAYS, np.uint8)
    if settings.boilerplate or settings.duplicate_lines:
        repeats = find_repeats(
            lambda unit: corpus.lines(unit, long=settings.duplicate_lines),
            corpus.sizes,
            boilerplate=settings.boilerplate,
            duplicates=settings.duplicate_lines > 0,
        )
        line_rules[repeats.boilerplate] = Rule.LINE_BOILERPLATE
        line_rules[repeats.duplicate] = Rule.LINE_DUPLICATE
    bounds = np.concatenate([[0], np.cumsum(corpus.sizes, dtype=np.int64)])
    return [
        _judge_remains(corpus, unit, line_rules[bounds[unit] : bounds[unit + 1]], settings)
        for unit in range(len(filtered))
    ]


def _judge_documents(filtered: Sequence[Filtered], settings: CleanSettings) -> np.ndarray:
    """Returns the verdicts on all documents that were left, uint8 [documents]."""
    hashes = np.concatenate([unit.document_hashes for unit in filtered])
    rules = np.full(len(hashes), Rule.STAYS, np.uint8)
    if not settings.keep_duplicates:
        rules[later_occurrences(hashes)] = Rule.DOCUMENT_DUPLICATE
    if settings.decontaminate:
        hits = _hits(filtered, np.flatnonzero(rules == Rule.STAYS))
        found = contaminated(hits, common=settings.common_ngrams)
        rules[found] = Rule.DOCUMENT_CONTAMINATED
    if settings.near_duplicates is not None:
        left = np.flatnonzero(rules == Rule.STAYS)
        rows = np.concatenate([unit.signatures for unit in filtered])[left]
        near = near_duplicates(rows, settings.near_duplicates)
        rules[left[near]] = Rule.DOCUMENT_NEAR_DUPLICATE
    return rules


def _hits(filtered: Sequence[Filtered], looked_at: np.ndarray) -> Grams:
    """Returns the n-grams of evaluation data in some documents, numbered over the corpus."""
    offset = 0
    numbers: list[np.ndarray] = []
    for unit in filtered:
        numbers.append(unit.hits.documents + offset)
        offset += len(unit.document_hashes)
    documents = np.concatenate(numbers)
    hashes = np.concatenate([unit.hits.hashes for unit in filtered])
    inside = np.isin(documents, looked_at)
    return Grams(hashes[inside], documents[inside])


def _judge_remains(
    corpus: _Corpus, unit: int, line_rules: np.ndarray, settings: CleanSettings
) -> Verdicts:
    """Returns the verdicts on a unit, with those on documents that lost too many lines."""
    rules = corpus.document_rules[corpus.offsets[unit] : corpus.offsets[unit + 1]].copy()
    if (line_rules != Rule.STAYS).any():
        records = load_records(corpus.work, unit)
        solid = records["solid"] * (line_rules == Rule.STAYS)
        left = document_sums(solid, records["document"], len(rules))
        short = left < max(settings.min_document, 1)
        rules[short & (rules == Rule.STAYS)] = Rule.DOCUMENT_REMAINS
    return Verdicts(line_rules, rules)
