"""Shared by the tests of building data: a small corpus, its settings, and a look at the result."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from pathlib import Path

from electra_zh.data.build.settings import BuildSettings
from electra_zh.data.manifest import find_shards

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
LENGTH = 32


def make_text(documents: int, *, seed: int = 0, lines: int = 6) -> str:
    """Returns random documents of `lines` lines each."""
    generator = random.Random(seed)

    def line() -> str:
        return "".join(generator.choices(LETTERS, k=generator.randint(2, 30))) + "。"

    return "\n\n".join("\n".join(line() for _ in range(lines)) for _ in range(documents)) + "\n"


def make_settings(corpus: Path, vocabulary: str, output: Path, **changes: object) -> BuildSettings:
    """Settings for a small build in many units."""
    base = BuildSettings((str(corpus),), str(output), vocabulary, num_processes=1)
    base = dataclasses.replace(base, max_seq_length=LENGTH, unit_bytes=2000)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_rows(folder: Path) -> list[tuple[list[int], list[int]]]:
    """The ids and segments of all examples, without padding."""
    import tensorflow as tf

    found = []
    for path in find_shards(str(folder)):
        compression = "GZIP" if path.endswith(".gz") else ""
        for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            ids, mask, segments = (
                list(feature[name].int64_list.value)
                for name in ("input_ids", "input_mask", "segment_ids")
            )
            length = sum(mask)
            assert len(ids) == LENGTH
            found.append((ids[:length], segments[:length]))
    return found


def count_tokens(rows: list[tuple[list[int], list[int]]]) -> Counter[int]:
    """Returns the count of each id without [CLS] and [SEP]."""
    counts = Counter(token for ids, _ in rows for token in ids)
    del counts[2], counts[3]
    return counts
