"""Corpora, vocabularies, manifests and shards of any bytes: a result or one line, never a crash."""

from __future__ import annotations

import functools
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.data import documents, input_files, records
from electra_zh.data.cleaning.run import clean
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.manifest import MANIFEST, load_manifest
from electra_zh.data.shard_records import Damage, Shard, ShardRecords
from electra_zh.text.tokenizer import TokenizerSettings, load_vocabulary, make_tokenizer
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LENGTH, LETTERS, make_settings, make_text
from support.mutations import fuzz, inputs
from support.refusing import folder_of, refusing

TEXT = make_text(3).encode()
JSON_LINES = b"".join(
    json.dumps({"text": text, "id": index}, ensure_ascii=False).encode() + b"\n"
    for index, text in enumerate(make_text(4).split("\n\n"))
)
WIKI = b"".join(
    f'<doc id="{index}" url="x" title="y">\n{text}\n</doc>\n'.encode()
    for index, text in enumerate(make_text(3).split("\n\n"))
)
ARRAY = json.dumps([json.loads(line) for line in JSON_LINES.splitlines()]).encode()
CORPORA = (TEXT, JSON_LINES, WIKI, ARRAY, gzip.compress(TEXT, mtime=0))
VOCABULARY = "\n".join([*SPECIAL_TOKENS, *LETTERS, "。", "##a", "a"]).encode() + b"\n"


@given(data=inputs(*CORPORA))
@fuzz
def test_corpora(data: bytes) -> None:
    with folder_of(corpus_x=data) as folder, refusing():
        (found,) = input_files.find_inputs([str(folder / "corpus.x")])
        for size in (1 << 20, 700):
            texts = []
            for unit in documents.plan_units([found], unit_bytes=size):
                texts += [block.text for block in documents.UnitReader(unit)]
            "\n".join(texts).encode()


@given(data=inputs(*CORPORA))
@fuzz
def test_cleaning(data: bytes) -> None:
    with folder_of(corpus_x=data) as folder, refusing():
        settings = CleanSettings((str(folder / "corpus.x"),), str(folder / "out"), num_processes=1)
        report = clean(settings)
        assert report is not None
        # What is written is text that is read again.
        input_files.find_inputs([str(folder / "out")])


@given(data=inputs(VOCABULARY), text=st.text(max_size=40))
@fuzz
def test_vocabularies(data: bytes, text: str) -> None:
    with folder_of(vocab_txt=data) as folder, refusing():
        vocabulary = load_vocabulary(str(folder / "vocab.txt"))
        tokenizer = make_tokenizer(vocabulary, TokenizerSettings())
        ids = tokenizer.encode(text.replace("\n", " ") + LETTERS)
        assert all(0 <= each < vocabulary.size for each in ids)


@functools.cache
def built() -> tuple[bytes, bytes, int]:
    """The bytes of a manifest and of a shard, and the number of its records."""
    from electra_zh.data.build.run import build

    with folder_of(corpus_txt=TEXT) as folder:
        vocabulary = str(folder / "vocab.txt")
        Vocabulary([*SPECIAL_TOKENS, *LETTERS, "。"]).save(vocabulary)
        settings = make_settings(folder / "corpus.txt", vocabulary, folder / "out", num_shards=1)
        manifest = build(settings)
        shard = folder / "out" / manifest.shards[0].name
        return (folder / "out" / MANIFEST).read_bytes(), shard.read_bytes(), manifest.examples


@given(choice=st.data())
@fuzz
def test_manifests(choice: st.DataObject) -> None:
    data = choice.draw(inputs(built()[0]))
    with folder_of(manifest_json=data) as folder, refusing():
        assert load_manifest(str(folder)) is not None


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@given(choice=st.data())
@fuzz
def test_shards(choice: st.DataObject, compressed: bool, skips: bool) -> None:
    _, valid, examples = built()
    data = choice.draw(inputs(gzip.compress(valid, mtime=0) if compressed else valid))
    found: list[Damage] = []
    with folder_of(shard_x=data) as folder, refusing():
        shard = Shard(str(folder / "shard.x"), examples)
        read = ShardRecords(shard, on_damage=found.append if skips else None)
        rows = read.decode(np.arange(examples), records.FEATURES, max_seq_length=LENGTH)
        assert all(values.shape == (examples, LENGTH) for values in rows.values())
        if not found:
            # Checksums leave no other rows but the true ones.
            with folder_of(shard_x=valid) as other:
                true = ShardRecords(Shard(str(other / "shard.x"), examples))
                expected = true.decode(np.arange(examples), records.FEATURES, max_seq_length=LENGTH)
            for name, values in rows.items():
                np.testing.assert_array_equal(values, expected[name])
