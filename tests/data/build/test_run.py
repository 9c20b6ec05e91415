"""The build: same bytes whatever the processes, nothing lost, all of it counted."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from electra_zh import progress
from electra_zh.data.build import packing
from electra_zh.data.build.pieces import token_stream
from electra_zh.data.build.run import build, plan
from electra_zh.data.build.settings import HELDOUT, WORK, BuildSettings, Packing
from electra_zh.data.manifest import MANIFEST, load_manifest, summary_lines
from electra_zh.errors import UserError
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from support.building import LENGTH, contents, count_tokens, make_settings, make_text, read_rows


@pytest.mark.parametrize("kind", get_args(Packing))
@pytest.mark.parametrize("gzip", [False, True])
def test_same_bytes_for_any_number_of_processes(
    corpus: Path, vocabulary: str, tmp_path: Path, kind: Packing, gzip: bool
) -> None:
    results = []
    for processes in (1, 2, 3):
        output = tmp_path / f"out{processes}"
        settings = make_settings(
            corpus, vocabulary, output, num_processes=processes, packing=kind, gzip=gzip,
            holdout_every=7, num_shards=3,
        )  # fmt: skip
        build(settings)
        results.append(contents(output))
    assert results[0] == results[1] == results[2]
    assert WORK not in {name.split("/")[0] for name in results[0]}


def test_another_seed_gives_another_order(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        build(make_settings(corpus, vocabulary, tmp_path / str(seed), seed=seed))
    assert contents(tmp_path / "0") != contents(tmp_path / "1")
    assert count_tokens(read_rows(tmp_path / "0")) == count_tokens(read_rows(tmp_path / "1"))


def test_every_token_of_the_corpus_is_in_the_shards(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    manifest = build(make_settings(corpus, vocabulary, output, num_shards=4))
    tokenizer = WordPieceTokenizer(Vocabulary.load(vocabulary))
    expected = Counter(
        token
        for path in corpus.iterdir()
        for line in path.read_text(encoding="utf-8").split("\n")
        for token in tokenizer.encode(line)
    )
    rows = read_rows(output)
    assert count_tokens(rows) == expected
    assert manifest.tokens_read == manifest.tokens_kept == expected.total()
    assert manifest.tokens_dropped == {}
    assert manifest.examples == len(rows)
    assert manifest.corpus.documents == manifest.documents == 103
    assert manifest.corpus.lines == 103 * 6
    assert manifest.one_segment_share == sum(not any(row[1]) for row in rows) / len(rows)
    assert manifest.short_share == sum(len(row[0]) < LENGTH for row in rows) / len(rows)
    positions = sum(len(row[0]) for row in rows)
    assert manifest.padding_share == pytest.approx(1 - positions / len(rows) / LENGTH)


def test_one_unit_of_reference_packing_is_the_reference(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    base = make_settings(corpus / "1.txt", vocabulary, output, packing="reference", seed=5)
    manifest = build(dataclasses.replace(base, unit_bytes=None))
    text = (corpus / "1.txt").read_text(encoding="utf-8")
    tokenized = WordPieceTokenizer(Vocabulary.load(vocabulary)).tokenize_text(text)
    packer = packing.ReferencePacker(max_length=LENGTH, sep_id=3, generator=random.Random(5))
    stream = token_stream(tokenized, text, packing="reference", max_length=LENGTH)
    made = [packer.add(stream), packer.finish()]
    lengths = [
        (first + 2, second + 1 if second else 0)
        for part in made
        for first, second in zip(part.first_lengths, part.second_lengths, strict=True)
    ]
    rows = read_rows(output)
    assert sorted(lengths) == sorted(
        (len(ids) - sum(segments), sum(segments)) for ids, segments in rows
    )
    assert count_tokens(rows) == Counter(np.concatenate([part.ids for part in made]).tolist())
    assert sum(manifest.tokens_dropped.values()) == manifest.tokens_read - manifest.tokens_kept > 0


def test_short_documents_share_examples_if_joined(tmp_path: Path, vocabulary: str) -> None:
    corpus = tmp_path / "short.txt"
    corpus.write_text("天地玄黄。\n\n宇宙洪荒。\n\n" * 300, encoding="utf-8")
    alone, joined = (
        build(make_settings(corpus, vocabulary, tmp_path / kind, packing=kind))
        for kind in ("full", "joined")
    )
    assert alone.padding_share > 0.5
    assert any("--packing joined" in line for line in summary_lines(alone))
    assert joined.padding_share < 0.1
    assert not any("hint" in line for line in summary_lines(joined))
    assert joined.examples < alone.examples / 4
    assert joined.tokens_kept == joined.tokens_read == alone.tokens_kept
    assert joined.documents == 600


def test_a_plan_checks_and_writes_nothing(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    settings = make_settings(corpus, vocabulary, tmp_path / "out")
    lines = plan(settings)
    assert re.match(r"input: [0-9,]+ bytes \(files: 3, units of work: \d+\)$", lines[0])
    assert lines[1:] == [f"vocabulary: {vocabulary}, 25 tokens", f"output: {settings.output}"]
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="No such file or folder"):
        plan(dataclasses.replace(settings, inputs=("none.txt",)))
    build(settings)
    with pytest.raises(UserError, match="has finished data"):
        plan(settings)


@pytest.mark.parametrize("name", get_args(Packing))
def test_every_packing_has_its_packer(name: Packing) -> None:
    assert name in packing.PACKERS
    assert len(packing.PACKERS) == len(get_args(Packing))


def test_there_are_never_more_shards_than_examples(tmp_path: Path, vocabulary: str) -> None:
    corpus = tmp_path / "small.txt"
    corpus.write_text("天地。\n\n玄黄。\n\n宇宙。\n", encoding="utf-8")
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out", num_shards=9))
    assert [shard.examples for shard in manifest.shards] == [1, 1, 1]


def test_documents_are_held_out_completely(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    manifest = build(make_settings(corpus, vocabulary, output, holdout_every=5))
    heldout = load_manifest(str(output / HELDOUT))
    assert heldout is not None
    assert heldout.split == "heldout"
    assert manifest.documents + heldout.documents == manifest.corpus.documents == 103
    assert 15 <= heldout.documents <= 26
    apart = count_tokens(read_rows(output / HELDOUT))
    assert apart.total() == heldout.tokens_kept
    whole = tmp_path / "whole"
    build(make_settings(corpus, vocabulary, whole))
    assert count_tokens(read_rows(output)) + apart == count_tokens(read_rows(whole))


def test_held_out_documents_do_not_depend_on_blocks(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(make_settings(corpus, vocabulary, tmp_path / "a", holdout_every=3))
    monkeypatch.setattr("electra_zh.data.documents.BLOCK_BYTES", 300)
    build(make_settings(corpus, vocabulary, tmp_path / "b", holdout_every=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_holdout_without_documents_is_refused(tmp_path: Path, vocabulary: str) -> None:
    corpus = tmp_path / "small.txt"
    corpus.write_text(make_text(2), encoding="utf-8")
    settings = make_settings(corpus, vocabulary, tmp_path / "out", holdout_every=1000)
    with pytest.raises(UserError, match="holds out no document: the corpus has only 2 documents"):
        build(settings)
    assert not (tmp_path / "out").exists()


def test_a_holdout_of_all_documents_is_refused(tmp_path: Path, vocabulary: str) -> None:
    corpus = tmp_path / "small.txt"
    corpus.write_text(make_text(1), encoding="utf-8")
    message = "(all documents of the corpus: it has only 1|holds out no document)"
    seen = set()
    for seed in range(4):
        settings = make_settings(
            corpus, vocabulary, tmp_path / str(seed), holdout_every=2, seed=seed
        )
        with pytest.raises(UserError, match=message) as error:
            build(settings)
        seen.add("all documents" in str(error.value))
    assert True in seen


@pytest.mark.parametrize("content", [b"", b"\n \n\xe3\x80\x80\n", b"\xff\xfe\n"])
def test_an_empty_corpus_is_refused(tmp_path: Path, vocabulary: str, content: bytes) -> None:
    corpus = tmp_path / "empty.txt"
    corpus.write_bytes(content)
    with pytest.raises(UserError, match=r"The corpus is empty: no tokens in .*empty\.txt"):
        build(make_settings(corpus, vocabulary, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_name_of_a_file_need_not_be_utf8(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    os.rename(corpus / "2.txt", os.fsencode(corpus) + b"/\xd3\xef.txt")
    build(make_settings(corpus, vocabulary, tmp_path / "out"))
    manifest = load_manifest(str(tmp_path / "out"))
    assert manifest is not None
    assert manifest.corpus.names == ("0.txt", "1.txt", "\ufffd\ufffd.txt")


def test_bad_lines_are_counted_and_named(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    path = corpus / "2.txt"
    data = path.read_bytes() + b"\xff\n"
    path.write_bytes(data)
    (corpus / "3.jsonl").write_text('{"text": "天地"}\n{"body": "x"}\n', encoding="utf-8")
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out"))
    bad = {each.reason: each for each in manifest.corpus.bad_lines}
    line = data.count(b"\n")
    assert bad["not UTF-8"].first == (f"2.txt:{line}",)
    assert bad['no text in field "text"'].first == ("3.jsonl:2",)
    assert any(f"2.txt:{line}" in each for each in summary_lines(manifest))
    with pytest.raises(UserError, match=rf"2\.txt:{line}: not UTF-8"):
        build(make_settings(corpus, vocabulary, tmp_path / "strict", strict=True))
    assert not (tmp_path / "strict").exists()


def test_unknown_characters_are_counted(tmp_path: Path, vocabulary: str) -> None:
    corpus = tmp_path / "small.txt"
    corpus.write_text("“天”地好玄b\n" * 10, encoding="utf-8")
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out"))
    assert manifest.corpus.unknown_characters == {"b": 10, "“": 10, "”": 10, "好": 10}
    assert manifest.unknown_share == 4 / 7
    lines = "\n".join(summary_lines(manifest))
    assert "--map-punctuation" in lines
    assert "hint: 57% of the tokens are [UNK]" in lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": "ful"}, 'packing is "ful"; allowed: full, .*. Did you mean "full"'),
        ({"max_seq_length": 7}, "max_seq_length must be at least 8 and at most 4,096; received 7"),
        ({"max_seq_length": 4097}, "max_seq_length must be .* at most 4,096; received 4097"),
        ({"seed": -1}, "seed must be at least 0; received -1"),
        ({"num_shards": 0}, "num_shards must be at least 1; received 0"),
        ({"holdout_every": 1}, "holdout_every must be at least 2; received 1"),
    ],
)
def test_settings_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BuildSettings(("a",), "b", "c", **changes)  # type: ignore[arg-type]


def test_progress_ends_at_the_whole(corpus: Path, vocabulary: str, tmp_path: Path) -> None:

    totals: dict[str, list[int]] = {}

    class _Bar:
        def __init__(self, what: str) -> None:
            self.what = what

        speed = 0.0

        def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
            totals[self.what][1] += amount

    @contextlib.contextmanager
    def show(what: str, *, total: int, unit: str, initial: int = 0) -> Iterator[progress.Bar]:
        totals[what] = [total, initial]
        yield _Bar(what)

    build(make_settings(corpus, vocabulary, tmp_path / "out", num_processes=2), show=show)
    assert list(totals) == ["reading", "writing"]
    for total, done in totals.values():
        assert total == done > 0


def test_remote_files_give_the_same_shards(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    """Through TensorFlow's file systems, of which `file://` is one."""
    local, remote = tmp_path / "local", tmp_path / "remote"
    settings = make_settings(corpus / "1.txt", vocabulary, local, unit_bytes=1 << 20)
    build(settings)
    build(
        dataclasses.replace(settings, inputs=(f"file://{corpus}/1.txt",), output=f"file://{remote}")
    )
    found, expected = contents(remote), contents(local)
    assert found.keys() == expected.keys()
    del found[MANIFEST], expected[MANIFEST]
    assert found == expected


def test_the_case_of_the_vocabulary_is_taken_unless_one_is_chosen(
    corpus: Path, vocabulary: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (corpus / "0.txt").write_text("天地Aa玄黄，Aa。\n", encoding="utf-8")
    settings = make_settings(corpus, vocabulary, tmp_path / "out")
    settings = dataclasses.replace(settings, tokenizer=TokenizerSettings(lower_case=False))
    with caplog.at_level("WARNING"):
        assert build(settings).settings["lower_case"]
    assert "[UNK] in a sample of the text: 2, or 0 otherwise" in caplog.text
    chosen = dataclasses.replace(settings, output=str(tmp_path / "chosen"), case_is_chosen=True)
    assert not build(chosen).settings["lower_case"]
