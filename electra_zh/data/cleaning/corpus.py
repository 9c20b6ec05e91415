"""The rules on the whole corpus, applied to what the rules on lines and documents left.

Of equal texts, the first one in the order of the input is kept.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.data.cleaning import minhash, overlap
from electra_zh.data.cleaning.document_batch import KEPT, Verdicts
from electra_zh.data.cleaning.ngrams import Ngrams
from electra_zh.data.cleaning.rules import Rule
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.cleaning.units import FilteredUnit, load_records

# The most hashes to sort at once; each takes about 80 bytes meanwhile.
PART_HASHES = 1 << 24


class CorpusLines(NamedTuple):
    """The subject of corpus rules on lines: all lines left that have certain hashes."""

    hashes: np.ndarray  # uint64 [L]
    documents: np.ndarray  # int64 [L], numbers over the whole corpus
    solid: np.ndarray  # [L], characters other than white space
    positions: np.ndarray  # int64 [L], numbers of the lines over the whole corpus

    def document_counts(self) -> np.ndarray:
        """Returns the number of documents that each line occurs in, int64 [L]."""
        return overlap.document_counts(self.hashes, self.documents)

    def repeated(self, *, among: np.ndarray) -> np.ndarray:
        """Returns whether each line occurs earlier, all within the mask `among`, bool [L]."""
        repeated = np.zeros(len(self.hashes), np.bool_)
        repeated[among] = overlap.later_occurrences(self.hashes[among])
        return repeated

    def select(self, keep: np.ndarray) -> CorpusLines:
        """Returns the lines of a mask, bool [L]."""
        return CorpusLines(*(values[keep] for values in self))


class Corpus:
    """The subject of corpus rules on documents, and the verdicts on all lines and documents."""

    def __init__(self, units: Sequence[FilteredUnit], *, work: str) -> None:
        self._units = units
        self._work = work
        self._line_bounds = np.cumsum([0, *(unit.num_lines for unit in units)])
        self._document_bounds = np.cumsum([0, *(unit.num_documents for unit in units)])
        self.lines = np.full(self._line_bounds[-1], KEPT, np.uint8)
        self.documents = np.full(self._document_bounds[-1], KEPT, np.uint8)

    def duplicates(self) -> np.ndarray:
        """Returns whether each document has the lines of an earlier one, bool [documents]."""
        return self._among_left((unit.hashes for unit in self._units), overlap.later_occurrences)

    def contaminated(self, *, common: int) -> np.ndarray:
        """Returns whether each document has n-grams of evaluation data, bool [documents]."""
        hits = [
            Ngrams(each.hashes, each.documents + offset)
            for unit, offset in zip(self._units, self._document_bounds, strict=False)
            for each in unit.hits
        ]
        found = Ngrams(*map(np.concatenate, zip(*hits, strict=True)))
        left = self.documents[found.documents] == KEPT
        found = Ngrams(found.hashes[left], found.documents[left])
        matched = np.zeros(len(self.documents), np.bool_)
        matched[overlap.contaminated(found, common=common)] = True
        return matched

    def near_duplicates(self, threshold: float) -> np.ndarray:
        """Returns whether each document is similar to an earlier one, bool [documents]."""
        find = functools.partial(minhash.near_duplicates, threshold=threshold)
        return self._among_left((unit.signatures for unit in self._units), find)

    def solid_left(self) -> np.ndarray:
        """Returns the characters left of each document, without white space, int64 [documents]."""
        sums = np.zeros(len(self.documents), np.int64)
        for unit in range(len(self._units)):
            lines = self.load_lines(unit)
            np.add.at(sums, lines.documents, lines.solid)
        return sums

    def load_lines(self, unit: int) -> CorpusLines:
        """Returns the lines of a unit that are in documents that are left."""
        records = load_records(self._work, unit)
        documents = records["document"] + self._document_bounds[unit]
        positions = np.arange(len(records)) + self._line_bounds[unit]
        lines = CorpusLines(records["hash"], documents, records["solid"], positions)
        return lines.select((self.documents[documents] == KEPT) & (self.lines[positions] == KEPT))

    def verdicts(self) -> Iterator[Verdicts]:
        """Yields the verdicts on the lines and documents of each unit."""
        lines = np.split(self.lines, self._line_bounds[1:-1])
        documents = np.split(self.documents, self._document_bounds[1:-1])
        yield from map(Verdicts, lines, documents)

    def _among_left(
        self, values: Iterable[list[np.ndarray]], find: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        left = self.documents == KEPT
        matched = np.zeros(len(left), np.bool_)
        if left.any():
            matched[left] = find(np.concatenate(list(itertools.chain(*values)))[left])
        return matched


def judge_corpus(
    units: Sequence[FilteredUnit], settings: CleanSettings, *, work: str
) -> list[Verdicts]:
    """Returns the verdicts on each unit; `work` is the folder of the lines' records."""
    corpus = Corpus(units, work=work)
    rules = settings.active_rules("corpus")
    for on_documents, group in itertools.groupby(rules, lambda each: each[1].on_documents):
        if not on_documents:
            judge_lines(corpus.load_lines, len(units), list(group), settings, corpus.lines)
            continue
        for verdict, rule in group:
            matched = rule.matches(corpus, settings)
            corpus.documents[matched & (corpus.documents == KEPT)] = verdict
    return list(corpus.verdicts())


def judge_lines(
    load: Callable[[int], CorpusLines],
    num_units: int,
    rules: Sequence[tuple[int, Rule]],
    settings: CleanSettings,
    verdicts: np.ndarray,
    *,
    part_hashes: int = PART_HASHES,
) -> None:
    """Applies corpus rules, with their verdicts, to the lines that `load` returns of each unit.

    Parts of `part_hashes` hashes, cut by their first bits, bound the memory. Only the verdicts,
    uint8 [lines of the corpus], grow with the corpus. A unit is loaded once per part.
    """
    bits = max(0, (max(len(verdicts) - 1, 0) // part_hashes).bit_length())
    for part in range(1 << bits):
        lines = _load_part(map(load, range(num_units)), part=part, bits=bits)
        for verdict, rule in rules:
            matched = rule.matches(lines, settings)
            verdicts[lines.positions[matched]] = verdict
            lines = lines.select(~matched)


def _load_part(units: Iterator[CorpusLines], *, part: int, bits: int) -> CorpusLines:
    """Returns the lines of all units whose hashes start with the bits of `part`."""
    if bits:
        units = (lines.select(lines.hashes >> np.uint64(64 - bits) == part) for lines in units)
    return CorpusLines(*map(np.concatenate, zip(*units, strict=True)))
