"""The folders of runs and fine-tuned models are written and read in one layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.convert import model_folder
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from support.converting import make_fine_tuned, make_run, open_fine_tuned

TASK = {"name": "topics", "kind": "classification", "labels": ["a", "b"]}


def test_the_layout_of_a_run(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert set(saved) == {"version", "pretrain", "tokenizer", "data_fingerprint"}
    assert saved["pretrain"] == json.loads(json.dumps(run.config.to_dict()))
    found = model_folder.load(run.folder)
    assert (found.fine_tuned, found.tasks, found.data_fingerprint) == (False, (), "made")
    assert found.model(where="config.json") == run.config.model
    assert found.vocabulary == run.vocabulary


def test_the_layout_of_a_fine_tuned_model(tmp_path: Path) -> None:
    tuned = make_fine_tuned(tmp_path / "model", TASK)
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    assert set(saved) == {"version", "finetuned", "tokenizer"}
    assert set(saved["finetuned"]) == {"model", "tasks", "start"}
    found = model_folder.load(str(tmp_path / "model"))
    assert (found.fine_tuned, found.trained(), found.init) == (True, None, None)
    assert [task["name"] for task in found.tasks] == ["topics"]
    weights = open_fine_tuned(tmp_path / "model")
    assert weights.model == tuned.model.encoder.config
    assert weights.tasks[0].outputs == ("a", "b")
    assert weights.checkpoint == f"{tmp_path}/model/checkpoints/ckpt-1"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "is not a JSON object"),
        ("{}", "is not the settings of a pretraining run or of a fine-tuned model"),
        ('{"pretrain": {"seed": 1}}', "the model's size is missing"),
        ('{"pretrain": {"model": {}}, "train_data": 5}', "`train_data` is 5"),
    ],
)
def test_settings_that_are_damaged(config: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        model_folder.load(str(tmp_path))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("pretrain/train_batch_size", None, r"'train_batch_size' is missing"),
        ("pretrain/max_seq_length", "x", r"not supported between instances"),
        ("pretrain/generator_layers", [], r"__round__"),
        ("init", {"positions": []}, r"not supported between instances"),
        ("finetuned/tasks/0/name", None, r"'name' is missing"),
        ("finetuned/tasks/0/labels", 5, r"no attribute 'get'"),
        ("finetuned/tasks/0/training", 5, r"not a mapping"),
    ],
)
def test_values_of_other_types_are_damage(
    place: str, value: object, message: str, tmp_path: Path
) -> None:
    if place.startswith("finetuned"):
        make_fine_tuned(tmp_path, TASK)
    else:
        make_run(tmp_path)
    path = tmp_path / "config.json"
    saved = inner = json.loads(path.read_text())
    *sections, name = place.split("/")
    for section in sections:
        inner = inner[int(section) if section.isdigit() else section]
    inner[name] = value
    if value is None:
        del inner[name]
    path.write_text(json.dumps(saved))
    with pytest.raises(UserError, match=rf"config\.json is damaged \(.*{message}.*\)\. Restore it"):
        open_source(str(tmp_path))


def test_a_checkpoint_without_its_run_is_not_a_source(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    checkpoint = Path(run.folder, "checkpoints", "ckpt-7").rename(tmp_path / "ckpt-7")
    with pytest.raises(UserError, match=r"ckpt-7 is a checkpoint: give the run's folder"):
        open_source(str(checkpoint))
