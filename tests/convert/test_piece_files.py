"""SentencePiece models in converted folders and in served graphs."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert import tokenizer_files
from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.piece_tokenizer import tokenizer_json
from electra_zh.convert.source import open_source
from electra_zh.convert.text_graph import make_text_graph
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.finetuning.pretrained import load_pretrained
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.settings import TokenizerSettings
from support.converting import make_run
from support.piece_models import make_foreign, make_pieces, make_text


def make_weights(folder: Path) -> Weights:
    """A run with a model for its vocabulary, as it is read again."""
    vocabulary = make_pieces()
    run, _ = make_run(folder / "made", model={"vocab_size": vocabulary.size})
    (folder / "made" / "vocab.txt").unlink()
    dataclasses.replace(run, vocabulary=vocabulary).save()
    return open_source(str(folder / "made"))


def test_a_run_carries_its_model(tmp_path: Path) -> None:
    weights = make_weights(tmp_path)
    assert weights.vocabulary == make_pieces()
    assert (tmp_path / "made" / "spm.model").read_bytes() == make_pieces().model


@pytest.mark.parametrize("form", [huggingface, google])
def test_other_forms_carry_it_there_and_back(form: object, tmp_path: Path) -> None:
    weights = make_weights(tmp_path)
    form.write(weights, str(tmp_path / "out"))  # type: ignore[attr-defined]
    read = open_source(str(tmp_path / "out"))
    assert read.vocabulary == weights.vocabulary
    assert read.tokenizer == TokenizerSettings()
    start = load_pretrained(str(tmp_path / "out"))
    assert isinstance(start.make_tokenizer(), SentencePieceTokenizer)
    assert not list((tmp_path / "out").rglob("vocab.txt"))


def test_the_settings_are_the_model_s(tmp_path: Path) -> None:
    cased = make_pieces(tokenizer=TokenizerSettings(False, False))
    tokenizer_files.write(str(tmp_path), cased, cased.settings, max_length=64)
    assert tokenizer_files.read_vocabulary(str(tmp_path), rows=cased.size) == cased
    found = tokenizer_files.read_tokenizer([str(tmp_path)], rows=cased.size)
    assert (found.settings, found.notes) == (cased.settings, ())


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"])
def test_models_under_the_names_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(make_foreign())
    expected = SentencePieceVocabulary(make_foreign())
    assert tokenizer_files.read_vocabulary(str(tmp_path), rows=expected.size) == expected


@pytest.mark.parametrize("model_type", ["Unigram", "BPE"])
def test_a_tokenizer_without_its_model_is_refused(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": model_type}}))
    with pytest.raises(UserError, match=f"is a {model_type} tokenizer, not WordPiece. Put .*spm"):
        tokenizer_files.read_vocabulary(str(tmp_path), rows=160)


def test_merges_are_in_the_order_of_the_model() -> None:
    vocabulary = make_pieces("bpe")
    merges = tokenizer_json(vocabulary)["model"]["merges"]
    made = [left + right for left, right in merges]
    scores = dict(zip(vocabulary.parts.pieces, vocabulary.parts.scores, strict=True))
    assert [scores[piece] for piece in made] == sorted((scores[p] for p in made), reverse=True)
    assert set(made) == {p for p in scores if (len(p) > 1 and scores[p] != 0) or p == made[0]}


@pytest.mark.parametrize("prefix", [False, True])
def test_spaces_that_the_model_keeps(prefix: bool) -> None:
    model = make_foreign(remove_extra_whitespaces=False, add_dummy_prefix=prefix)
    found = tokenizer_json(SentencePieceVocabulary(model))
    _, *others = found["normalizer"]["normalizers"]
    assert others == [{"type": "Prepend", "prepend": " "}] * prefix
    assert found["pre_tokenizer"]["prepend_scheme"] == "never"


def test_symbols_that_no_merge_gives() -> None:
    model = make_foreign(
        user_defined=True, names=("[CLS]", "[SEP]", "[MASK]", "天地"), model_type="bpe"
    )
    with pytest.raises(UserError, match='has "天地" as a symbol that its maker defined'):
        tokenizer_json(SentencePieceVocabulary(model))


@pytest.mark.parametrize("name", ["unigram", "bpe", "bytes", "foreign"])
def test_the_graph_gives_the_tokenizer_s_ids(name: str) -> None:
    vocabulary = {
        "unigram": make_pieces(),
        "bpe": make_pieces("bpe"),
        "bytes": make_pieces(byte_fallback=True),
        "foreign": SentencePieceVocabulary(make_foreign()),
    }[name]
    tokenizer = SentencePieceTokenizer(vocabulary)
    generator = random.Random(3)
    letters = make_text(20) + "ÉﬁΣß\u0301\u3000\t\n\x00\u200b豈😀２[MASK]"
    texts = ["", *("".join(generator.choices(letters, k=12)) for _ in range(300))]
    found = make_text_graph(vocabulary, tokenizer.settings).ids(tf.constant(texts)).to_list()
    assert found == [tokenizer.encode(text) for text in texts]


def test_rows_of_the_graph_are_framed() -> None:
    vocabulary = make_pieces()
    rows = make_text_graph(vocabulary, vocabulary.settings).rows(
        tf.constant(["天地", "的"]), tf.constant(["，", ""]), max_seq_length=16
    )
    first, second, third = (vocabulary.ids[piece] for piece in ("天地", "，", "的"))
    assert np.array_equal(rows["input_ids"], [[2, first, 3, second, 3], [2, third, 3, 0, 0]])


def test_invalid_utf8_is_removed_in_the_graph() -> None:
    vocabulary = make_pieces()
    graph = make_text_graph(vocabulary, vocabulary.settings)
    found = graph.ids(tf.constant(["天\xff地".encode("latin-1", "ignore"), b"\xff"]))
    assert found.to_list()[1] == []
