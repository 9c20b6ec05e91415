"""The second half of a build: spilled rows to TFRecord shards.

A shard takes a range of rows of every segment, is shuffled once more and written to the build's
`.work`. It moves to its folder when all shards are complete.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.data.build import rows, tfrecord_writer, units
from electra_zh.data.build.context import BuildContext, shuffled
from electra_zh.data.build.settings import HELDOUT, TRAIN, BuildSettings
from electra_zh.data.manifest import ShardInfo, shard_name
from electra_zh.data.workers import OnProgress
from electra_zh.errors import UserError, few

# Shards have about this size, or are more and smaller while they hold enough examples: then several
# processes can write, and readers can shuffle.
_SHARD_BYTES = 64 << 20
_SHARD_EXAMPLES = 4096
_SMALL_SHARDS = 16
# Rows that are encoded at once: at length 128 they stay in a processor's cache.
_BLOCK_ROWS = 512
_GZIP_LEVEL = 6


class RowRange(NamedTuple):
    """A range of rows in a spilled file."""

    path: str
    first: int
    rows: int


# The spilled segments of each split.
Segments = Mapping[str, Sequence[RowRange]]


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write: number `index` of the `count` shards of its split."""

    split: str
    index: int
    count: int
    name: str
    examples: int

    @property
    def waiting_name(self) -> str:
        """Its name in the work folder until all shards are complete."""
        return f"{self.split}.{self.name}"

    def final_path(self, settings: BuildSettings) -> str:
        """Returns the path of the shard in its folder."""
        return files.join(settings.split_folder(self.split), self.name)


def plan_shards(
    settings: BuildSettings, segments: Segments, counts: Sequence[units.UnitCounts]
) -> list[ShardTask]:
    """Returns the shards of all splits.

    Rows are dealt to the shards in turn, so shards differ by one example at most. The rows of a
    shard in one segment are one range, read at once. Segments are shuffled, so each shard is a
    random sample of the corpus.

    Raises:
      UserError: a split has no examples.
    """
    tasks: list[ShardTask] = []
    for split, ranges in segments.items():
        examples = sum(each.rows for each in ranges)
        if not examples:
            raise UserError(_no_examples(settings, split, counts))
        shards = min(settings.num_shards or _choose_shards(settings, examples), examples)
        for index in range(shards):
            name = shard_name(index, shards, gzip=settings.gzip)
            own = examples // shards + (index < examples % shards)
            tasks.append(ShardTask(split, index, shards, name, own))
    return tasks


def list_segments(context: BuildContext, counts: Sequence[units.UnitCounts]) -> Segments:
    """Returns the segments that all units have spilled, in the units' order."""
    segments: dict[str, list[RowRange]] = {split: [] for split in context.settings.splits}
    for split, ranges in segments.items():
        for each in counts:
            path, sizes = units.rows_path(context, each.unit, split), each.splits[split].segments
            firsts = itertools.accumulate(sizes, initial=0)
            ranges += [RowRange(path, *part) for part in zip(firsts, sizes, strict=False)]
    return segments


def shard_rows(segments: Sequence[RowRange], shard: int, shards: int) -> list[RowRange]:
    """Returns the rows of one of `shards` shards, a range of each segment."""

    def dealt_before(shard: int, rows: int) -> int:
        """Returns the number of the first rows that are dealt to the shards before a shard."""
        return rows // shards * shard + min(rows % shards, shard)

    ranges: list[RowRange] = []
    dealt = 0
    for path, first, count in segments:
        start, end = (
            dealt_before(each, dealt + count) - dealt_before(each, dealt)
            for each in (shard, shard + 1)
        )
        if end > start:
            ranges.append(RowRange(path, first + start, end - start))
        dealt += count
    return ranges


def _choose_shards(settings: BuildSettings, examples: int) -> int:
    # Ids take two bytes; mask, segment, and words if there are any, one each.
    token_bytes = 4 if settings.words is None else 5
    size = examples * (token_bytes * settings.max_seq_length + 100)
    return max(1, round(size / _SHARD_BYTES), min(_SMALL_SHARDS, examples // _SHARD_EXAMPLES))


def _no_examples(settings: BuildSettings, split: str, counts: Sequence[units.UnitCounts]) -> str:
    if split == HELDOUT:
        found = sum(each.splits[TRAIN].numbers["documents"] for each in counts)
        return (
            f"holdout_every={settings.holdout_every} holds out no document: the corpus has only "
            f"{found:,} documents. Lower holdout_every"
        )
    splits = [each.splits[HELDOUT] for each in counts if HELDOUT in each.splits]
    held = sum(each.numbers["documents"] for each in splits)
    if held:
        return (
            f"holdout_every={settings.holdout_every} holds out all documents of the corpus: it has "
            f"only {held:,}. Put a blank line between documents, or remove holdout_every"
        )
    bad = sum((Counter(each.bad_lines.counts) for each in counts), Counter[str]())
    reasons = "".join(f"; {count:,} lines skipped: {reason}" for reason, count in bad.items())
    return f"The corpus is empty: no tokens in {few(settings.inputs)}{reasons}"


def load_shard(task: ShardTask, *, context: BuildContext) -> ShardInfo | None:
    """Returns a finished shard, waiting or moved; None for others."""
    shard = context.load(ShardInfo, f"{task.waiting_name}.json")
    waiting, final = context.work_path(task.waiting_name), task.final_path(context.settings)
    found = [path for path in (waiting, final) if files.exists(path)]
    return shard if shard and found and files.size(found[0]) == shard.bytes else None


def write_shard(
    task: ShardTask, report: OnProgress, *, context: BuildContext, segments: Segments
) -> ShardInfo:
    """Writes one shard from its rows; `report` receives the number of examples written."""
    ranges = shard_rows(segments[task.split], task.index, task.count)
    table = np.concatenate([_read_rows(each, context) for each in ranges])
    assert len(table) == task.examples
    order = shuffled(len(table), context.make_generator(f"{task.split} shard", task.index))
    # The GZIP stream has no time in its header: the same rows give the same bytes.
    gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    compress = gzip.compress if context.settings.gzip else bytes
    waiting = context.work_path(task.waiting_name)
    digest = hashlib.sha256()
    with files.atomic_write(waiting) as file:
        for start in range(0, len(order), _BLOCK_ROWS):
            block = order[start : start + _BLOCK_ROWS]
            data = compress(tfrecord_writer.encode_rows(table[block], words=context.has_words))
            digest.update(data)
            file.write(data)
            report(len(block))
        end = gzip.flush() if context.settings.gzip else b""
        digest.update(end)
        file.write(end)
    shard = ShardInfo(task.name, len(table), files.size(waiting), digest.hexdigest())
    context.save(f"{task.waiting_name}.json", shard)
    return shard


def _read_rows(rows_range: RowRange, context: BuildContext) -> np.ndarray:
    with files.open_read(rows_range.path) as file:
        file.seek(rows_range.first * context.row_bytes)
        data = file.read(rows_range.rows * context.row_bytes)
    width = rows.row_width(context.settings.max_seq_length)
    return np.frombuffer(data, context.row_dtype).reshape(rows_range.rows, width)


def move_shards(context: BuildContext, tasks: Sequence[ShardTask]) -> None:
    """Moves written shards to their folders; those already moved stay.

    Raises:
      FileNotFoundError: a shard is missing, as on a shared file system that shows new files late.
    """
    for split in context.settings.splits:
        files.make_dirs(context.settings.split_folder(split))
    for task in tasks:
        waiting, final = context.work_path(task.waiting_name), task.final_path(context.settings)
        if files.exists(waiting):
            files.rename(waiting, final)
        elif not files.exists(final):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), waiting)
