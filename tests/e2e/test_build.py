"""build-vocab and build-data by the real commands: what they print, write and refuse."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from support.runner import Job, done, electra, refused

BUILD = ("build-data", "corpus.txt", "--vocab", "vocab.txt", "--max-seq-length", "64")


def test_vocabulary_is_bert_s(job: Job) -> None:
    tokens = job.vocab.read_text("utf-8").split("\n")[:-1]
    assert len(tokens) == 2000
    assert tokens[0] == "[PAD]"
    assert tokens[1:100] == [f"[unused{index}]" for index in range(1, 100)]
    assert tokens[100:104] == ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokens[104] == "的"
    assert {"，", "a", "##a", "0", "##0"} < set(tokens)


def test_data_says_what_it_holds(job: Job) -> None:
    manifest = json.loads((job.data / "manifest.json").read_text("utf-8"))
    heldout = json.loads((job.heldout / "manifest.json").read_text("utf-8"))
    assert manifest["tokens_kept"] == manifest["tokens_read"]
    assert manifest["documents"] + heldout["documents"] == manifest["corpus"]["documents"]
    assert manifest["examples"] == sum(shard["examples"] for shard in manifest["shards"])


def test_alias_processes_and_order_give_the_same_bytes(job: Job, tmp_path: Path) -> None:
    corpus, vocab = str(job.corpus), str(job.vocab)
    build = ["--vocab", vocab, "--max-seq-length", "64", "--holdout-every", "10"]
    words = ["build_tfrecords", corpus, *build, "--output", "again", "--processes", "2"]
    shown = done(electra(*words, cwd=tmp_path))
    assert "tokens kept 100.0%" in shown
    for path in job.data.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(job.data)).read_bytes() == (
                path.read_bytes()
            ), path


def test_bad_lines_are_counted_and_named(job: Job, tmp_path: Path) -> None:
    text = "第一行。\n".encode() + b"\xff\xfe\n" + "第三行。\n".encode()
    with gzip.open(tmp_path / "c.txt.gz", "wb") as file:
        file.write(text)
    words = ["build-data", "c.txt.gz", "--vocab", str(job.vocab), "--output", "d"]
    assert "skipped: 1 line, not UTF-8, first c.txt.gz:2" in done(electra(*words, cwd=tmp_path))
    result = electra(*words, "--overwrite", "--strict", cwd=tmp_path)
    assert "c.txt.gz:2: not UTF-8" in refused(result)


def test_parts_give_the_same_bytes(job: Job, tmp_path: Path) -> None:
    build = ["--vocab", str(job.vocab), "--max-seq-length", "64", "--holdout-every", "10"]
    words = ["build-data", str(job.corpus), *build, "--output", "parts", "--part"]
    assert "units are missing, of part 1/2." in done(electra(*words, "2/2", cwd=tmp_path))
    assert "shards are missing, of part 2/2." in done(electra(*words, "1/2", cwd=tmp_path))
    assert "nothing is missing" in done(electra(*words, "2/2", cwd=tmp_path))
    assert "tokens kept 100.0%" in done(electra(*words[:-1], cwd=tmp_path))
    found = {path.relative_to(tmp_path / "parts"): path for path in tmp_path.rglob("parts/**/*.*")}
    whole = {path.relative_to(job.data): path for path in job.data.rglob("*.*")}
    assert found.keys() == whole.keys()
    for name, path in found.items():
        assert path.read_bytes() == whole[name].read_bytes(), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part", "0/4"], "--part 0/4 is not i/n"),
        (["--runner", "dusk"], 'Did you mean "dask"'),
        (["--scheduler", "tcp://here:8786"], "add --runner dask"),
        (["--runner", "dask", "--scheduler", "s", "--processes", "2"], "local workers only"),
        (["--check-words", "0", "--words", "jieba"], "check_every must be at least 1; received 0"),
        (["--processes", "0"], "num_processes must be at least 1"),
    ],
)
def test_settings_that_are_not_allowed_are_usage_errors(
    job: Job, words: list[str], message: str
) -> None:
    result = electra(*BUILD, "--output", "x", *words, cwd=job.folder)
    assert message in refused(result, code=2)
    assert not (job.folder / "x").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*BUILD, "--output", "data"], "--overwrite"),
        ([*BUILD, "--output", "run"], "run"),
        (["build-data", "nowhere.txt", *BUILD[2:], "--output", "x"], "nowhere.txt"),
        ([*BUILD[:3], "corpus.txt", "--output", "x"], "corpus.txt"),
        ([*BUILD[:3], "nowhere.txt", "--output", "x"], "No such vocabulary file: nowhere.txt"),
        ([*BUILD, "--output", "x", "--words", "jeiba"], 'or a file. Did you mean "jieba"?'),
        (
            [*BUILD, "--output", "x", "--words", "jieba", "--words-dict", "no.txt"],
            "No such file: no.txt; --words-dict must name a dictionary",
        ),
        (
            [*BUILD, "--output", "x", "--words", "jieba", "--words-dict", "corpus.txt"],
            "corpus.txt:",
        ),
        (["build-vocab", "corpus.txt", "--output", "vocab.txt"], "vocab.txt exists; --overwrite"),
        (["build-vocab", "corpus.txt", "--output", "x", "--size", "50"], "too small"),
        (["build-vocab", "nowhere", "--output", "x"], "nowhere"),
    ],
)
def test_refused_in_one_line_and_nothing_lost(job: Job, words: list[str], message: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in job.folder.rglob("*")}
    assert message in refused(electra(*words, cwd=job.folder))
    assert {path: path.stat().st_mtime_ns for path in job.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--words-dict", "vocab.txt"], "dictionaries applies only with words: set words too"),
        (["--no-hmm"], "hmm applies only with words: set words too"),
        (["--check-words", "5"], "check_every applies only with words: set words too"),
        (
            ["--words", "spaces", "--check-words", "5"],
            "--check-words applies to --words jieba only; --words is spaces",
        ),
    ],
)
def test_flags_of_jieba_need_jieba(job: Job, words: list[str], message: str) -> None:
    result = electra(*BUILD, "--output", "x", *words, cwd=job.folder)
    assert message in refused(result, code=2)


def test_words_are_cut_and_counted(job: Job, tmp_path: Path) -> None:
    (tmp_path / "further.txt").write_text("机器学习 1000 n\n", encoding="utf-8")
    build = ["build-data", str(job.corpus), "--vocab", str(job.vocab), "--max-seq-length", "64"]
    jieba = ["--words", "jieba", "--words-dict", "further.txt", "--no-hmm", "--check-words", "50"]
    results = [
        electra(*build, "--output", name, *jieba, "--processes", name, cwd=tmp_path)
        for name in ("1", "2")
    ]
    assert "\nwords: " in done(results[0])
    assert "lines, 0 different\n" in done(results[1])
    assert results[0].stderr == "" or "Prefix dict" not in results[0].stderr
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()
