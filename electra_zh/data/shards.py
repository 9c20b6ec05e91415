"""The second half of a build: spilled rows to TFRecord shards.

A shard takes a stretch of every segment, is shuffled once more and written to the build's `.work`;
it moves to its place when all shards are there.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh import files, progress
from electra_zh.data import records, units
from electra_zh.data.manifest import HELDOUT, Shard, shard_name
from electra_zh.data.runners import Runner
from electra_zh.data.settings import BuildSettings
from electra_zh.data.workers import OnProgress
from electra_zh.errors import UserError

# Shards: of about this size, or more and smaller ones while they still hold enough examples, so
# that several processes have something to write and readers something to shuffle.
_SHARD_BYTES = 64 << 20
_SHARD_EXAMPLES = 4096
_SMALL_SHARDS = 16
_GZIP_LEVEL = 6


class _Source(NamedTuple):
    """A stretch of rows in a spilled file."""

    path: str
    first: int
    rows: int


# Of each split, all spilled segments: the file, and in it the first row and how many there are.
Segments = Mapping[str, Sequence[tuple[str, tuple[int, int]]]]


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
      split: `train` or `heldout`.
      index: its number among those of the split.
      count: how many the split has.
      name: of the file.
      examples: how many it gets.
    """

    split: str
    index: int
    count: int
    name: str
    examples: int


def plan_shards(settings: BuildSettings, counts: Sequence[units.UnitCounts]) -> list[ShardTask]:
    """Says how many shards there are of which split.

    Rows are dealt to the shards in turn, as far as their numbers go, so shards differ by one
    example at most; but what a shard gets of a segment is one stretch, read at once. Segments are
    shuffled, so each shard is a random sample of the corpus.
    """
    tasks: list[ShardTask] = []
    for split, segments in list_segments(settings, counts).items():
        examples = sum(rows for _, (_, rows) in segments)
        if not examples:
            raise UserError(_nothing_left(settings, split, counts))
        shards = min(settings.num_shards or _choose_shards(settings, examples), examples)
        for index in range(shards):
            name = shard_name(index, shards, gzip=settings.gzip)
            own = examples // shards + (index < examples % shards)
            tasks.append(ShardTask(split, index, shards, name, own))
    return tasks


def list_segments(settings: BuildSettings, counts: Sequence[units.UnitCounts]) -> Segments:
    """Returns the segments that all units have spilled, in the units' order."""
    return {
        split: [
            (units.rows_path(settings.work_folder, each.unit, split), rows)
            for each in counts
            for rows in _segments(each.splits[split])
        ]
        for split in settings.splits
    }


def _segments(counts: units.SplitCounts) -> Iterator[tuple[int, int]]:
    """Yields the first row and the number of rows of each segment of a file."""
    first = 0
    for rows in counts.segments:
        yield first, rows
        first += rows


def _sources(
    segments: Sequence[tuple[str, tuple[int, int]]], shard: int, shards: int
) -> tuple[_Source, ...]:
    sources: list[_Source] = []
    dealt = 0
    for path, (first, rows) in segments:
        # Every shard gets `each` rows, and the `extra` ones from shard `turn` on one more.
        each, extra = divmod(rows, shards)
        turn = dealt % shards
        window = _window(turn, extra, shards)
        before = shard * each + sum(max(0, min(shard, end) - start) for start, end in window)
        count = each + ((shard - turn) % shards < extra)
        if count:
            sources.append(_Source(path, first + before, count))
        dealt += rows
    return tuple(sources)


def _window(start: int, length: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the stretches of 0..size-1 that `length` places from `start` on, round, cover."""
    end = start + length
    return (start, min(end, size)), (0, max(0, end - size))


def _choose_shards(settings: BuildSettings, examples: int) -> int:
    # Ids take two bytes; mask, segment, and words where there are any, one each.
    token_bytes = 4 if settings.words is None else 5
    size = examples * (token_bytes * settings.max_seq_length + 100)
    return max(1, round(size / _SHARD_BYTES), min(_SMALL_SHARDS, examples // _SHARD_EXAMPLES))


def _nothing_left(settings: BuildSettings, split: str, counts: Sequence[units.UnitCounts]) -> str:
    numbers = sum((each.splits[units.TRAIN].numbers for each in counts), Counter[str]())
    if split == units.HELDOUT:
        return (
            f"holdout_every={settings.holdout_every} keeps no document apart: the corpus has only "
            f"{numbers['documents']:,} documents"
        )
    bad = sum((each.bad_lines for each in counts), Counter[str]())
    reasons = "".join(f"; {count:,} lines left out: {reason}" for reason, count in bad.items())
    return f"The corpus is empty: no tokens in {', '.join(settings.inputs[:3])}{reasons}"


def write_shards(
    settings: BuildSettings,
    tasks: Sequence[ShardTask],
    segments: Segments,
    *,
    dtype: np.dtype,
    runner: Runner,
    show: progress.Show,
) -> list[Shard | None]:
    """Writes the shards that are not written, in `.work`, as far as they are to be written here.

    Returns:
      All shards, in the tasks' order; None for those that another part has not written yet.
    """
    done = _load_shards(settings, tasks)
    own = [task for number, task in enumerate(tasks) if settings.owns(number)]
    left = [task for task in own if (task.split, task.index) not in done]
    total = sum(task.examples for task in own)
    initial = total - sum(task.examples for task in left)
    work = functools.partial(_write_shard, settings=settings, segments=segments, dtype=dtype)
    with show("writing", total=total, unit="example", initial=initial) as bar:
        for key, shard in runner(work, left, report=bar.update):
            done[key] = shard
    if len(done) < len(tasks):
        done = _load_shards(settings, tasks)
    return [done.get((task.split, task.index)) for task in tasks]


def _load_shards(
    settings: BuildSettings, tasks: Sequence[ShardTask]
) -> dict[tuple[str, int], Shard]:
    found = {(task.split, task.index): _load_shard(settings, task) for task in tasks}
    return {key: shard for key, shard in found.items() if shard is not None}


def _shard_paths(settings: BuildSettings, task: ShardTask) -> tuple[str, str, str]:
    """Returns where a shard is written, where it goes at the end, and where its facts are."""
    waiting = files.join(settings.work_folder, f"{task.split}.{task.name}")
    return waiting, files.join(split_folder(settings, task.split), task.name), f"{waiting}.json"


def split_folder(settings: BuildSettings, split: str) -> str:
    """Returns the folder that a split's shards go to."""
    if split == units.HELDOUT:
        return files.join(settings.output, HELDOUT)
    return settings.output


def _load_shard(settings: BuildSettings, task: ShardTask) -> Shard | None:
    waiting, final, facts = _shard_paths(settings, task)
    if not files.exists(facts):
        return None
    shard = Shard(**files.read_json(facts))
    there = [path for path in (waiting, final) if files.exists(path)]
    return shard if there and files.size(there[0]) == shard.bytes else None


def _write_shard(
    task: ShardTask,
    report: OnProgress,
    *,
    settings: BuildSettings,
    segments: Segments,
    dtype: np.dtype,
) -> tuple[tuple[str, int], Shard]:
    """Writes one shard from its rows."""
    width = records.row_width(settings.max_seq_length)
    sources = _sources(segments[task.split], task.index, task.count)
    rows = np.concatenate([_read_rows(source, dtype, width) for source in sources])
    assert len(rows) == task.examples
    order = units.shard_order(len(rows), seed=settings.seed, split=task.split, shard=task.index)
    waiting, _, facts = _shard_paths(settings, task)
    digest = hashlib.sha256()
    size = 0
    with files.atomic_write(waiting) as file:
        encoded = _encoded(rows, order, report, words=settings.words is not None)
        for data in _compressed(encoded, settings.gzip):
            digest.update(data)
            size += len(data)
            file.write(data)
    shard = Shard(task.name, len(rows), size, digest.hexdigest())
    with files.atomic_write(facts, durable=False) as file:
        file.write(json.dumps(dataclasses.asdict(shard)).encode())
    return (task.split, task.index), shard


def _read_rows(source: _Source, dtype: np.dtype, width: int) -> np.ndarray:
    row_bytes = dtype.itemsize * width
    with files.open_read(source.path) as file:
        file.seek(source.first * row_bytes)
        data = file.read(source.rows * row_bytes)
    return np.frombuffer(data, dtype).reshape(source.rows, width)


def _encoded(
    rows: np.ndarray, order: np.ndarray, report: OnProgress, *, words: bool
) -> Iterator[bytes]:
    for block in records.encode_rows(rows, order, words=words):
        yield block
        report(min(records.BLOCK_ROWS, len(order)))
        order = order[records.BLOCK_ROWS :]


def _compressed(chunks: Iterator[bytes], gzip: bool) -> Iterator[bytes]:
    """Yields the chunks, or one GZIP stream of them that holds no time."""
    if not gzip:
        yield from chunks
        return
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


def move_shards(settings: BuildSettings, tasks: Sequence[ShardTask]) -> None:
    """Moves written shards to their folders; those that are there already stay."""
    for split in settings.splits:
        files.make_dirs(split_folder(settings, split))
    for task in tasks:
        waiting, final, _ = _shard_paths(settings, task)
        if files.exists(waiting):
            files.rename(waiting, final)
        elif not files.exists(final):
            # As where a shared file system shows late what another machine has written.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), waiting)
