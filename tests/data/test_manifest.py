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
        ({"format": 9}, "has format 9; this version reads format 1"),
        ({"examples": 1}, "do not add up"),
        ({"shards": [{}]}, "is damaged"),
        ({"more": 1}, "is damaged"),
        ({"settings": {}}, "is damaged"),
        ({"settings": {"max_seq_length": float("inf")}}, "is damaged"),
        ({"shards": [{**good["shards"][0], "name": "../x"}]}, "'../x' is not the name of a file"),
        ({"shards": [{**good["shards"][0], "name": "/etc/x"}]}, "is not the name of a file"),
        ({"vocabulary": {**good["vocabulary"], "file": ".."}}, "is not the name of a file"),
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


def test_manifests_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """The form of version 0.1.0, with words and without."""
    bad = {"reason": "not UTF-8", "count": 2, "first": ["a.txt:3"]}
    corpus = {
        **{"files": 1, "names": ["a.txt"], "bytes": 90, "characters": 30, "lines": 3},
        **{"documents": 2, "bad_lines": [bad], "unknown_characters": {"“": 4}},
    }
    shard = {"name": "pretrain_data.tfrecord-00000-of-00001", "examples": 2, "bytes": 9}
    old = {
        **{"format": 1, "version": "0.1.0", "split": "train"},
        "settings": {"max_seq_length": 64, "packing": "full", "num_shards": None, "seed": 0},
        "vocabulary": {"file": "vocab.txt", "size": 21128, "sha256": "ab"},
        **{"unicode_version": "14.0.0", "corpus": corpus, "documents": 2, "tokens_read": 30},
        **{"tokens_kept": 30, "tokens_dropped": {}, "examples": 2, "one_segment_share": 0.5},
        **{"short_share": 0.5, "padding_share": 0.25, "unknown_share": 0.1},
        "shards": [{**shard, "sha256": "cd"}],
    }
    words = {
        **{"count": 20, "recut_stretches": 1, "checked_lines": 0, "different_lines": 0},
        "differences": [],
    }
    for values in (old, {**old, "words": words}):
        (tmp_path / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
        manifest = load_manifest(str(tmp_path))
        assert manifest is not None
        assert manifest.corpus.bad_lines[0].first == ("a.txt:3",)
        assert manifest.max_seq_length == 64
        assert (manifest.words is None) == ("words" not in values)
        manifest.save(str(tmp_path))
        assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8")) == values
