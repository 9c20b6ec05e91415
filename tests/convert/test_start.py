"""Fine-tuning starts with the same encoder from every form of a model."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.pretrained import load_pretrained
from electra_zh.models.encoder import Encoder
from electra_zh.models.weight_names import variable_name
from support.converting import make_fine_tuned, make_run


def test_every_form_gives_the_same_encoder(tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run")
    source = open_source(run.folder)
    huggingface.write(source, str(tmp_path / "hf"))
    google.write(source, str(tmp_path / "google"))
    expected = {v.name: v.numpy() for v in state.objective.encoder.trainable_variables}
    for path in ("run", "hf", "hf/discriminator", "google", "google/model.ckpt-7"):
        start = load_pretrained(str(tmp_path / path))
        assert start.model == run.config.model
        assert start.make_tokenizer().encode("天地") == run.make_tokenizer().encode("天地")
        encoder = Encoder(start.model, "encoder", seed=3)
        start.restore(encoder)
        for variable in encoder.trainable_variables:
            np.testing.assert_array_equal(variable, expected[variable.name])
        assert start.identity()["vocabulary"] == run.vocabulary.sha256
        assert start.identity()["weights"] == load_pretrained(run.folder).identity()["weights"]


def test_a_generator_alone_is_an_encoder_too(tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run")
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    start = load_pretrained(str(tmp_path / "hf" / "generator"))
    encoder = Encoder(start.model, "encoder", seed=3)
    start.restore(encoder)
    objective = state.objective
    by_name = {variable_name(v.name): v.numpy() for v in objective.trainable_variables}
    found = encoder.layers[0].output.kernel
    np.testing.assert_array_equal(found, by_name["generator/layers/0/output/kernel"])


def test_random_weights_of_a_foreign_model(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    google.write(open_source(run.folder), str(tmp_path / "google"))
    start = load_pretrained(str(tmp_path / "google"), from_scratch=True)
    encoder = Encoder(start.model, "encoder", seed=3)
    before = encoder.embeddings.word_embeddings.numpy()
    start.restore(encoder)
    np.testing.assert_array_equal(before, encoder.embeddings.word_embeddings)
    assert start.identity()["weights"] != load_pretrained(run.folder).identity()["weights"]


@pytest.mark.parametrize(
    ("of_run", "given", "expected"),
    [("local", None, "local"), ("normal", None, "normal"), ("local", "normal", "normal")],
)
def test_random_weights_start_as_the_run_did(
    of_run: str, given: str | None, expected: str, tmp_path: Path
) -> None:
    make_run(tmp_path / "run", attention_start=of_run)
    start = load_pretrained(str(tmp_path / "run"), from_scratch=True, attention_start=given)
    assert start.attention_start == expected
    assert ("attention_start" in start.identity()) == (expected == "local")
    plain = dataclasses.replace(start, attention_start="normal")
    task = make_fine_tuned(tmp_path / "model", {"name": "t", "kind": "choice"})
    plain_model, model = (TaskModel(each, task.kinds, seed=3) for each in (plain, start))
    kernels = (each.encoder.layers[0].attention.query.kernel for each in (plain_model, model))
    assert np.array_equal(*kernels) == (expected == "normal")
    assert load_pretrained(str(tmp_path / "run")).attention_start == "normal"


@pytest.mark.parametrize("name", ["run", "model"])
def test_random_weights_need_no_checkpoint(name: str, tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    make_fine_tuned(tmp_path / "model", {"name": "t", "kind": "choice"})
    folder = tmp_path / name
    trained = load_pretrained(str(folder), from_scratch=True)
    shutil.rmtree(folder / "checkpoints")
    start = load_pretrained(str(folder), from_scratch=True)
    assert (start, start.tensors, start.checkpoint) == (trained, {}, "")
    with pytest.raises(UserError, match="There is no checkpoint"):
        load_pretrained(str(folder))


def test_paths_that_fine_tuning_cannot_start_from(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    google.write(open_source(run.folder), str(tmp_path / "google"))
    with pytest.raises(UserError, match=r"--checkpoint 7 is for runs of this tool"):
        load_pretrained(str(tmp_path / "google"), checkpoint=7)
    (tmp_path / "google" / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"has no vocabulary: put its vocab\.txt or spm"):
        load_pretrained(str(tmp_path / "google"))
    with pytest.raises(UserError, match=r"--model: .*none does not exist"):
        load_pretrained(str(tmp_path / "none"))
