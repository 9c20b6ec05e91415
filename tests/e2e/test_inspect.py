"""inspect by the real command: counts of data, and an example with words."""

from __future__ import annotations

import json
from pathlib import Path

from electra_zh.data.manifest import Manifest
from support.runner import Job, done, electra


def test_data_is_read_back(job: Job, tmp_path: Path) -> None:
    manifest = Manifest.load(str(job.data))
    result = electra("inspect", str(job.data), cwd=tmp_path, fork=False)
    done(result)
    assert f"{manifest.examples:,} examples of length 64" in result.stdout
    assert "words: none (build-data --words jieba stores where words start)" in result.stdout
    counts = electra("inspect", str(job.data), "--json", cwd=tmp_path)
    done(counts)
    found = json.loads(counts.stdout)
    assert found["examples"] == manifest.examples == sum(found["lengths"].values())
    assert found["tokens"] == manifest.tokens_kept
    assert found["word_starts"] is None


def test_an_example_is_shown_with_its_words(job: Job, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("中国\n服务器\n我们\n", encoding="utf-8")
    (tmp_path / "text.txt").write_text("我们在中国的服务器上。\n", encoding="utf-8")
    build = ["--vocab", str(job.vocab), "--output", "data", "--words", "words.txt"]
    done(electra("build-data", "text.txt", *build, cwd=tmp_path))
    shown = electra("inspect", "data", "--example", "0", cwd=tmp_path)
    done(shown)
    lines = shown.stdout.split("\n")
    assert lines[0] == "[CLS] 我们 在 中国 的 服务器 上 。 [SEP]"
    assert lines[2].startswith("masking=whole_word, ")
    assert ">" in lines[3]
    again = electra("inspect", "data", "--example", "0", "--json", "masking=uniform", cwd=tmp_path)
    done(again)
    assert json.loads(again.stdout)["masking"] == "uniform"


def test_mistakes_are_one_line(job: Job, tmp_path: Path) -> None:
    for words, message in (
        (["nowhere"], "No such data folder: nowhere"),
        ([str(job.data), "--example", "99999"], "--example is 99999; the data has examples 0 to"),
        ([str(job.data), "masking=ngram"], "add --example N"),
        ([str(job.data), "--example", "0", "masking=ngram"], "--words jieba"),
    ):
        result = electra("inspect", *words, cwd=tmp_path)
        assert result.returncode in (1, 2)
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
