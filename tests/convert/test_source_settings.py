"""The sizes of foreign models: from files of any usual name, from shapes, and from the user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from electra_zh.cli import parse
from electra_zh.convert import tensor_files
from electra_zh.convert.source import open_source
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.errors import UserError
from electra_zh.finetuning.pretrained import load_pretrained
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import part_shapes
from support.converting import make_run

# As CLUE's tiny models: 64 does not divide the width.
SIZE = ModelConfig(100, 36, 36, 2, 6, 48, max_position_embeddings=40)
SHAPES = {name: getattr(SIZE, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size")}


def _write_bert(folder: Path, size: ModelConfig = SIZE, scope: str = "") -> Path:
    """Writes a TF1 BERT without settings."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {
        scope + weight_names.GOOGLE_BERT.theirs(name): np.ones(shape, np.float32)
        for name, shape in part_shapes("encoder", size).items()
    }
    tensor_files.write_tf1(str(folder / "bert_model.ckpt"), variables)
    return folder


def _write(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "bert_config.json", "electra_config.json", "discriminator.json"),
        *("bert_config_tiny_clue.json", "my-config-v2.json", "model_hparams.json", "hparams"),
    ],
)
def test_settings_under_any_usual_name(name: str, tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model")
    for path in (folder / name, tmp_path / name):  # next to the checkpoint, or one folder above
        _write(path, {**SHAPES, "num_attention_heads": 12, "hidden_act": "gelu"})
        found = open_source(str(folder))
        assert found.model.num_attention_heads == 12
        assert len(found.notes) == (path.parent == tmp_path)
        path.unlink()


def test_hyperparameters_of_the_official_code(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model")
    sizes = {"hidden_size": 36, "num_hidden_layers": 2}
    hparams = {"model_size": "small", "embedding_size": None, "model_hparam_overrides": sizes}
    _write(folder / "hparams.json", hparams)
    # Without a number of heads, the official code computes it from the width.
    assert open_source(str(folder)).model.num_attention_heads == 1
    hparams["model_hparam_overrides"] = {**sizes, "num_attention_heads": 12}
    _write(folder / "hparams.json", {"hparams": hparams})
    assert open_source(str(folder)).model.num_attention_heads == 12


def test_heads_are_not_guessed_where_64_does_not_divide_the_width(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model")
    with pytest.raises(UserError, match=r"64 does not divide its width 36: give model\.num_att"):
        open_source(str(folder))
    given = open_source(str(folder), hints=SourceSettings(num_attention_heads=12))
    assert (given.model.num_attention_heads, given.notes, given.heads_assumed) == (12, (), False)
    with pytest.raises(UserError, match="hidden_size 36 is not a multiple of num_attention_heads"):
        open_source(str(folder), hints=SourceSettings(num_attention_heads=5))


def test_an_assumption_is_a_note_for_the_end(tmp_path: Path) -> None:
    size = ModelConfig(100, 128, 128, 1, 2, 48, max_position_embeddings=40)
    found = open_source(str(_write_bert(tmp_path / "model", size)))
    assert (found.model.num_attention_heads, found.heads_assumed) == (2, True)
    (note,) = found.notes
    assert note.startswith("assumed 2 attention heads (width / 64), as no file says; if that is")
    assert not any("assumed" in line for line in found.lines())


def test_a_width_of_a_shipped_size_names_its_heads(tmp_path: Path) -> None:
    size = ModelConfig(10, 312, 312, 1, 12, 1200, max_position_embeddings=8)
    with pytest.raises(UserError, match=r"width 312 \(the size tiny of this tool has 12 heads\)"):
        open_source(str(_write_bert(tmp_path / "model", size)))


def test_files_that_contradict_each_other_or_the_tensors(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model")
    _write(folder / "config.json", {"hidden_size": 768, "num_attention_heads": 12})
    with pytest.raises(UserError, match=r"config\.json has hidden_size 768, and the tensors have"):
        open_source(str(folder))
    # Another model's settings next to the right ones.
    _write(folder / "bert_config_tiny.json", {**SHAPES, "num_attention_heads": 4})
    assert open_source(str(folder)).model.num_attention_heads == 4
    _write(folder / "config.json", {**SHAPES, "num_attention_heads": 12})
    with pytest.raises(UserError, match=r"num_attention_heads is 12 in .*config\.json and 4 in"):
        open_source(str(folder))
    with pytest.raises(UserError, match=r"num_attention_heads=12 contradicts .*tiny\.json, which"):
        open_source(str(folder), hints=SourceSettings(num_attention_heads=12))


def test_sizes_that_are_given_are_checked(tmp_path: Path) -> None:
    folder = str(_write_bert(tmp_path / "model"))
    hints = SourceSettings(num_attention_heads=6, max_position_embeddings=40)
    assert open_source(folder, hints=hints).model == SIZE
    hints = SourceSettings(num_attention_heads=6, max_position_embeddings=512)
    with pytest.raises(UserError, match=r"max_position_embeddings=512 contradicts .* has 40: omit"):
        load_pretrained(folder, hints=hints)
    run, _ = make_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"num_attention_heads=4 contradicts .*, which has 2"):
        open_source(run.folder, hints=SourceSettings(num_attention_heads=4))


def test_the_words_of_the_commands() -> None:
    for name, words in (
        ("convert", ["m", "--to", "google", "--output", "o"]),
        ("finetune", ["--model", "m", "--task", "tnews", "--data", "d", "--output", "o"]),
    ):
        call = parse(name, [*words, "model.num_attention_heads=4", "--no-lower-case"])
        hints = call.settings.source_settings()
        assert hints == SourceSettings(num_attention_heads=4, lower_case=False)
        call = parse(name, [*words, "--num-attention-heads", "4", "model.hidden_size=64"])
        assert call.settings.sizes() == {"num_attention_heads": 4, "hidden_size": 64}


def test_a_scope_around_all_variables(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model", scope="trained/")
    hints = SourceSettings(num_attention_heads=6)
    assert open_source(str(folder), hints=hints).model == SIZE


def test_a_checkpoint_file_of_another_machine(tmp_path: Path) -> None:
    folder = _write_bert(tmp_path / "model")
    for path in list(folder.iterdir()):
        path.with_name(path.name.replace("bert_model", "other")).write_bytes(path.read_bytes())
    listing = 'model_checkpoint_path: "/home/me/bert_model.ckpt"\n'
    (folder / "checkpoint").write_text(listing, encoding="utf-8")
    hints = SourceSettings(num_attention_heads=6)
    assert open_source(str(folder), hints=hints).path == str(folder / "bert_model.ckpt")
    (folder / "checkpoint").unlink()
    with pytest.raises(UserError, match="holds several checkpoints; give one of"):
        open_source(str(folder), hints=hints)
