"""The first half of a build: a unit of text to shuffled rows on disk.

Rows are spilled in segments of bounded size, each shuffled, into one file per split. A JSON file
with the counts is written last: it marks the unit as done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from electra_zh import files
from electra_zh.data import documents
from electra_zh.data.bad_lines import BadLineLog
from electra_zh.data.build import packing, rows
from electra_zh.data.build.context import BuildContext, shuffled
from electra_zh.data.build.held_out import DocumentSplitter
from electra_zh.data.build.pieces import INSIDE_WORD, TokenStream, token_stream
from electra_zh.data.build.settings import TRAIN
from electra_zh.data.workers import OnProgress
from electra_zh.text.tokenizer import Tokenizer, make_tokenizer
from electra_zh.text.words.base import Segmenter
from electra_zh.text.words.segmenter import begins_word, make_segmenter

SEGMENT_BYTES = 32 << 20
# Kinds of unknown characters that are remembered per unit: far more than are shown.
_UNKNOWNS = 2000
_COUNTS = "unit-{:06d}.json"

# A process makes each of them once, and forked workers share it.
_make_tokenizer = functools.lru_cache(maxsize=1)(make_tokenizer)
_make_segmenter = functools.lru_cache(maxsize=1)(make_segmenter)


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """Counts of one split of a unit."""

    # Documents, tokens, unknown tokens, separators of documents, words if there are any, and the
    # fields of `rows.RowCounts`.
    numbers: Mapping[str, int]
    dropped: Mapping[str, int]  # Tokens lost, by reason.
    segments: tuple[int, ...]  # Rows of each segment of the spilled file.


@dataclasses.dataclass(frozen=True)
class UnitCounts:
    """Counts of one unit."""

    unit: int
    numbers: Mapping[str, int]  # Bytes, characters, lines, and the counts of the segmenter.
    unknowns: Mapping[str, int]  # Characters and words that became [UNK].
    bad_lines: BadLineLog
    splits: Mapping[str, SplitCounts]
    differences: tuple[str, ...]  # The first lines that jieba itself cut in another way.


def rows_path(context: BuildContext, unit: int, split: str) -> str:
    """Returns the path of a unit's rows of a split."""
    return context.work_path(f"unit-{unit:06d}.{split}.rows")


def prepare(context: BuildContext) -> None:
    """Makes the tokenizer and the segmenter, before workers are forked."""
    _make_tokenizer(context.vocabulary, context.settings.tokenizer)
    if context.settings.words is not None:
        _make_segmenter(context.settings.words)


def build_unit(
    unit: documents.TextUnit, report: OnProgress, *, context: BuildContext
) -> UnitCounts:
    """Tokenizes and packs a unit and spills its rows.

    Returns:
      The counts, which are also on disk. `report` receives the number of stored bytes read.
    """
    settings = context.settings
    tokenizer = _make_tokenizer(context.vocabulary, settings.tokenizer)
    segmenter = None if settings.words is None else _make_segmenter(settings.words)
    tokenizer.unknowns.clear()
    if segmenter is not None:
        segmenter.clear()
    reader = documents.UnitReader(unit, text_field=settings.text_field, strict=settings.strict)
    splitter = _make_splitter(context, unit.index)
    numbers: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        spills: dict[str, _Spill] = {}
        for split in settings.splits:
            path = rows_path(context, unit.index, split)
            file = stack.enter_context(files.atomic_write(path, durable=False))
            spills[split] = _Spill(context, split, unit.index, file)
        for block in reader:
            stream = _tokenize(block.text, tokenizer, segmenter, context, numbers)
            for split, part in splitter.split(stream).items():
                spills[split].add(part)
            report(block.stored_bytes)
        count = splitter.count_documents()
        splits = {split: spill.finish(count[split]) for split, spill in spills.items()}
    counted = segmenter.counts if segmenter else {}
    counts = UnitCounts(
        unit=unit.index,
        numbers={**numbers, **counted, "bytes": reader.text_bytes},
        unknowns=most_common(tokenizer.unknowns, _UNKNOWNS),
        bad_lines=reader.bad_lines,
        splits=splits,
        differences=tuple(segmenter.differences) if segmenter else (),
    )
    context.save(_COUNTS.format(unit.index), counts)
    return counts


def load_counts(unit: documents.TextUnit, *, context: BuildContext) -> UnitCounts | None:
    """Returns the counts of a finished unit; None for others, or if any of its rows are missing."""
    counts = context.load(UnitCounts, _COUNTS.format(unit.index))
    if counts is None:
        return None
    for split in context.settings.splits:
        path = rows_path(context, unit.index, split)
        expected = sum(counts.splits[split].segments) * context.row_bytes
        if not files.exists(path) or files.size(path) != expected:
            return None
    return counts


def most_common(counts: Mapping[str, int], number: int) -> dict[str, int]:
    """Returns the most frequent entries; equal counts in the order of their text."""
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:number])


def _tokenize(
    text: str,
    tokenizer: Tokenizer,
    segmenter: Segmenter | None,
    context: BuildContext,
    numbers: Counter[str],
) -> TokenStream:
    """Returns the tokens of a block of text, and counts its characters and lines."""
    tokenized = tokenizer.tokenize_text(text)
    starts = None
    if segmenter is not None:
        in_text = segmenter.starts(text, tokenized.codepoints)
        starts = begins_word(in_text, tokenizer.find_firsts(text, tokenized, in_text))
    numbers["characters"] += len(text) - (len(tokenized.line_ends) - 1)
    numbers["lines"] += int(np.count_nonzero(np.diff(tokenized.line_ends, prepend=0)))
    settings = context.settings
    length = settings.max_seq_length
    return token_stream(
        tokenized, text, packing=settings.packing, max_length=length, word_starts=starts
    )


def _make_splitter(context: BuildContext, unit: int) -> DocumentSplitter:
    every = context.settings.holdout_every
    # Another name of the stream would hold out other documents of the same corpus.
    generator = context.make_generator(" ".join(("kept", "apart")), unit)
    phase = 0 if every is None else int(generator.random() * every)
    return DocumentSplitter(every=every, phase=phase)


class _Spill:
    """Packs one split of a unit and writes its rows in shuffled segments."""

    def __init__(self, context: BuildContext, split: str, unit: int, file: BinaryIO) -> None:
        settings = context.settings
        # Parity: the first unit packs as the reference does after random.seed(seed).
        is_first = unit == 0 and split == TRAIN
        generator = context.make_generator(f"{split} pack", unit)
        self._packer = packing.PACKERS[settings.packing](
            max_length=settings.max_seq_length,
            sep_id=context.vocabulary.sep_id,
            generator=random.Random(settings.seed) if is_first else generator,
        )
        self._order_generator = context.make_generator(f"{split} rows", unit)
        self._context, self._file = context, file
        self._rows: list[np.ndarray] = []
        self._numbers: Counter[str] = Counter()
        self._segments: list[int] = []

    def add(self, stream: TokenStream) -> None:
        ids = stream.ids
        self._numbers["tokens"] += len(ids)
        if self._context.has_words:
            self._numbers["words"] += int(np.count_nonzero(ids < INSIDE_WORD))
            ids = ids & ~INSIDE_WORD
        unknown = int(np.count_nonzero(ids == self._context.vocabulary.unk_id))
        self._numbers["unknown_tokens"] += unknown
        self._add_examples(self._packer.add(stream))

    def finish(self, num_documents: int) -> SplitCounts:
        self._add_examples(self._packer.finish())
        self._write_segment()
        separators = self._packer.separators
        numbers = {**self._numbers, "documents": num_documents, "separators": separators}
        return SplitCounts(numbers, dict(self._packer.dropped), tuple(self._segments))

    def _add_examples(self, examples: packing.Examples) -> None:
        table = rows.make_rows(
            examples,
            max_length=self._context.settings.max_seq_length,
            cls_id=self._context.vocabulary.cls_id,
            sep_id=self._context.vocabulary.sep_id,
            dtype=self._context.row_dtype,
            words=self._context.has_words,
        )
        self._numbers.update(rows.count_rows(table)._asdict())
        self._rows.append(table)
        if sum(each.nbytes for each in self._rows) >= SEGMENT_BYTES:
            self._write_segment()

    def _write_segment(self) -> None:
        tables, self._rows = self._rows, []
        if any(map(len, tables)):
            table = np.concatenate(tables)
            order = shuffled(len(table), self._order_generator)
            self._file.write(table[order].tobytes())
            self._segments.append(len(table))
