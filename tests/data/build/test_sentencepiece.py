"""Data built with a SentencePiece model: the model's ids, nothing lost, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from electra_zh.data.build.run import build
from electra_zh.data.source import open_data_source
from electra_zh.errors import UserError
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.settings import TokenizerSettings, WordSettings
from support.building import contents, count_tokens, make_settings, read_rows
from support.piece_models import make_pieces, make_text


@pytest.fixture
def pieces(tmp_path: Path) -> str:
    path = str(tmp_path / "some.model")
    make_pieces().save(path)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = make_text().split("\n")
    documents = ("\n".join(lines[start : start + 5]) for start in range(0, len(lines), 5))
    (folder / "a.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return folder


def test_every_piece_is_in_the_shards(text: Path, pieces: str, tmp_path: Path) -> None:
    manifest = build(make_settings(text, pieces, tmp_path / "out"))
    tokenizer = SentencePieceTokenizer(make_pieces())
    lines = (text / "a.txt").read_text("utf-8").split("\n")
    expected = Counter(index for line in lines for index in tokenizer.encode(line))
    assert count_tokens(read_rows(tmp_path / "out")) == expected
    assert manifest.tokens_kept == manifest.tokens_read == expected.total()
    assert manifest.vocabulary.file == "spm.model"
    assert (tmp_path / "out" / "spm.model").read_bytes() == make_pieces().model
    source = open_data_source(str(tmp_path / "out"), vocab=pieces)
    assert source.vocabulary == make_pieces()
    assert source.tokenizer == TokenizerSettings()


def test_same_bytes_for_any_number_of_processes(text: Path, pieces: str, tmp_path: Path) -> None:
    for processes in (1, 2):
        settings = make_settings(
            text, pieces, tmp_path / str(processes), num_processes=processes, holdout_every=7
        )
        build(settings)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_words_of_pieces(text: Path, pieces: str, tmp_path: Path) -> None:
    settings = make_settings(text, pieces, tmp_path / "out", words=WordSettings())
    assert build(settings).examples > 0


def test_settings_are_the_model_s(text: Path, tmp_path: Path) -> None:
    cased = make_pieces(tokenizer=TokenizerSettings(False, False))
    cased.save(str(tmp_path / "cased.model"))
    settings = make_settings(text, str(tmp_path / "cased.model"), tmp_path / "out")
    build(settings)
    saved = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["settings"]
    assert not saved["lower_case"]
    assert open_data_source(str(tmp_path / "out")).tokenizer == cased.settings


def test_settings_against_the_model_are_refused(text: Path, pieces: str, tmp_path: Path) -> None:
    settings = make_settings(text, pieces, tmp_path / "out", tokenizer=TokenizerSettings(False))
    with pytest.raises(UserError, match="determines how text is normalised"):
        build(settings)
    assert not (tmp_path / "out").exists()


def test_data_of_another_kind_is_replaced_whole(
    text: Path, pieces: str, vocabulary: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    build(make_settings(text, vocabulary, output, holdout_every=5))
    build(make_settings(text, pieces, output, holdout_every=5, overwrite=True))
    assert sorted(path.name for path in output.rglob("*") if path.suffix in (".txt", ".model")) == [
        "spm.model",
        "spm.model",
    ]


def test_a_vocabulary_in_the_folder_that_the_new_data_is_made_with_stays(
    text: Path, pieces: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    build(make_settings(text, pieces, output))
    build(make_settings(text, str(output / "spm.model"), output, overwrite=True))
    assert (output / "spm.model").read_bytes() == make_pieces().model


def test_another_model_in_the_folder_is_noticed(text: Path, pieces: str, tmp_path: Path) -> None:
    build(make_settings(text, pieces, tmp_path / "out"))
    make_pieces("bpe").save(str(tmp_path / "out" / "spm.model"))
    with pytest.raises(UserError, match=r"spm\.model is not the vocabulary that the data was"):
        open_data_source(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"spm\.model is not the vocabulary"):
        open_data_source(str(tmp_path / "out"), vocab=pieces)
