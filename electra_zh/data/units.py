"""The first half of a build: a unit of text to shuffled rows on disk.

A unit's rows are spilled in segments of bounded size, each shuffled as a whole, one file for each
split. A small JSON file beside them, written last, says that the unit is done and holds what was
counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from electra_zh import files
from electra_zh.data import documents, packing, records
from electra_zh.data.held_out import HELDOUT, TRAIN, DocumentChooser
from electra_zh.data.pieces import INSIDE_WORD
from electra_zh.data.workers import OnProgress
from electra_zh.text import tokenizer as tokenizers
from electra_zh.text.characters import TokenizerSettings
from electra_zh.text.tokenizer import TokenizedText
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.words import segmenter as words

SEGMENT_BYTES = 32 << 20
# Of each unit, so many kinds of unknown characters are remembered: far more than are shown.
_UNKNOWNS = 2000


@dataclasses.dataclass(frozen=True)
class UnitSettings:
    """What is done with a unit.

    Attributes:
      vocabulary: the vocabulary.
      tokenizer: how text is normalised.
      max_seq_length: L.
      packing: "full" or "reference".
      seed: what all random choices follow from.
      holdout_every: one document in so many is kept apart; None for none.
      text_field: the field of `.jsonl` records.
      strict: stop at the first bad line.
      folder: where the rows go.
      words: how text is cut into words; None where words are not looked at.
    """

    vocabulary: Vocabulary
    tokenizer: tokenizers.TokenizerSettings
    max_seq_length: int
    packing: packing.Packing
    seed: int
    holdout_every: int | None
    text_field: str
    strict: bool
    folder: str
    words: words.WordSettings | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that rows are made for."""
        return (TRAIN,) if self.holdout_every is None else (TRAIN, HELDOUT)


@dataclasses.dataclass
class SplitCounts:
    """What was counted of one split.

    Attributes:
      numbers: documents, tokens, unknown tokens, words where they are looked at, and the fields
        of `records.RowCounts`.
      dropped: tokens lost, by reason.
      segments: rows of each segment of the spilled file.
    """

    numbers: Counter[str] = dataclasses.field(default_factory=Counter)
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)
    segments: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class UnitCounts:
    """What was counted of one unit.

    Attributes:
      unit: its index.
      numbers: bytes, characters, lines.
      unknowns: characters and words that became [UNK].
      bad_lines: lines left out, by reason.
      bad_places: the first of them.
      splits: counts of each split.
      words: what the segmenter counted.
      differences: the first lines that jieba itself cut in another way.
    """

    unit: int
    numbers: Counter[str] = dataclasses.field(default_factory=Counter)
    unknowns: Counter[str] = dataclasses.field(default_factory=Counter)
    bad_lines: Counter[str] = dataclasses.field(default_factory=Counter)
    bad_places: dict[str, list[documents.Place]] = dataclasses.field(default_factory=dict)
    splits: dict[str, SplitCounts] = dataclasses.field(default_factory=dict)
    words: Counter[str] = dataclasses.field(default_factory=Counter)
    differences: list[str] = dataclasses.field(default_factory=list)


def make_generator(seed: int, purpose: str, *key: int) -> random.Random:
    """Returns the generator for one purpose; those of other purposes or keys are unrelated."""
    return random.Random("/".join([str(seed), purpose, *map(str, key)]))


def shuffled(count: int, generator: random.Random) -> np.ndarray:
    """Returns 0 to `count - 1` in a random order, the same in every version of NumPy."""
    return np.argsort(np.frombuffer(generator.randbytes(8 * count), "<u8"), kind="stable")


def shard_order(count: int, *, seed: int, split: str, shard: int) -> np.ndarray:
    """Returns the order of a shard's examples."""
    return shuffled(count, make_generator(seed, f"{split} shard", shard))


def rows_path(folder: str, unit: int, split: str) -> str:
    """Returns where a unit's rows of a split are."""
    return files.join(folder, f"unit-{unit:06d}.{split}.rows")


def counts_path(folder: str, unit: int) -> str:
    """Returns the file that says that a unit is done."""
    return files.join(folder, f"unit-{unit:06d}.json")


@functools.lru_cache(maxsize=1)
def make_tokenizer(vocabulary: Vocabulary, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Returns the tokenizer; a process makes it once, and forked workers share it."""
    return tokenizers.make_tokenizer(vocabulary, settings)


@functools.lru_cache(maxsize=1)
def make_segmenter(settings: words.WordSettings) -> words.Segmenter:
    """Returns the segmenter; a process makes it once, and forked workers share it."""
    return words.make_segmenter(settings)


def build_unit(unit: documents.Unit, report: OnProgress, *, settings: UnitSettings) -> UnitCounts:
    """Tokenizes and packs a unit and spills its rows.

    Args:
      unit: what to read.
      report: is told of stored bytes read.
      settings: what to do with it.

    Returns:
      The counts, which are also in `counts_path`.
    """
    tokenizer = make_tokenizer(settings.vocabulary, settings.tokenizer)
    tokenizer.unknowns.clear()
    segmenter = None if settings.words is None else make_segmenter(settings.words)
    if segmenter is not None:
        segmenter.clear()
    reader = documents.UnitReader(unit, text_field=settings.text_field, strict=settings.strict)
    counts = UnitCounts(unit.index)
    chooser = _make_chooser(unit.index, settings)
    with contextlib.ExitStack() as stack:
        spills = {
            split: stack.enter_context(_open_spill(split, unit.index, settings))
            for split in settings.splits
        }
        for block in reader:
            tokenized = tokenizer.tokenize_text(block.text)
            stream = packing.token_stream(
                tokenized,
                block.text,
                packing=settings.packing,
                max_length=settings.max_seq_length,
                word_starts=_word_starts(segmenter, tokenizer, block.text, tokenized),
            )
            counts.numbers["characters"] += len(block.text) - (len(tokenized.line_ends) - 1)
            counts.numbers["lines"] += int(
                np.count_nonzero(np.diff(tokenized.line_ends, prepend=0))
            )
            for split, part in chooser.divide(stream).items():
                spills[split].add(part)
            report(block.stored_bytes)
        for split, spill in spills.items():
            counts.splits[split] = spill.finish()
    for split, documents_of_split in chooser.documents().items():
        counts.splits[split].numbers["documents"] = documents_of_split
    counts.numbers["bytes"] = reader.text_bytes
    counts.bad_lines = reader.bad_lines
    counts.bad_places = reader.bad_places
    counts.unknowns = Counter(dict(most_common(tokenizer.unknowns, _UNKNOWNS)))
    if segmenter is not None:
        counts.words = segmenter.counts
        counts.differences = segmenter.differences
    _save_counts(counts, settings.folder)
    return counts


def _word_starts(
    segmenter: words.Segmenter | None,
    tokenizer: tokenizers.Tokenizer,
    text: str,
    tokenized: TokenizedText,
) -> np.ndarray | None:
    """Returns whether each token begins a word, bool [T]; None where words are not looked at."""
    if segmenter is None:
        return None
    starts = segmenter.starts(text, tokenized.codepoints)
    firsts = tokenizer.find_firsts(text, tokenized, starts)
    return words.begins_word(starts, firsts)


def _make_chooser(unit: int, settings: UnitSettings) -> DocumentChooser:
    phase = 0
    if settings.holdout_every is not None:
        generator = make_generator(settings.seed, "kept apart", unit)
        phase = int(generator.random() * settings.holdout_every)
    return DocumentChooser(every=settings.holdout_every, phase=phase, splits=settings.splits)


def _save_counts(counts: UnitCounts, folder: str) -> None:
    values = {
        "numbers": counts.numbers,
        "unknowns": counts.unknowns,
        "bad_lines": counts.bad_lines,
        "bad_places": counts.bad_places,
        "splits": {split: vars(of_split) for split, of_split in counts.splits.items()},
        "words": counts.words,
        "differences": counts.differences,
    }
    with files.atomic_write(counts_path(folder, counts.unit), durable=False) as file:
        file.write(json.dumps(values).encode())


def most_common(counter: Counter[str], number: int) -> list[tuple[str, int]]:
    """Returns the most frequent entries; equal counts in the order of their text."""
    return sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:number]


def load_counts(settings: UnitSettings, unit: int, *, row_bytes: int) -> UnitCounts | None:
    """Returns the counts of a unit that is done, or None where it is not, or not wholly."""
    path = counts_path(settings.folder, unit)
    if not files.exists(path):
        return None
    values = files.read_json(path)
    counts = UnitCounts(
        unit,
        Counter(values["numbers"]),
        Counter(values["unknowns"]),
        Counter(values["bad_lines"]),
        {
            reason: [documents.Place(*place) for place in places]
            for reason, places in values["bad_places"].items()
        },
        {
            split: SplitCounts(Counter(of["numbers"]), Counter(of["dropped"]), of["segments"])
            for split, of in values["splits"].items()
        },
        Counter(values["words"]),
        values["differences"],
    )
    for split in settings.splits:
        rows = rows_path(settings.folder, unit, split)
        expected = sum(counts.splits[split].segments) * row_bytes
        if not files.exists(rows) or files.size(rows) != expected:
            return None
    return counts


class _Spill:
    """Packs one split of a unit and writes its rows in shuffled segments."""

    def __init__(
        self,
        file: BinaryIO,
        packer: packing.Packer,
        vocabulary: Vocabulary,
        order_generator: random.Random,
        settings: UnitSettings,
    ) -> None:
        self._file = file
        self._packer = packer
        self._vocabulary = vocabulary
        self._order_generator = order_generator
        self._max_length = settings.max_seq_length
        self._words = settings.words is not None
        self._dtype = records.row_dtype(vocabulary.size, self._max_length, words=self._words)
        self._rows: list[np.ndarray] = []
        self._bytes = 0
        self._counts = SplitCounts()

    def add(self, stream: packing.TokenStream) -> None:
        numbers = self._counts.numbers
        numbers["tokens"] += len(stream.ids)
        ids = stream.ids
        if self._words:
            numbers["words"] += int(np.count_nonzero(ids < INSIDE_WORD))
            ids = ids & ~INSIDE_WORD
        numbers["unknown_tokens"] += int(np.count_nonzero(ids == self._vocabulary.unk_id))
        self._add_examples(self._packer.add(stream))

    def finish(self) -> SplitCounts:
        self._add_examples(self._packer.finish())
        self._write_segment()
        self._counts.dropped = Counter(self._packer.dropped)
        return self._counts

    def _add_examples(self, examples: packing.Examples) -> None:
        rows = records.make_rows(
            examples,
            max_length=self._max_length,
            cls_id=self._vocabulary.cls_id,
            sep_id=self._vocabulary.sep_id,
            dtype=self._dtype,
            words=self._words,
        )
        self._counts.numbers.update(records.count_rows(rows)._asdict())
        self._rows.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= SEGMENT_BYTES:
            self._write_segment()

    def _write_segment(self) -> None:
        if not self._bytes:
            return
        rows = np.concatenate(self._rows)
        order = shuffled(len(rows), self._order_generator)
        self._file.write(rows[order].tobytes())
        self._counts.segments.append(len(rows))
        self._rows, self._bytes = [], 0


@contextlib.contextmanager
def _open_spill(split: str, unit: int, settings: UnitSettings) -> Iterator[_Spill]:
    seed = settings.seed
    # The first unit packs as the reference does after random.seed(seed).
    is_first = unit == 0 and split == TRAIN
    packer = packing.make_packer(
        settings.packing,
        max_length=settings.max_seq_length,
        generator=random.Random(seed) if is_first else make_generator(seed, f"{split} pack", unit),
    )
    order_generator = make_generator(seed, f"{split} rows", unit)
    with files.atomic_write(rows_path(settings.folder, unit, split), durable=False) as file:
        yield _Spill(file, packer, settings.vocabulary, order_generator, settings)
