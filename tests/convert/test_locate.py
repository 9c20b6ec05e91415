"""Every path that names a model finds it; others get the folder to give."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.locate import find_folder, find_model
from electra_zh.convert.source import check_source, open_source
from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import model as models
from electra_zh.pretraining import folder
from support.converting import make_fine_tuned, make_run
from support.networks import GOLDEN

OLD_RUN = GOLDEN / "old_run" / "run"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its converted forms, and the results of fine-tuning on one task and on two."""
    place = tmp_path_factory.mktemp("models")
    make_run(place / "run")
    source = open_source(str(place / "run"))
    huggingface.write(source, str(place / "hf"))
    google.write(source, str(place / "tf1"))
    make_fine_tuned(place / "results" / "t" / "model", {"name": "t", "kind": "choice"})
    trial = place / "results" / "t" / "trial-0"
    trial.mkdir()
    for path in (place / "results" / "results.json", trial / "result.json"):
        path.write_text("{}", encoding="utf-8")
    (trial.parent / "task.json").write_text("{}", encoding="utf-8")
    for name in ("t", "u"):
        shutil.copytree(trial.parent, place / "several" / name)
    return place


@pytest.mark.parametrize(
    ("path", "found"),
    [
        *((f"run{end}", "run") for end in ("", "/", "/config.json", "/vocab.txt", "/checkpoints")),
        *((f"run/checkpoints/ckpt-7{end}", "run") for end in ("", "/", "/state.json")),
        ("run/checkpoints/ckpt-7/model.safetensors", "run"),
        ("run/checkpoints/ckpt-7/optimizer.safetensors", "run"),
        ("hf/discriminator/config.json", "hf/discriminator"),
        ("hf/generator/vocab.txt", "hf/generator"),
        *((f"tf1/model.ckpt-7{end}", "tf1/model.ckpt-7") for end in ("", ".index", ".meta")),
        ("tf1/model.ckpt-7.data-00000-of-00001", "tf1/model.ckpt-7"),
        ("tf1/checkpoint", "tf1"),
        ("results", "results/t/model"),
        ("results/results.json", "results/t/model"),
        ("results/t", "results/t/model"),
        ("results/t/task.json", "results/t/model"),
        ("results/t/model/checkpoints/ckpt-1", "results/t/model"),
        ("several/u", "several/u/model"),
    ],
)
def test_paths_that_name_a_model(path: str, found: str, place: Path) -> None:
    assert find_model(f"{place}/{path}").path == f"{place}/{found}"
    assert open_source(f"{place}/{path}").model.hidden_size in (8, 16)


def test_the_step_of_a_checkpoint_that_is_named(place: Path) -> None:
    path = str(place / "run" / "checkpoints" / "ckpt-7")
    assert find_model(path).step == find_model(path, checkpoint=7).step == 7
    assert find_model(str(place / "run")).step is None
    with pytest.raises(UsageError, match="is not the checkpoint of step 8"):
        find_model(path, checkpoint=8)
    with pytest.raises(UserError, match=r"no checkpoint of step 9 .* Available: 7"):
        open_source(path.replace("ckpt-7", "ckpt-9"))


@pytest.mark.parametrize("end", ["", ".index", ".data-00000-of-00001"])
def test_a_checkpoint_of_an_earlier_version_names_its_run(end: str) -> None:
    found = find_model(f"{OLD_RUN}/checkpoints/ckpt-10{end}")
    assert (found.path, found.step) == (str(OLD_RUN), 10)


def test_names_without_a_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "run" / "checkpoints")
    assert find_model("ckpt-7").step == 7
    monkeypatch.chdir(place / "hf" / "discriminator")
    assert find_model("config.json").path == "."
    monkeypatch.chdir(place / "results" / "t")
    assert find_model(".").path == "./model"


def test_several_models_are_named(place: Path) -> None:
    names = re.escape(f"give one of: {place}/several/t/model, {place}/several/u/model")
    with pytest.raises(UserError, match=f"contains several models; {names}"):
        find_model(str(place / "several"))


def test_a_trial_names_the_folder_to_give(place: Path) -> None:
    for path in ("trial-0", "trial-0/result.json"):
        with pytest.raises(UserError, match=f"give {place}/results/t for that of the best trial"):
            find_model(f"{place}/results/t/{path}")


def test_commands_find_the_kind_that_they_need(place: Path) -> None:
    assert models.load(str(place / "results")).kinds.keys() == {"t"}
    run, step = folder.open_run(str(place / "run" / "checkpoints" / "ckpt-7"))
    assert (run.folder, step) == (str(place / "run"), 7)
    # Only one run is below the folder, next to other models.
    assert find_folder(str(place), fine_tuned=False).path == str(place / "run")
    for path in ("hf", "results"):
        with pytest.raises(UserError, match="is not the folder of a pretraining run"):
            folder.open_run(str(place / path))
    with pytest.raises(UserError, match="none does not exist: give the folder of a pretraining"):
        folder.open_run(str(place / "none"))
    for path in ("run", "hf/discriminator"):
        with pytest.raises(UserError, match=r"is not a fine-tuned model of this tool\. Run"):
            models.load(str(place / path))


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    """Not the checkpoints below them."""
    checkpoint = tmp_path / "t" / "model" / "checkpoints" / "ckpt-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    settings = tmp_path / "t" / "model" / "config.json"
    for text, message in (
        ("{", "is not valid JSON"),
        ('{"finetuned": {"model": {}, "tasks": [1]}}', "`tasks` is not a list of tasks"),
    ):
        settings.write_text(text)
        for path in (tmp_path, tmp_path / "t"):
            with pytest.raises(UserError, match=rf"t/model/config\.json:? {message}"):
                find_folder(str(path), fine_tuned=True)
    settings.unlink()
    with pytest.raises(UserError, match=r"No model found in .*: its config\.json is missing"):
        find_model(str(tmp_path / "t" / "model"))


def test_values_of_wrong_types_are_damage(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    settings = json.loads((run / "config.json").read_text())
    wrong = {**settings, "pretrain": {**settings["pretrain"], "max_seq_length": "long"}}
    for changed, message in (
        (wrong, r"run/config\.json is damaged .*Restore it"),
        ({**settings, "data": -1}, r"config\.json: `data` is -1"),
    ):
        (run / "config.json").write_text(json.dumps(changed))
        for read in (open_source, check_source):
            with pytest.raises(UserError, match=message):
                read(str(run), settings_only=True)


def test_a_file_that_is_not_of_a_model(place: Path) -> None:
    """No model is searched next to it."""
    notes = place / "results" / "notes.txt"
    notes.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"No model found in .*notes\.txt"):
        find_model(str(notes))


def test_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"If it is a model of the Hugging Face hub, download it"):
        find_model("hfl/chinese-electra-180g-small-discriminator")
    with pytest.raises(UserError, match=r"`hf download hfl/chinese-electra --local-dir FOLDER`"):
        find_folder("hfl/chinese-electra", fine_tuned=False)
