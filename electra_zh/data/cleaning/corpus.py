"""The rules on the whole corpus, applied to what the rules on lines and documents left.

Of equal texts, the first one in the order of the input is kept.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data.cleaning import minhash, overlap
from electra_zh.data.cleaning.document_batch import KEPT, Verdicts
from electra_zh.data.cleaning.ngrams import Ngrams
from electra_zh.data.cleaning.rules import Rule
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.cleaning.units import FilteredUnit, load_records

# The most files of parts to write at once.
PART_FILES = 128
_PART_LINE = np.dtype(
    [("hashes", "<u8"), ("documents", "<i8"), ("solid", "<i8"), ("positions", "<i8")]
)


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
            judge_lines(
                corpus.load_lines, len(units), list(group), settings, corpus.lines, work=work
            )
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
    work: str,
    part_hashes: int = overlap.PART_HASHES,
    part_files: int = PART_FILES,
) -> None:
    """Applies corpus rules, with their verdicts, to the lines that `load` returns of each unit.

    Parts of about `part_hashes` hashes, cut by their first bits, bound the memory: they are written
    to the folder `work`, `part_files` at once, and read one after the other. All copies of a line
    are in one part. Only the verdicts, uint8 [lines of the corpus], grow with the corpus.
    """
    bits = max(0, (max(len(verdicts) - 1, 0) // part_hashes).bit_length())
    for first in range(0, 1 << bits, part_files):
        numbers = range(first, min(first + part_files, 1 << bits))
        for lines in _load_parts(map(load, range(num_units)), numbers, bits=bits, work=work):
            for verdict, rule in rules:
                matched = rule.matches(lines, settings)
                verdicts[lines.positions[matched]] = verdict
                lines = lines.select(~matched)


def _load_parts(
    units: Iterator[CorpusLines], numbers: range, *, bits: int, work: str
) -> Iterator[CorpusLines]:
    """Yields the lines of all units whose hashes start with the bits of each number."""
    if not bits:
        yield CorpusLines(*map(np.concatenate, zip(*units, strict=True)))
        return
    paths = [files.join(work, f"part-{number}") for number in numbers]
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(files.atomic_write(path, durable=False)) for path in paths]
        for lines in units:
            of_part = (lines.hashes >> np.uint64(64 - bits)).astype(np.int64) - numbers.start
            order = np.argsort(of_part, kind="stable")
            records = np.empty(len(order), _PART_LINE)
            for name, values in lines._asdict().items():
                records[name] = values[order]
            bounds = np.searchsorted(of_part[order], np.arange(len(parts) + 1))
            for part, (begin, end) in zip(parts, itertools.pairwise(bounds), strict=True):
                part.write(records[begin:end].tobytes())
    for path in paths:
        records = np.frombuffer(files.read_bytes(path), _PART_LINE)
        files.remove(path)
        yield CorpusLines(*(records[name] for name in CorpusLines._fields))
