"""The manifest: read as it was written, refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.data.build.run import build
from electra_zh.data.manifest import MANIFEST, find_shards, load_manifest, summary_lines
from electra_zh.errors import UserError
from support.building import LENGTH, make_settings


def test_damaged_manifests_are_refused(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    build(make_settings(corpus, vocabulary, output))
    path = output / MANIFEST
    good = json.loads(path.read_text(encoding="utf-8"))
    for change, message in (
        ({"format": 9}, "has form 9; this version reads form 1"),
        ({"examples": 1}, "do not add up"),
        ({"shards": [{}]}, "is damaged"),
        ({"more": 1}, "is damaged"),
        ({"settings": {}}, "is damaged"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(UserError, match=message):
            load_manifest(str(output))


def test_folders_of_foreign_shards_have_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No TFRecord files"):
        find_shards(str(tmp_path))
    (tmp_path / "pretrain_data.tfrecord-0-of-2").write_bytes(b"")
    (tmp_path / "readme.md").write_bytes(b"")
    assert load_manifest(str(tmp_path)) is None
    assert find_shards(str(tmp_path)) == [str(tmp_path / "pretrain_data.tfrecord-0-of-2")]
    with pytest.raises(UserError, match="No such data folder"):
        load_manifest(str(tmp_path / "none"))


def test_summaries_read_well(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out", packing="reference"))
    lines = summary_lines(manifest)
    assert lines[0].startswith(f"{manifest.examples:,} examples of length {LENGTH} in 1 shard, ")
    kept = manifest.tokens_kept / manifest.tokens_read
    assert lines[2].startswith(f"tokens kept {kept:.1%}, padding {manifest.padding_share:.1%}")
    assert any(line.startswith("dropped: ") for line in lines)
