"""Damaged, foreign and unfit files give an error of one line that names the problem."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert import tensor_files
from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.training import tensor_file
from support.converting import make_run
from support.networks import GOLDEN

HUGE = '{"num_attention_heads": 2, "num_hidden_layers": 1e6}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A discriminator in the form of transformers."""
    run, _ = make_run(tmp_path / "run")
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    return tmp_path / "hf" / "discriminator"


def _change(path: Path, **changes: object) -> None:
    saved = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**saved, **changes}), encoding="utf-8")


def test_truncated_safetensors(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model.safetensors is not a complete safetensors file"):
        open_source(str(folder))


def test_a_shape_that_does_not_match_the_settings(folder: Path) -> None:
    _change(folder / "config.json", intermediate_size=25)
    expected = r"layers/0/intermediate/kernel has shape \[16, 24\]; .* it is \[16, 25\]"
    with pytest.raises(UserError, match=expected):
        open_source(str(folder))


def test_weights_that_are_not_numbers(folder: Path) -> None:
    path = str(folder / "model.safetensors")
    tensors = tensor_files.read_safetensors(path)
    name = "electra.encoder.layer.0.output.dense.bias"
    tensor_file.write(path, {**tensors, name: np.full_like(tensors[name], np.nan)})
    with pytest.raises(UserError, match=r"not finite \(NaN\): encoder/layers/0/output/bias"):
        open_source(str(folder))


def test_missing_layers(folder: Path) -> None:
    _change(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(UserError, match=r"16 of \d+ tensors are missing: encoder/layers/2/"):
        open_source(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_decoder": True}, "is_decoder is true"),
        ({"model_type": "gpt2"}, 'model_type is "gpt2"; allowed: electra, bert'),
        ({"hidden_act": "relu"}, 'hidden_act is "relu"'),
        ({"position_embedding_type": "relative_key"}, "allowed: absolute"),
    ],
)
def test_other_networks(folder: Path, changes: dict[str, object], message: str) -> None:
    _change(folder / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        open_source(str(folder))


def test_other_vocabulary(folder: Path) -> None:
    path = folder / "vocab.txt"
    path.write_text(path.read_text(encoding="utf-8") + "x\ny\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"the vocabulary has \d+ tokens but .*word_embeddings"):
        open_source(str(folder))


@pytest.mark.parametrize(
    ("name", "saved", "message"),
    [
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": 1}}', "is damaged"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"5": {}}}', "'content' is missing"),
        ("tokenizer_config.json", "[]", "is not a JSON object"),
        ("tokenizer.json", '{"normalizer": 5, "added_tokens": 7}', "is damaged"),
        ("added_tokens.json", '{"added_tokens": [{"id": []}]}', "is damaged"),
        ("config.json", '{"num_attention_heads": "x"}', "heads must be a whole number"),
        ("config.json", HUGE, "num_hidden_layers must be at least 1 and at most 1,000"),
    ],
)
def test_settings_of_other_types(folder: Path, name: str, saved: str, message: str) -> None:
    (folder / name).write_text(saved, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{name}.*{message}"):
        open_source(str(folder))


def test_a_fast_tokenizer_of_other_types(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    vocabulary = '{"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "a": "1", "b": []}}}'
    (folder / "tokenizer.json").write_text(vocabulary, encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer\.json has no valid WordPiece vocabulary"):
        open_source(str(folder))


def test_shards(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = tensor_files.read_safetensors(str(path))
    path.unlink()
    names = sorted(whole)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, part_names in parts.items():
        tensors = {name: whole[name] for name in part_names}
        tensor_file.write(str(folder / part), tensors)
    places = {name: part for part, part_names in parts.items() for name in part_names}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    found = open_source(str(folder))
    assert found.has("rtd_head")
    for name in ("model.safetensors.index.json", "config.json"):
        assert open_source(str(folder / name)).tensors.keys() == found.tensors.keys()
    # A tensor that an earlier version had in another file.
    old = {name: whole[name] for name in parts["b.safetensors"]} | {names[0]: whole[names[0]] + 1}
    tensor_file.write(str(folder / "b.safetensors"), old)
    assert open_source(str(folder)).digest() == found.digest()
    (folder / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"No such file: .*b\.safetensors"):
        open_source(str(folder))


def test_bfloat16_and_float16(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5], [0.5, 3.0]], np.float32)
    high = (values.view(np.uint32) >> 16).astype("<u2")
    header = json.dumps(
        {
            "a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
            "b": {"dtype": "F16", "shape": [2, 2], "data_offsets": [8, 16]},
        }
    ).encode()
    body = high.tobytes() + values.astype("<f2").tobytes()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    found = tensor_files.read_safetensors(str(path))
    assert found["a"].tolist() == found["b"].tolist() == values.tolist()


def test_truncated_tf1(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    google.write(open_source(run.folder), str(tmp_path / "google"))
    path = next((tmp_path / "google").glob("*.data-*"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.ckpt-7 cannot be read"):
        open_source(str(tmp_path / "google"))
    index = next((tmp_path / "google").glob("*.index"))
    index.write_bytes(b"no index")
    with pytest.raises(UserError, match=r"model\.ckpt-7 cannot be read"):
        open_source(str(tmp_path / "google"))


def test_damaged_run(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "ckpt-7" / "model.safetensors").write_bytes(b"xx")
    with pytest.raises(UserError, match=r"ckpt-7 is damaged: .*model\.safetensors"):
        open_source(run.folder)


def test_a_checkpoint_of_an_old_run_without_its_folder(tmp_path: Path) -> None:
    for path in (GOLDEN / "old_run" / "run" / "checkpoints").glob("ckpt-10.*"):
        shutil.copy(path, tmp_path)
    with pytest.raises(UserError, match="give the run's folder"):
        open_source(str(tmp_path / "ckpt-10"))


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"No model found in .* Expected one of: the folder of a run"
    ):
        open_source(str(tmp_path))
    with pytest.raises(UserError, match="does not exist"):
        open_source(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="is not a JSON object"):
        open_source(str(tmp_path))


def test_an_existing_folder_is_not_touched(tmp_path: Path, folder: Path) -> None:
    source = open_source(str(folder))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="exists; choose another --output"):
        huggingface.write(source, str(folder))
    with pytest.raises(UserError, match="exists; choose another --output"):
        google.write(source, str(folder))
    assert sorted(tmp_path.rglob("*")) == before
