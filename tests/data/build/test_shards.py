"""Shards: every row in one of them, drawn from the whole corpus."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np

from electra_zh.data.build import shards
from electra_zh.data.build.run import build
from electra_zh.data.manifest import load_manifest
from electra_zh.text.vocabulary import Vocabulary
from support.building import make_settings, read_rows


def test_shards_hold_what_the_manifest_says(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    manifest = build(make_settings(corpus, vocabulary, output, num_shards=4))
    assert [shard.name for shard in manifest.shards] == [
        f"pretrain_data.tfrecord-{index:05d}-of-00004" for index in range(4)
    ]
    counts = [shard.examples for shard in manifest.shards]
    assert max(counts) - min(counts) <= 1
    for shard in manifest.shards:
        data = (output / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
    assert load_manifest(str(output)) == manifest
    assert Vocabulary.load(str(output / "vocab.txt")).sha256 == manifest.vocabulary.sha256


def test_every_row_is_dealt_once() -> None:
    generator = random.Random(0)
    for _ in range(200):
        segments = []
        for index in range(generator.randint(1, 6)):
            first, rows = generator.randint(0, 5), generator.randint(0, 9)
            segments.append(shards.RowRange(str(index), first, rows))
        total = sum(segment.rows for segment in segments)
        count = generator.randint(1, 7)
        dealt = []
        sizes = []
        for shard in range(count):
            ranges = shards.shard_rows(segments, shard, count)
            dealt += [(each.path, each.first + row) for each in ranges for row in range(each.rows)]
            sizes.append(sum(each.rows for each in ranges))
        assert sorted(dealt) == sorted(
            (path, first + row) for path, first, rows in segments for row in range(rows)
        )
        assert sum(sizes) == total
        assert max(sizes) - min(sizes) <= 1


def test_examples_of_all_files_are_in_all_shards(vocabulary: str, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for index, letter in enumerate("天地"):
        text = "\n\n".join([letter * 4] * 200)
        (folder / f"{index}.txt").write_text(text, encoding="utf-8")
    output = tmp_path / "out"
    build(make_settings(folder, vocabulary, output, num_shards=4))
    rows = [ids[1] for ids, _ in read_rows(output)]
    for shard in np.split(np.array(rows), 4):
        kinds, counts = np.unique(shard, return_counts=True)
        assert len(kinds) == 2
        assert counts.tolist() == [50, 50]
        # Not one after the other.
        assert 20 < np.count_nonzero(np.diff(shard)) < 80
