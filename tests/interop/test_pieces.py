"""SentencePiece models in transformers and in a served graph give our ids."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.forms import huggingface, onnx, saved_model
from electra_zh.convert.source import open_source
from electra_zh.text.sentencepiece.model import SentencePieceVocabulary
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from support.converting import make_run
from support.piece_models import make_foreign, make_pieces, make_text

pytestmark = pytest.mark.interop

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MODELS: dict[str, Callable[[], SentencePieceVocabulary]] = {
    "unigram": make_pieces,
    "bpe": lambda: make_pieces("bpe"),
    "bytes": lambda: make_pieces(byte_fallback=True),
    "bpe with bytes": lambda: make_pieces("bpe", byte_fallback=True),
    "foreign": lambda: SentencePieceVocabulary(make_foreign()),
}


def _written(vocabulary: SentencePieceVocabulary, folder: Path) -> Any:
    run, _ = make_run(folder / "run", model={"vocab_size": vocabulary.size})
    (folder / "run" / "vocab.txt").unlink()
    run = type(run)(run.folder, run.config, vocabulary, vocabulary.settings, "made")
    run.save()
    return open_source(run.folder)


def _texts() -> list[str]:
    generator = random.Random(5)
    letters = make_text(20) + "ÉéAΣß\u3000\t\n\u200b豈😀"
    made = ["".join(generator.choices(letters, k=20)) for _ in range(500)]
    return [*make_text().split("\n"), *made, "", " ", "e\u0301cafe\u0301"]


@pytest.mark.parametrize("name", MODELS)
def test_ids_in_transformers(name: str, tmp_path: Path) -> None:
    import transformers

    vocabulary = MODELS[name]()
    huggingface.write(_written(vocabulary, tmp_path), str(tmp_path / "hf"))
    folder = str(tmp_path / "hf" / "discriminator")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = SentencePieceTokenizer(vocabulary)
    texts = _texts()
    found = theirs(texts, add_special_tokens=False)["input_ids"]
    assert found == [ours.encode(text) for text in texts]
    pair = theirs("天地", "的")
    cls, sep = vocabulary.cls_id, vocabulary.sep_id
    first, second = ours.encode("天地"), ours.encode("的")
    assert pair["input_ids"] == [cls, *first, sep, *second, sep]
    assert pair["token_type_ids"] == [0] * (2 + len(first)) + [1] * (1 + len(second))
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(theirs, f"{role}_token_id") == getattr(vocabulary, f"{role}_id")
    assert open_source(folder).vocabulary == vocabulary


def test_ids_beside_an_onnx_file(tmp_path: Path) -> None:
    import onnxruntime
    import transformers

    vocabulary = MODELS["unigram"]()
    onnx.write(_written(vocabulary, tmp_path), str(tmp_path / "onnx"))
    folder = tmp_path / "onnx" / "discriminator"
    found = transformers.AutoTokenizer.from_pretrained(str(folder))(["天地的"], return_tensors="np")
    ours = SentencePieceTokenizer(vocabulary).encode("天地的")
    assert found["input_ids"].tolist() == [[vocabulary.cls_id, *ours, vocabulary.sep_id]]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    (logits,) = session.run(["logits"], {name: np.asarray(found[name]) for name in _INPUTS})
    assert logits.shape == found["input_ids"].shape
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", ["unigram", "foreign"])
def test_ids_in_a_served_graph(name: str, tmp_path: Path) -> None:
    vocabulary = MODELS[name]()
    saved_model.write(_written(vocabulary, tmp_path), str(tmp_path / "served"))
    assert (tmp_path / "served" / "assets" / "spm.model").read_bytes() == vocabulary.model
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    tokenizer = SentencePieceTokenizer(vocabulary)
    texts = ["天地的", "", "我们 Hello"]
    found = loaded.signatures["texts"](texts=tf.constant(texts))
    for row, mask, text in zip(found["input_ids"], found["input_mask"], texts, strict=True):
        expected = [vocabulary.cls_id, *tokenizer.encode(text), vocabulary.sep_id]
        assert row[np.asarray(mask) > 0].numpy().tolist() == expected
