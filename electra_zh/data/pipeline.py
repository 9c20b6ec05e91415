"""TFRecord shards to fixed-shape batches of NumPy arrays, from any position.

`order.py` says which example is at a position. A shard is read when its first example is due, the
next one in the background, and examples are decoded some thousands at a time. Memory: two shards,
compressed ones decompressed.

Shape legend: B batch, L max_seq_length.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from electra_zh import files, progress
from electra_zh.data import order, records
from electra_zh.data.cutting import Cutting
from electra_zh.data.manifest import ShardInfo, find_shards, load_manifest
from electra_zh.data.shard_records import Damage, Shard, ShardRecords
from electra_zh.errors import UserError

Batch = dict[str, np.ndarray]
# Examples to decode at once, at least: fewer cost more time each.
_DECODED = 2048
# Examples that are ready before they are asked for, at least.
_READY = 4096


class RecordFormat(NamedTuple):
    """Format of the records of a folder: their L, and whether they have `word_starts`."""

    max_seq_length: int
    words: bool


OnDamage = Callable[[Damage], None]


def list_shards(folder: str, *, on_damage: OnDamage | None = None) -> tuple[Shard, ...]:
    """Returns the shards of a data folder.

    Counts and sizes come from the manifest, and sizes are compared with the files. A folder of
    reference shards has no manifest: its records are counted by reading them. With `on_damage`,
    damaged shards are accepted; see `Reading`.

    Raises:
      UserError: no shards or no examples, or a shard that is missing or has another size than in
        the manifest.
    """
    manifest = load_manifest(folder)
    if manifest is None:
        shards = tuple(_count(path, on_damage) for path in find_shards(folder))
    else:
        shards = tuple(
            _checked(files.join(folder, info.name), info, is_lenient=on_damage is not None)
            for info in manifest.shards
        )
    if sum(shard.examples for shard in shards) == 0:
        raise UserError(f"The shards in {folder} are empty")
    return shards


def find_damage(folder: str, *, show: progress.Show = progress.silent) -> list[str]:
    """Reads all checksums of a data folder; returns a line on each problem."""
    manifest, problems = load_manifest(folder), []
    shards: list[tuple[str, ShardInfo | None]]
    if manifest is None:
        shards = [(path, None) for path in find_shards(folder)]
    else:
        shards = [(files.join(folder, info.name), info) for info in manifest.shards]
    with show("checking", total=len(shards), unit="shard") as bar:
        for path, info in shards:
            problems += _find_damage(path, info)
            bar.update(1)
    return problems


def _find_damage(path: str, info: ShardInfo | None) -> list[str]:
    """Returns a line on each problem of a shard, whose entry in the manifest is `info`."""
    if not files.exists(path):
        return [f"{path} of the manifest is missing"]
    found: list[Damage] = []
    shard = Shard(path, info.examples if info else 0)
    count = ShardRecords(shard, on_damage=found.append, check_count=False).examples
    if found or info is None:
        return list(map(str, found))
    if count != info.examples:
        return [f"{path} has {count:,} records, but {info.examples:,} in its manifest"]
    if files.sha256(files.read_bytes(path)) != info.sha256:
        return [f"{path} has another SHA-256 than in its manifest: it was replaced"]
    return []


def open_shards(
    folder: str,
    *,
    max_seq_length: int,
    words: bool = False,
    sentence_ends: tuple[int, ...] = (),
    on_damage: OnDamage | None = None,
) -> tuple[Shard, ...]:
    """Returns the shards of a data folder, after checking their format.

    Longer examples are cut into pieces of `max_seq_length`; `sentence_ends` are the ids of tokens
    that a piece is divided after.

    Raises:
      UserError: as `list_shards`; shorter records, or records without the required words.
    """
    shards = list_shards(folder, on_damage=on_damage)
    record = record_format(shards)
    length = record.max_seq_length
    if length < max_seq_length:
        raise UserError(
            f"The data in {folder} has sequences of length {length}, the run asks for "
            f"{max_seq_length}. Build the data with --max-seq-length {max_seq_length} (shorter "
            f"sequences can be cut from it), or run with max_seq_length={length}"
        )
    if length > max_seq_length:
        cutting = Cutting(length, max_seq_length, sentence_ends)
        shards = tuple(shard.cut(cutting) for shard in shards)
    if words and not record.words:
        raise UserError(
            f"The data in {folder} has no words ({records.WORD_STARTS}), which the run needs. "
            "Build it with electra-zh build-data ... --words jieba"
        )
    return shards


def record_format(shards: tuple[Shard, ...]) -> RecordFormat:
    """Returns the format of the records of shards, from the first one.

    Raises:
      UserError: it is not pretraining data.
    """
    shard = next(shard for shard in shards if shard.examples)
    lengths = ShardRecords(shard, on_damage=lambda damage: None).feature_lengths()
    missing = [name for name in records.FEATURES if name not in lengths]
    if missing:
        raise UserError(
            f"Shard {shard.path} is not pretraining data: it has no feature {', '.join(missing)}, "
            f"only {', '.join(sorted(lengths))}"
        )
    length = lengths[records.INPUT_IDS]
    return RecordFormat(length, lengths.get(records.WORD_STARTS) == length)


@dataclasses.dataclass(frozen=True)
class Reading:
    """The format of the examples to read, and the treatment of damaged records."""

    max_seq_length: int  # L
    words: bool = False  # read `word_starts`, which `open_shards` has checked
    # called for each damaged record, which a valid one replaces; None makes damage an error
    on_damage: OnDamage | None = None

    def open(self, shard: Shard) -> ShardRecords:
        """Reads one shard into memory."""
        return ShardRecords(shard, on_damage=self.on_damage)

    def decode(self, shard: ShardRecords, rows: Sequence[int] | np.ndarray) -> Batch:
        """Returns examples of a shard, int32 [n, L] by feature."""
        names, cutting = records.feature_names(words=self.words), shard.cutting
        if cutting is None:
            return shard.decode(rows, names, max_seq_length=self.max_seq_length)
        stored, piece = np.divmod(np.asarray(rows, np.int64), cutting.pieces)
        long = shard.decode(stored, names, max_seq_length=cutting.stored_length)
        return cutting.cut(long, piece)


class MixPart(NamedTuple):
    """Shards of a mixture, and their weight in it."""

    shards: tuple[Shard, ...]
    weight: float = 1.0


def batches(
    parts: Sequence[MixPart],
    reading: Reading,
    *,
    batch_size: int,
    seed: int,
    start_example: int = 0,
    share: slice = slice(None),
) -> Iterator[Batch]:
    """Yields shuffled batches without end, from a position, prepared in the background.

    Args:
      parts: the data; several are mixed by their weights.
      reading: format of the examples.
      batch_size: sequences per batch (B); a batch may cross the end of an epoch.
      seed: the random seed of the order.
      start_example: the number of examples of the endless order to skip.
      share: rows of each batch to read, for one of several processes.

    Yields:
      {input_ids, input_mask, segment_ids}, with words {word_starts} too, int32 [B, L].
    """
    mixture = order.Mixture([part.weight for part in parts], seed=seed)
    starts = mixture.counts_before(start_example)
    streams = [
        _Stream(part.shards, reading, seed=_seed_of(seed, index), start=start)
        for index, (part, start) in enumerate(zip(parts, starts, strict=True))
    ]
    group = max(1, _DECODED // batch_size)
    wanted = np.zeros(batch_size, np.bool_)
    wanted[share] = True
    wanted = np.tile(wanted, group)
    sources = _regrouped(mixture.sources(start_example), group * batch_size)
    return _in_background(
        _mixed(streams, sources, wanted, group), ready=max(8, _READY // batch_size)
    )


def _seed_of(seed: int, part: int) -> int:
    """Returns a part's own random seed; that of the first is the run's."""
    return seed if part == 0 else seed + part * 2**41


def _regrouped(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yields the values of endless pieces in pieces of `size`."""
    held = next(pieces)
    while True:
        while len(held) < size:
            held = np.concatenate([held, next(pieces)])
        yield held[:size]
        held = held[size:]


def _mixed(
    streams: Sequence[_Stream], sources: Iterator[np.ndarray], wanted: np.ndarray, group: int
) -> Iterator[Batch]:
    """Yields batches of the wanted rows, `group` of them per piece of `sources`."""
    for piece in sources:
        out: Batch = {}
        places = np.cumsum(wanted) - 1
        for index, stream in enumerate(streams):
            mine = piece == index
            # A part with a small weight has no rows in most pieces.
            taken = stream.take(wanted[mine]) if mine.any() else {}
            for name, values in taken.items():
                rows = out.setdefault(name, np.empty((wanted.sum(), values.shape[1]), np.int32))
                rows[places[mine & wanted]] = values
        for rows_of_batch in np.split(np.arange(wanted.sum()), group):
            yield {name: values[rows_of_batch] for name, values in out.items()}


class _Stream:
    """The endless order of one part, read shard by shard."""

    def __init__(
        self, shards: tuple[Shard, ...], reading: Reading, *, seed: int, start: int
    ) -> None:
        counts = [shard.examples for shard in shards]
        self._reading = reading
        runs = order.shuffled_runs(counts, seed=seed, start=start)
        self._runs = ((shards[index], rows) for index, rows in runs)
        self._pool = ThreadPoolExecutor(1)
        self._loading = self._load_next()
        self._held: ShardRecords | None = None
        self._rows = np.zeros(0, np.int64)

    def _load_next(self) -> tuple[Future[ShardRecords], np.ndarray]:
        shard, rows = next(self._runs)
        return self._pool.submit(self._reading.open, shard), rows

    def take(self, wanted: np.ndarray) -> Batch:
        """Returns the next examples, as many as `wanted` [n > 0] has values, where it is True."""
        pieces: list[Batch] = []
        while len(wanted):
            if self._held is None or not len(self._rows):
                future, self._rows = self._loading
                self._held = future.result()
                self._loading = self._load_next()
            rows, self._rows = np.split(self._rows, [len(wanted)])
            pieces.append(self._reading.decode(self._held, rows[wanted[: len(rows)]]))
            wanted = wanted[len(rows) :]
        return _joined(pieces)


def _in_background(batches: Iterator[Batch], *, ready: int) -> Iterator[Batch]:
    """Yields the same batches, made in a thread while earlier ones are used; `ready` are held."""
    made: queue.Queue[Batch | BaseException] = queue.Queue(ready)
    stopped = threading.Event()

    def put(item: Batch | BaseException) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                made.put(item, timeout=0.2)
                return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
        except Exception as error:  # raised again where the batches are used
            put(error)

    threading.Thread(target=work, daemon=True, name="batches").start()
    try:
        while True:
            item = made.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()


@dataclasses.dataclass(frozen=True)
class OnePass:
    """The batches of one pass in the order of the files; it may be iterated again."""

    shards: tuple[Shard, ...]
    reading: Reading
    batch_size: int
    skip: int = 0  # examples to skip
    max_batches: int | None = None
    drop_remainder: bool = True  # without a last batch that is not full

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches; see `batches`."""
        return itertools.islice(self._batches(), self.max_batches)

    def __len__(self) -> int:
        """Returns the number of batches."""
        examples = max(0, sum(shard.examples for shard in self.shards) - self.skip)
        full, rest = divmod(examples, self.batch_size)
        count = full + (rest > 0 and not self.drop_remainder)
        return count if self.max_batches is None else min(count, self.max_batches)

    def _batches(self) -> Iterator[Batch]:
        skip, held = self.skip, []
        needed = self.batch_size
        for shard in self.shards:
            if skip >= shard.examples:
                skip -= shard.examples
                continue
            opened = self.reading.open(shard)
            while skip < shard.examples:
                rows = range(skip, min(skip + needed, shard.examples))
                held.append(self.reading.decode(opened, rows))
                skip, needed = rows.stop, needed - len(rows)
                if not needed:
                    yield _joined(held)
                    held, needed = [], self.batch_size
            skip = 0
        if held and not self.drop_remainder:
            yield _joined(held)


def _joined(pieces: list[Batch]) -> Batch:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _checked(path: str, info: ShardInfo, *, is_lenient: bool) -> Shard:
    if not files.exists(path):
        raise UserError(f"Shard {path} of the manifest is missing. Build the data again")
    if files.size(path) != info.bytes and not is_lenient:
        raise UserError(
            f"Shard {path} has {files.size(path):,} bytes, but {info.bytes:,} in its manifest: it "
            "was truncated or replaced. Build the data again"
        )
    return Shard(path, info.examples, sha256=info.sha256)


def _count(path: str, on_damage: OnDamage | None) -> Shard:
    found = ShardRecords(Shard(path, 0), on_damage=on_damage, check_count=False)
    return Shard(path, found.examples)
