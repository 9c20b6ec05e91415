"""Data of several folders: their weights, one source for all of them, and their damaged records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from electra_zh import files
from electra_zh.data import order
from electra_zh.data.manifest import WeightedFolder, load_manifest
from electra_zh.data.pipeline import MixPart, list_shards, record_format
from electra_zh.data.shard_records import Damage, Shard
from electra_zh.data.source import DataSource, open_data_source
from electra_zh.errors import UserError, counted

_MAX_SHOWN = 10


def open_sources(folders: Sequence[WeightedFolder], *, vocab: str | None = None) -> DataSource:
    """Opens folders as one source; see `open_data_source`.

    Raises:
      UserError: as there, or they differ in vocabulary or tokenizer.
    """
    sources = [open_data_source(each.folder, vocab=vocab) for each in folders]
    first, *others = sources
    for other in others:
        other.check_fits(first.vocabulary, first.tokenizer, owner=f"the data in {first.folder}")
    if not others:
        return first
    prints = [source.fingerprint for source in sources]
    weights = [str(each.weight) for each in folders]
    digest = files.sha256(" ".join([*prints, *weights]).encode())
    name, counts = ", ".join(map(str, folders)), _sum_counts([each.counts for each in sources])
    return DataSource(name, first.vocabulary, first.tokenizer, digest, counts)


def _sum_counts(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the counts of folders together; empty if one has none."""
    if not all(counts):
        return {}
    names = ("documents", "tokens", "examples")
    sums = {name: sum(each[name] for each in counts) for name in names}
    return {**counts[0], **sums, "files": ", ".join(each["files"] for each in counts)}


def choose_by_length(
    folders: Sequence[WeightedFolder], lengths: Sequence[int]
) -> list[tuple[WeightedFolder, ...]]:
    """Returns the folders for each phase of a run, whose sequences have these lengths.

    A phase reads the folders of its length; without one, the shortest of the longer ones, cut. The
    only phase of a run reads all folders.

    Raises:
      UserError: no phase reads one of the folders.
    """
    if not folders[1:] or not lengths[1:]:
        return [tuple(folders) for _ in lengths]
    stored = [_stored_length(each.folder) for each in folders]
    chosen = [min((n for n in stored if n >= length), default=max(stored)) for length in lengths]
    for each, length in zip(folders, stored, strict=True):
        if length not in chosen:
            raise UserError(
                f"The data in {each.folder} has sequences of length {length}, which no phase "
                f"reads: the phases have {', '.join(map(str, lengths))}. Remove it from --data"
            )
    return [
        tuple(each for each, length in zip(folders, stored, strict=True) if length == wanted)
        for wanted in chosen
    ]


def _stored_length(folder: str) -> int:
    manifest = load_manifest(folder)
    if manifest is not None:
        return manifest.max_seq_length
    return record_format(list_shards(folder)).max_seq_length


class Mix:
    """Opened folders with their weights.

    Without weights all examples are read once per epoch, as those of one folder.

    Attributes:
      parts: for `pipeline.batches`.
      shards: of all folders.
    """

    def __init__(
        self,
        folders: Sequence[WeightedFolder],
        open_shards: Callable[[str], tuple[Shard, ...]],
        *,
        seed: int,
    ) -> None:
        self._folders, self._seed = tuple(folders), seed
        opened = [open_shards(each.folder) for each in folders]
        self._sizes = [sum(shard.examples for shard in shards) for shards in opened]
        self.shards = tuple(shard for shards in opened for shard in shards)
        self.parts = [MixPart(self.shards)]
        if folders[1:] and folders[0].weight is not None:
            pairs = zip(opened, folders, strict=True)
            self.parts = [MixPart(shards, each.weight or 0.0) for shards, each in pairs]
            self._order()

    def _order(self) -> order.Mixture:
        return order.Mixture([part.weight for part in self.parts], seed=self._seed)

    def position(self, read: int) -> dict[str, Any]:
        """Returns the place in the data after examples that were read, for checkpoints."""
        place = _place(sum(self._sizes), read)
        if not self.parts[1:]:
            return place
        rows = zip(self._folders, self._sizes, self._order().counts_before(read), strict=True)
        parts = [{"folder": str(each), **_place(size, count)} for each, size, count in rows]
        return {**place, "parts": parts}

    def lines(self, read: int) -> Iterator[str]:
        """Yields a line on each of several folders: its fraction and epochs of `read` examples."""
        if not self._folders[1:]:
            return
        weights = [part.weight for part in self.parts] if self.parts[1:] else self._sizes
        for each, size, weight in zip(self._folders, self._sizes, weights, strict=True):
            fraction = weight / sum(weights)
            yield (
                f"data {each.folder}: {fraction:.1%} of the sequences, {size:,} examples, "
                f"{fraction * read / size:.2f} epochs"
            )


def _place(examples: int, read: int) -> dict[str, int]:
    return {
        "examples": examples,
        "examples_read": read,
        "epoch": read // examples,
        "example_in_epoch": read % examples,
    }


class DamageLog:
    """Damaged records that are skipped, each logged and counted once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def __call__(self, damage: Damage) -> None:
        """Notes a damaged record; from any thread."""
        with self._lock:
            key = (damage.shard, damage.record)
            if key in self._seen:
                return
            self._seen[key] = damage.records
            if len(self._seen) <= _MAX_SHOWN:
                logging.warning("Skipped: %s", damage)

    @property
    def count(self) -> int:
        """Number of records that were skipped."""
        return sum(self._seen.values())

    def __str__(self) -> str:
        shards = len({shard for shard, _ in self._seen})
        return f"{counted(self.count, 'damaged record')} skipped, in {counted(shards, 'shard')}"
