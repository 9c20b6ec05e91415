"""Writing and reading a model again gives the same bits, in every direction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.convert.weights import Weights
from electra_zh.models.weight_names import variable_name
from electra_zh.settings import load_recipe, recipe_names
from support.converting import make_fine_tuned, make_run, make_vocabulary, open_fine_tuned
from support.networks import FURTHER_KINDS


def _size(name: str) -> dict[str, object]:
    """A shipped size with its layers and heads, and widths of two a head."""
    values = load_recipe(name, kind="model")
    heads, layers = values["num_attention_heads"], values["num_hidden_layers"]
    projected = values["embedding_size"] != values["hidden_size"]
    widths = {"hidden_size": 2 * heads, "embedding_size": 3 if projected else 2 * heads}
    return {"num_attention_heads": heads, "num_hidden_layers": layers, **widths}


RUNS: dict[str, dict[str, object]] = {
    **{f"size {name}": {"model": _size(name)} for name in recipe_names("model")},
    "shared": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network for both": {"untied_generator": False},
    "uniform generator": {"uniform_generator": True},
    "masked lm": {"objective": "masked_lm"},
    "BERT": {"objective": "masked_lm", "model": {"embedding_size": 16}},
    "no projection": {"model": {"embedding_size": 16}},
}


def _same(one: Weights, other: Weights) -> None:
    assert set(one.tensors) == set(other.tensors)
    for name, value in one.tensors.items():
        np.testing.assert_array_equal(value, other.tensors[name], err_msg=name)


@pytest.mark.parametrize("kind", FURTHER_KINDS)
def test_heads_of_this_tool_are_left_out_and_named(kind: str, tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run", **FURTHER_KINDS[kind])
    source = open_source(run.folder)
    own = {name.partition("/")[0] for name in source.own}
    line = f"not exported, since no other format has them: {', '.join(sorted(own))}"
    assert (line in source.lines()) == bool(own)
    encoder = state.objective.encoder
    name = "encoder/embeddings/word_embeddings"
    np.testing.assert_allclose(source.tensors[name], encoder.embeddings.table(), rtol=1e-6)
    for write in (google.write, huggingface.write):
        path = tmp_path / write.__module__
        write(source, str(path))
        back = open_source(str(path))
        _same(source, back)
        assert not back.own


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_through_all_forms(kind: str, tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run", **RUNS[kind])
    source = open_source(run.folder)
    assert source.step == 7
    ours = {variable_name(v.name): v.numpy() for v in state.objective.trainable_variables}
    assert set(ours) == set(source.tensors)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, source.tensors[name], err_msg=name)

    google.write(source, str(tmp_path / "google"))
    back = open_source(str(tmp_path / "google"))
    _same(source, back)
    assert (back.model, back.generator, back.step) == (source.model, source.generator, 7)
    assert back.vocabulary == source.vocabulary

    huggingface.write(back, str(tmp_path / "hf"))
    again = open_source(str(tmp_path / "hf"))
    if kind == "one network for both":
        # Two folders are two networks: the generator comes back as a copy.
        copies = {name for name in again.tensors if name.startswith("generator/")}
        assert copies == {
            name.replace("encoder/layers", "generator/layers").replace(
                "encoder/projection", "generator/projection"
            )
            for name in source.tensors
            if name.startswith(("encoder/layers", "encoder/projection"))
        }
    else:
        _same(source, again)
        assert (again.model, again.generator) == (source.model, source.generator)
    assert again.vocabulary == make_vocabulary()


def test_a_masked_lm_of_bert_s_form_is_written_as_bert(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run", **RUNS["BERT"])
    source = open_source(run.folder)
    assert huggingface.write(source, str(tmp_path / "hf")) == [f"{tmp_path}/hf: BertForMaskedLM"]
    saved = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert (saved["model_type"], saved["architectures"]) == ("bert", ["BertForMaskedLM"])
    assert "embedding_size" not in saved
    assert open_source(str(tmp_path / "hf")).kind == "BERT of Hugging Face"
    (written,) = google.write(source, str(tmp_path / "google"))
    assert written.endswith("variables under BERT's names")
    assert (tmp_path / "google" / "bert_config.json").exists()
    assert open_source(str(tmp_path / "google")).kind == "BERT of Google's code (TF1)"


def test_settings_that_googles_code_fixes(tmp_path: Path) -> None:
    model = {"layer_norm_eps": 1e-5}
    run, _ = make_run(tmp_path / "run", model=model, generator_heads=2, generator_hidden_size=0.5)
    _, *notes = google.write(open_source(run.folder), str(tmp_path / "google"))
    assert notes == [
        "note: layer_norm_eps is 1e-05, but 1e-12 in Google's code",
        "note: the generator has 2 attention heads, but 1 in Google's code (width / 64)",
    ]


def test_sizes_are_inferred_from_the_shapes(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run", model={"num_attention_heads": 1})
    source = open_source(run.folder)
    google.write(source, str(tmp_path / "google"))
    for name in ("discriminator.json", "generator.json", "vocab.txt", "checkpoint"):
        (tmp_path / "google" / name).unlink()
    for path in ("google", "google/model.ckpt-7", "google/model.ckpt-7.index"):
        back = open_source(str(tmp_path / path), hints=SourceSettings(num_attention_heads=1))
        _same(source, back)
        assert (back.model, back.generator) == (source.model, source.generator)
        assert back.vocabulary is None
        assert any("attention heads of the generator" in note for note in back.notes)


TASKS: dict[str, dict[str, object]] = {
    "classes": {"kind": "classification", "labels": ["a", "b", "c"]},
    "labels": {"kind": "multi_label", "labels": ["a", "b"]},
    "number": {"kind": "regression", "labels": ["0", "5"]},
    "tags": {"kind": "tagging", "labels": ["PER", "ORG"]},
    "spans": {"kind": "span"},
    "choices": {"kind": "choice"},
    "blanks": {"kind": "cloze"},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_fine_tuned_model_keeps_encoder_and_labels(name: str, tmp_path: Path) -> None:
    tuned = make_fine_tuned(tmp_path / "model", {"name": name, **TASKS[name]})
    source = open_fine_tuned(tmp_path / "model")
    ours = {variable_name(v.name): v.numpy() for v in tuned.model.trainable_variables}
    assert set(ours) == set(source.tensors)
    written = huggingface.write(source, str(tmp_path / "hf"))
    assert len(written) == (2 if name == "number" else 1)
    if name == "number":
        assert written[1] == "note: 0 to 1 of the output of number stand for 0 to 5"
    back = open_source(str(tmp_path / "hf"))
    assert back.part("encoder").keys() == source.part("encoder").keys()
    assert len(back.unused) == len(source.part("heads"))
    if name == "tags":
        assert source.tasks[0].outputs == tuned.kinds[name].tags  # type: ignore[attr-defined]


def test_several_tasks_are_several_folders(tmp_path: Path) -> None:
    tasks = [{"name": name, **TASKS[name]} for name in ("classes", "tags")]
    make_fine_tuned(tmp_path / "model", *tasks)
    huggingface.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "hf"))
    assert sorted(path.name for path in (tmp_path / "hf").iterdir()) == ["classes", "tags"]


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ({"kind": "classification", "labels": ["a", "b"], "head": "reference"}, "one-layer head"),
        ({"kind": "span", "reading": {"joint_prediction": True}}, "joint_prediction"),
        ({"kind": "span", "reading": {"answerability": True}}, "answerability"),
        ({"kind": "span", "labels": ["YES", "NO"]}, "answer_type"),
    ],
)
def test_heads_without_a_class_are_refused(
    task: dict[str, object], what: str, tmp_path: Path
) -> None:
    make_fine_tuned(tmp_path / "model", {"name": "t", **task})
    source = open_fine_tuned(tmp_path / "model")
    with pytest.raises(ValueError, match=f"task t has .*{what}, which no class"):
        huggingface.write(source, str(tmp_path / "hf"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    with pytest.raises(ValueError, match="is a fine-tuned model"):
        google.write(source, str(tmp_path / "google"))
