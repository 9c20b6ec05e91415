"""Files in the forms of other tools and of published releases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert import tensor_files, tokenizer_files
from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.errors import UserError
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import part_shapes
from electra_zh.training import tensor_file
from support.converting import make_run, make_start

HEADS = SourceSettings(num_attention_heads=2)


def _save(prefix: Path, variables: Mapping[str, object]) -> None:
    """Writes a TF1 checkpoint as a Saver does, by names alone."""
    order = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=order,
        shape_and_slices=[""] * len(order),
        tensors=[tf.constant(variables[name]) for name in order],
    )


def _google(run_folder: str) -> dict[str, np.ndarray]:
    tensors = open_source(run_folder).tensors
    return {weight_names.GOOGLE_ELECTRA.theirs(name): value for name, value in tensors.items()}


def test_written_names_are_the_references(tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run")
    google.write(open_source(run.folder), str(tmp_path / "google"))
    found = dict(tf.train.list_variables(str(tmp_path / "google")))
    expected = {
        weight_names.GOOGLE_ELECTRA.theirs(v.name): v.shape.as_list()
        for v in state.objective.trainable_variables
    }
    assert found == {**expected, "global_step": []}
    assert tf.train.latest_checkpoint(str(tmp_path / "google")).endswith("model.ckpt-7")
    assert tf.train.load_variable(str(tmp_path / "google"), "global_step") == 7


def test_slots_of_the_optimizer_are_skipped(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    variables = _google(run.folder)
    slots = {f"{name}/{end}": v for name, v in variables.items() for end in ("adam_m", "adam_v")}
    _save(tmp_path / "model.ckpt-60", {**variables, **slots, "global_step": np.int64(60)})
    found = open_source(str(tmp_path / "model.ckpt-60"), hints=HEADS)
    assert (len(found.tensors), found.step, found.unused) == (len(variables), 60, ())


def test_a_discriminator_without_generator_and_step(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    variables = {n: v for n, v in _google(run.folder).items() if not n.startswith("generator")}
    _save(tmp_path / "electra_small", variables)
    found = open_source(str(tmp_path), hints=HEADS)
    assert (found.generator, found.step) == (None, None)
    assert found.has("rtd_head")
    assert not found.has("masked_lm_head")


def test_a_generator_with_a_missing_tensor(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    variables = _google(run.folder)
    del variables["generator/encoder/layer_0/output/dense/bias"]
    _save(tmp_path / "model", variables)
    with pytest.raises(UserError, match=r"1 of \d+ tensors are missing: generator/layers/0/output"):
        open_source(str(tmp_path), hints=HEADS)


def test_bert_of_google(tmp_path: Path) -> None:
    size = ModelConfig(100, 64, 64, 3, 1, 48, max_position_embeddings=40)
    generator = np.random.default_rng(0)
    shapes = part_shapes("encoder", size) | part_shapes("masked_lm_head", size)
    ours = {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    variables = {weight_names.GOOGLE_BERT.theirs(name): value for name, value in ours.items()}
    others = {
        "bert/pooler/dense/kernel": np.zeros([64, 64], np.float32),
        "bert/pooler/dense/bias": np.zeros(64, np.float32),
        "cls/seq_relationship/output_weights": np.zeros([2, 64], np.float32),
        "cls/seq_relationship/output_bias": np.zeros(2, np.float32),
    }
    _save(tmp_path / "bert_model.ckpt", {**variables, **others})
    found = open_source(str(tmp_path))
    assert found.model == size
    assert sorted(found.unused) == sorted(others)
    for name, value in ours.items():
        np.testing.assert_array_equal(found.tensors[name], value)
    files = tmp_path / "bert_config.json"
    files.write_text('{"num_attention_heads": 4, "hidden_act": "gelu"}', encoding="utf-8")
    assert open_source(str(tmp_path)).model.num_attention_heads == 4
    files.write_text('{"hidden_act": "relu"}', encoding="utf-8")
    with pytest.raises(UserError, match=r'bert_config\.json: hidden_act is "relu"'):
        open_source(str(tmp_path))


def test_checkpoints_of_other_models(tmp_path: Path) -> None:
    _save(tmp_path / "model", {"resnet/kernel": np.zeros([2, 2], np.float32)})
    with pytest.raises(UserError, match=r"not a checkpoint of ELECTRA or BERT\. It holds resnet/"):
        open_source(str(tmp_path))
    _save(tmp_path / "other", {"electra/x": np.zeros([2, 2], np.float32)})
    with pytest.raises(UserError, match=r"holds several checkpoints; give one of: .*model, "):
        open_source(str(tmp_path))
    with pytest.raises(UserError, match="is not an ELECTRA or BERT model"):
        open_source(str(tmp_path / "other"))


def test_old_names_of_transformers(tmp_path: Path) -> None:
    """Files of 2019 have gamma and beta, a second output layer, and saved position ids."""
    run, _ = make_run(tmp_path / "run")
    source = open_source(run.folder)
    huggingface.write(source, str(tmp_path / "hf"))
    path = tmp_path / "hf" / "generator" / "model.safetensors"
    table = tensor_files.read_safetensors(str(path))
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in table.items()
    }
    words = table["electra.embeddings.word_embeddings.weight"]
    more = {"generator_lm_head.weight": words, "electra.embeddings.position_ids": np.arange(4.0)}
    tensor_file.write(str(path), {**old, **more})
    again = open_source(str(tmp_path / "hf"))
    assert set(again.tensors) == set(source.tensors)
    assert again.unused == ()
    tensor_file.write(str(path), {**old, "generator_lm_head.weight": words + 1})
    untied = open_source(str(tmp_path / "hf" / "generator"))
    assert not untied.has("masked_lm_head")
    assert "generator_lm_head.weight" in untied.unused


def test_vocabulary_of_a_fast_tokenizer(tmp_path: Path) -> None:
    tokens = make_start().vocabulary.tokens
    ids = ", ".join(f'"{token}": {number}' for number, token in enumerate(tokens))
    text = f'{{"model": {{"type": "WordPiece", "vocab": {{{ids}}}}}}}'
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    found = tokenizer_files.read_vocabulary(str(tmp_path), rows=len(tokens))
    assert found is not None
    assert found.tokens == tokens
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    with pytest.raises(UserError, match="is a BPE tokenizer, not WordPiece"):
        tokenizer_files.read_vocabulary(str(tmp_path), rows=len(tokens))
