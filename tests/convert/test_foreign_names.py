"""Hugging Face folders as people have them: other file names, prefixes, missing settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert import tensor_files
from electra_zh.convert.forms import huggingface
from electra_zh.convert.source import open_source
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.training import tensor_file
from support.converting import make_run

MODEL = "model.safetensors"
Rename = Callable[[str], str]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """A run."""
    return open_source(make_run(tmp_path_factory.mktemp("runs") / "run")[0].folder)


@pytest.fixture
def folder(tmp_path: Path, weights: Weights) -> Path:
    """Its discriminator in the form of transformers."""
    huggingface.write(weights, str(tmp_path / "hf"))
    return tmp_path / "hf" / "discriminator"


def _rename(folder: Path, rename: Rename) -> None:
    path = str(folder / MODEL)
    found = tensor_files.read_safetensors(path)
    tensor_file.write(path, {rename(name): value for name, value in found.items()})


def _change(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    saved = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    saved = {name: value for name, value in saved.items() if value is not None}
    path.write_text(json.dumps(saved), encoding="utf-8")


def _check_same(folder: Path | str, weights: Weights) -> Weights:
    found = open_source(str(folder))
    assert found.model == weights.model
    for name, value in weights.part("encoder").items():
        np.testing.assert_array_equal(found.tensors[name], value)
    return found


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: f"model.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.model.{name}",
        lambda name: name.replace("electra.", "electra._orig_mod."),
        lambda name: name.replace("encoder.layer.0.", "encoder.layer.0._fsdp_wrapped_module."),
        lambda name: name.removeprefix("electra."),
        lambda name: f"backbone.{name.removeprefix('electra.')}",
    ],
)
@pytest.mark.parametrize("model_type", ["electra", None])
def test_prefixes_of_other_tools(
    rename: Rename, model_type: str | None, folder: Path, weights: Weights
) -> None:
    _rename(folder, rename)
    _change(folder, model_type=model_type)
    found = _check_same(folder, weights)
    assert found.has("rtd_head")
    assert (found.kind, found.unused) == ("ELECTRA of Hugging Face", ())
    assert len(found.notes) == (model_type is None)


def test_settings_under_the_name_of_bert(folder: Path, weights: Weights) -> None:
    """HFL's zips for PyTorch."""
    _change(folder, model_type=None, architectures=None)
    (folder / "config.json").rename(folder / "bert_config.json")
    found = _check_same(folder, weights)
    assert found.notes == ("read as ELECTRA by the names of its tensors: no model_type is given",)


def test_a_bert_without_a_type(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run", objective="masked_lm", model={"embedding_size": 16})
    weights = open_source(run.folder)
    huggingface.write(weights, str(tmp_path / "bert"))
    _change(tmp_path / "bert", model_type=None)
    _rename(tmp_path / "bert", lambda name: f"module.{name}")
    found = _check_same(tmp_path / "bert", weights)
    assert found.is_bert


def test_both_networks_in_one_file(folder: Path, weights: Weights) -> None:
    generator = tensor_files.read_safetensors(str(folder.parent / "generator" / MODEL))
    own = tensor_files.read_safetensors(str(folder / MODEL))
    both = {f"generator.{name}": value for name, value in generator.items()}
    both |= {f"discriminator.{name}": value for name, value in own.items()}
    tensor_file.write(str(folder / MODEL), both)
    assert _check_same(folder, weights).has("rtd_head")


def test_two_folders_of_one_model(folder: Path) -> None:
    generator = folder.parent / "generator"
    _change(generator, model_type=None)
    (note,) = open_source(str(folder.parent)).notes
    assert note.startswith("generator: read as ELECTRA by the names of its tensors")
    tokens = (generator / "vocab.txt").read_text(encoding="utf-8").split("\n")
    changed = "\n".join([*tokens[:5], tokens[6], tokens[5], *tokens[7:]])
    (generator / "vocab.txt").write_text(changed, encoding="utf-8")
    with pytest.raises(UserError, match=r"vocabularies of the discriminator and the generator"):
        open_source(str(folder.parent))


def test_other_names_are_shown_with_those_that_are_needed(folder: Path) -> None:
    _rename(folder, lambda name: name.replace("embeddings.word_embeddings", "tokens"))
    expected = r"holds discriminator_predictions.* needed are .* electra\.embeddings\.word_emb"
    with pytest.raises(UserError, match=expected):
        open_source(str(folder))


def test_other_names_of_layers_are_shown(folder: Path) -> None:
    _rename(folder, lambda name: name.replace("encoder.layer.1.", "encoder.layers.1."))
    _change(folder, model_type=None)
    expected = r"missing: encoder/layers/1.* their names in the file: electra\.encoder\.layer\.1\."
    with pytest.raises(UserError, match=expected):
        open_source(str(folder))


@pytest.mark.parametrize("network", ["roberta", "albert", "ernie"])
def test_other_networks_without_a_type_are_refused(network: str, folder: Path) -> None:
    _rename(folder, lambda name: name.replace("electra.", f"{network}."))
    _change(folder, model_type=None)
    with pytest.raises(UserError, match=f"tensors are named {network}\\.\\.\\.; allowed: electra"):
        open_source(str(folder))


def test_a_file_of_another_name(folder: Path, weights: Weights) -> None:
    (folder / MODEL).rename(folder / "epoch-3.safetensors")
    (folder / "training_args.bin").write_bytes(b"not a model")
    _check_same(folder, weights)
    _check_same(folder / "epoch-3.safetensors", weights)
    (folder / "epoch-4.safetensors").write_bytes((folder / "epoch-3.safetensors").read_bytes())
    _check_same(folder / "epoch-4.safetensors", weights)
    with pytest.raises(UserError, match=r"has neither model\.safetensors nor .*, config\.json, ep"):
        open_source(str(folder))


def test_sizes_that_the_settings_omit(folder: Path, weights: Weights) -> None:
    omitted = ("embedding_size", "vocab_size", "type_vocab_size", "max_position_embeddings")
    _change(folder, **dict.fromkeys(omitted))
    _check_same(folder, weights)
    _change(folder, num_attention_heads=None)
    with pytest.raises(UserError, match=r"no file says the number of attention heads, and 64 does"):
        open_source(str(folder))


@pytest.mark.parametrize("more", [5, 0, -3])
def test_rows_that_are_padded(more: int, folder: Path, weights: Weights) -> None:
    """Tensors and settings may have more rows than the vocabulary has tokens."""
    path = str(folder / MODEL)
    found = dict(tensor_files.read_safetensors(path))
    name = "electra.embeddings.word_embeddings.weight"
    found[name] = np.pad(found[name], [(0, 8), (0, 0)])
    tensor_file.write(path, found)
    rows = len(found[name])
    _change(folder, vocab_size=rows + more)
    read = open_source(str(folder))
    assert read.model.vocab_size == rows
    assert "word embeddings: the last 8 rows are padding without a token" in read.lines()
    assert len(read.notes) == bool(more)
    huggingface.write(read, str(folder.parent / "again"))
    again = open_source(str(folder.parent / "again"))
    np.testing.assert_array_equal(again.tensors["encoder/embeddings/word_embeddings"], found[name])
