"""The output folder: replaced when asked, foreign files never."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from electra_zh.data.build import shards
from electra_zh.data.build.run import build
from electra_zh.data.build.settings import WORK
from electra_zh.errors import UserError
from electra_zh.interrupts import InterruptError
from electra_zh.text.vocabulary import Vocabulary
from support.building import contents, make_settings


def test_a_finished_folder_is_replaced_only_when_asked(
    corpus: Path, vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, fresh = tmp_path / "out", tmp_path / "fresh"
    settings = make_settings(corpus, vocabulary, output, num_shards=3, holdout_every=5)
    build(settings)
    before = contents(output)
    with pytest.raises(UserError, match=r"has finished data\. Choose another folder"):
        build(settings)
    assert contents(output) == before
    other = dataclasses.replace(settings, overwrite=True, num_shards=2, holdout_every=None, seed=3)

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "plan_shards", stop)
        with pytest.raises(InterruptError):
            build(other)
    # The old data is complete until the new data is.
    assert {name: data for name, data in contents(output).items() if WORK not in name} == before
    build(other)
    build(dataclasses.replace(other, output=str(fresh)))
    assert contents(output) == contents(fresh)


def test_foreign_files_are_left_alone(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        settings = make_settings(corpus, vocabulary, output, overwrite=overwrite)
        with pytest.raises(UserError, match=r"files that build-data did not write \(thesis.txt\)"):
            build(settings)
    assert contents(output) == {"thesis.txt": b"years of work"}


def test_shards_of_others_are_left_alone(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "pretrain_data.tfrecord-0-of-1").write_bytes(b"x")
    with pytest.raises(UserError, match=r"pretrain_data\.tfrecord-0-of-1"):
        build(make_settings(corpus, vocabulary, output, overwrite=True))


def test_the_vocabulary_may_lie_in_the_folder(
    corpus: Path, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    own = output / "vocab.txt"
    os.rename(vocabulary, own)
    manifest = build(make_settings(corpus, str(own), output))
    assert Vocabulary.load(str(own)).sha256 == manifest.vocabulary.sha256


def test_output_must_be_a_folder(corpus: Path, vocabulary: str, tmp_path: Path) -> None:
    for output in (Path(vocabulary), Path(vocabulary) / "new"):
        with pytest.raises(UserError, match=r"vocabulary\.txt is a file; --output names a folder"):
            build(make_settings(corpus, vocabulary, output))
    nameless = dataclasses.replace(make_settings(corpus, vocabulary, tmp_path), output="")
    with pytest.raises(UserError, match="--output is empty"):
        build(nameless)
