"""Data built with words: the same examples, and with each token whether it begins a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import input_files, pipeline
from electra_zh.data.build.folder import make_fingerprint, prepared_folder
from electra_zh.data.build.run import build
from electra_zh.data.build.settings import WORK
from electra_zh.data.manifest import MANIFEST, Manifest, find_shards, summary_lines
from electra_zh.errors import UserError
from electra_zh.text.settings import WordSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from support.building import LENGTH, LETTERS, contents, make_settings

CLS, SEP = 2, 3
# Words of the corpus, whose lines are random characters.
WORDS = [first + second for first in LETTERS[:8] for second in LETTERS] + ["日月盈", "盈昃辰宿"]


@pytest.fixture
def words(tmp_path: Path) -> WordSettings:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS), encoding="utf-8")
    return WordSettings(kind=str(path))


def _read(folder: Path, *, words: bool) -> list[dict[str, np.ndarray]]:
    shards = pipeline.open_shards(str(folder), max_seq_length=LENGTH, words=words)
    rows = pipeline.OnePass(shards, pipeline.Reading(LENGTH, words), batch_size=1)
    return [{name: values[0] for name, values in row.items()} for row in rows]


def _cut(tokens: str) -> list[int]:
    """Word starts of a segment's tokens, which are one character each, from where it begins."""
    starts: list[int] = []
    known = sorted(WORDS, key=len, reverse=True)
    while tokens:
        size = next((len(word) for word in known if tokens.startswith(word)), 1)
        starts += [1] + [0] * (size - 1)
        tokens = tokens[size:]
    return starts


@pytest.mark.parametrize("packing", ["full", "reference"])
def test_same_examples_with_words_and_without(
    corpus: Path, vocabulary: str, tmp_path: Path, words: WordSettings, packing: str
) -> None:
    manifests = [
        build(
            make_settings(
                corpus, vocabulary, tmp_path / name, packing=packing, words=how, holdout_every=5
            )
        )
        for name, how in (("with", words), ("without", None))
    ]
    for split in ("", "heldout"):
        rows = _read(tmp_path / "with" / split, words=True)
        plain = _read(tmp_path / "without" / split, words=False)
        for row in rows:
            del row["word_starts"]
        np.testing.assert_equal(rows, plain)
    assert manifests[0].unknown_share == manifests[1].unknown_share
    assert manifests[0].tokens_read == manifests[1].tokens_read
    assert manifests[1].words is None
    assert "words" not in (tmp_path / "without" / MANIFEST).read_text("utf-8")


def test_word_starts_are_those_of_the_text(
    corpus: Path, vocabulary: str, tmp_path: Path, words: WordSettings
) -> None:
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out", words=words))
    tokens = Vocabulary.load(vocabulary).tokens
    agreed = total = 0
    for row in _read(tmp_path / "out", words=True):
        length = int(row["input_mask"].sum())
        ids, starts = row["input_ids"][:length], row["word_starts"]
        assert not starts[length:].any()
        specials = np.isin(ids, [CLS, SEP])
        assert starts[:length][specials].all()
        # The first token of a segment begins a word, even where packing has cut one.
        assert starts[1:length][specials[:-1]].all()
        for segment in np.split(np.arange(length), np.flatnonzero(specials)):
            own = segment[1:]
            text = "".join(tokens[index] for index in ids[own])
            agreed += int((np.array(_cut(text), int) == starts[own]).sum())
            total += len(own)
    # Where packing has cut a word the words after it may be others for a while.
    assert agreed > 0.96 * total
    assert manifest.words is not None
    assert manifest.words.count < 0.75 * manifest.tokens_read


def test_words_are_counted_by_the_plain_rule(
    corpus: Path, vocabulary: str, tmp_path: Path, words: WordSettings
) -> None:
    manifest = build(make_settings(corpus, vocabulary, tmp_path / "out", words=words))
    tokenizer = WordPieceTokenizer(Vocabulary.load(vocabulary))
    lines = [
        "".join(tokenizer.tokens(line))
        for path in corpus.iterdir()
        for line in path.read_text(encoding="utf-8").split("\n")
    ]
    assert manifest.words is not None
    assert manifest.words.count == sum(sum(_cut(line)) for line in lines)


def test_same_bytes_with_words_for_any_number_of_processes(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    for processes in (1, 2):
        build(
            make_settings(
                corpus, vocabulary, tmp_path / str(processes), num_processes=processes,
                holdout_every=7, num_shards=3, words=WordSettings(check_every=20),
            )
        )  # fmt: skip
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    manifest = Manifest.load(str(tmp_path / "1"))
    assert manifest.words is not None
    assert manifest.words.checked_lines > 20
    assert manifest.words.different_lines == 0
    assert manifest.settings["words"] == "jieba"
    lines = summary_lines(manifest)
    each = manifest.tokens_read / manifest.words.count
    assert f"words: {manifest.words.count:,}, {each:.2f} tokens each" in lines
    checked = f"{manifest.words.checked_lines} lines, 0 different"
    assert f"words checked against jieba itself: {checked}" in lines


def test_differences_are_in_the_manifest_and_shown(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    build(make_settings(corpus, vocabulary, output, words=WordSettings(hmm=False, check_every=50)))
    path = output / MANIFEST
    values = json.loads(path.read_text("utf-8"))
    values["words"].update(different_lines=2, differences=["天地玄黄", "宇宙"])
    path.write_text(json.dumps(values), encoding="utf-8")
    manifest = Manifest.load(str(output))
    assert manifest.words is not None
    assert manifest.words.differences == ("天地玄黄", "宇宙")
    assert any(line.endswith('2 different; "天地玄黄"; "宇宙"') for line in summary_lines(manifest))
    del values["words"]["count"]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match="is damaged"):
        Manifest.load(str(output))


@pytest.mark.parametrize("first", [True, False])
def test_an_unfinished_build_resumes_with_the_same_words_only(
    corpus: Path, vocabulary: str, tmp_path: Path, words: WordSettings, first: bool
) -> None:
    output = tmp_path / "out"
    with_words = make_settings(corpus, vocabulary, output, words=words)
    without = make_settings(corpus, vocabulary, output)
    begun, other = (with_words, without) if first else (without, with_words)
    inputs = input_files.find_inputs(begun.inputs)
    fingerprint = make_fingerprint(begun, inputs, Vocabulary.load(vocabulary))
    with prepared_folder(begun, fingerprint):
        pass
    assert (output / WORK).is_dir()
    here, there = ("None", "words.txt") if first else ("words.txt", "None")
    with pytest.raises(UserError, match=rf"other words \({there} there, {here} here\)"):
        build(other)
    assert build(begun).examples


def test_broken_words_leave_no_folder(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("\n", encoding="utf-8")
    output = tmp_path / "out"
    settings = make_settings(corpus, vocabulary, output, words=WordSettings(kind=str(path)))
    with pytest.raises(UserError, match=r"empty\.txt contains no words"):
        build(settings)
    assert not output.exists()


def test_readers_of_the_reference_pass_over_words(
    corpus: Path, vocabulary: str, tmp_path: Path, words: WordSettings
) -> None:
    build(make_settings(corpus, vocabulary, tmp_path / "out", words=words))
    (path,) = find_shards(str(tmp_path / "out"))
    (record,) = tf.data.TFRecordDataset(path).take(1)
    shape = tf.io.FixedLenFeature([LENGTH], tf.int64)
    names = ("input_ids", "input_mask", "segment_ids")
    parsed = tf.io.parse_single_example(record, dict.fromkeys(names, shape))
    assert set(parsed) == set(names)
    features = tf.train.Example.FromString(record.numpy()).features.feature
    assert set(features) == {*names, "word_starts"}
