"""Wrong paths and names are errors before TensorFlow or JAX is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from electra_zh import cli
from electra_zh.commands import COMMANDS
from electra_zh.data.build.run import build
from electra_zh.errors import UserError
from electra_zh.finetuning import model
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.model import TaskModel
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, make_settings, make_text
from support.tuning import make_start, make_task

FINETUNE = "finetune --task tnews --data"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of inputs: data, a fine-tuned model, task files, and files of wrong kinds."""
    folder = tmp_path_factory.mktemp("place")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS]).save(str(folder / "vocab.txt"))
    (folder / "text").write_text(make_text(20), encoding="utf-8")
    build(make_settings(folder / "text", str(folder / "vocab.txt"), folder / "data"))
    start = make_start()
    kinds = {"texts": make_kind(make_task(), max_position_embeddings=64)}
    model.save(str(folder / "tuned"), start, kinds, TaskModel(start, kinds, seed=0))
    (folder / "tasks/tnews").mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"tasks/tnews/{split}.json").write_text("{}\n")
    (folder / "empty").mkdir()
    (folder / "empty.txt").write_text("")
    (folder / "junk").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture(autouse=True)
def without_tensorflow(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it an error that a command loads TensorFlow or looks for devices."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("TensorFlow or JAX would be loaded")

    monkeypatch.chdir(place)
    for entry in COMMANDS.values():
        module = importlib.import_module(f"electra_zh.commands.{entry.module}")
        for name in ("load_tensorflow", "choose"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, fail)
    monkeypatch.setattr("electra_zh.runtime.device.choose", fail)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{FINETUNE} tasks --model none --output new", "--model: none does not exist"),
        (f"{FINETUNE} tasks --model empty --output new", "--model: No model found in empty"),
        (
            f"{FINETUNE} tasks --model tuned --checkpoint 7 --output new",
            "no checkpoint of step 7 in tuned",
        ),
        (
            f"{FINETUNE} tasks --model tuned --vocab nope --output new",
            "--vocab nope does not exist",
        ),
        (f"{FINETUNE} none --model tuned --output new", "--data none does not exist"),
        (f"{FINETUNE} empty --model tuned --output new", "task tnews: no files below empty"),
        (f"{FINETUNE} tasks --model tuned --output junk", "junk is a file"),
        (f"{FINETUNE} tasks --model tuned --output data", "is not a fine-tuning folder"),
        ("predict --model none --input text --output new", "none does not exist: give a fine"),
        ("predict --model data --input text --output new", "data is not a fine-tuned model"),
        ("predict --model tuned --input none --output new", "No such file: none"),
        ("predict --model tuned --input empty --output new", "empty is a folder"),
        ("predict --model tuned --input empty.txt --output new", "empty.txt is empty"),
        ("predict --model tuned --input junk --output new", "junk is not text"),
        ("predict --model tuned --input text --output none/x", "none does not exist; it must be"),
        ("predict --model tuned --input text --output new --task a", 'the model has no task "a"'),
        ("predict --model tuned --input text --output new --reader a", 'reader "a" does not exist'),
        ("convert none --to huggingface --output new", "none does not exist"),
        ("convert data --to huggingface --output new", "No model found in data"),
        ("convert tuned --to huggingface --output new --checkpoint 7", "no checkpoint of step 7"),
        ("embed none text --output new", "none does not exist"),
        ("embed tuned none --output new", "No such file: none"),
        ("embed tuned junk --output new", "junk is not text"),
        ("embed tuned text --output none/x", "none does not exist; it must be a folder"),
        ("evaluate none --data data", "none does not exist: give the folder of a pretraining run"),
        ("fill-mask tuned text", "pretraining run: it is a fine-tuned model; `electra-zh predict`"),
        ("detect tuned text", "tuned is not the folder of a pretraining run"),
        ("pretrain --config nano --data none --output new", "No such data folder: none"),
        ("pretrain --config nano --data empty --output new", "No TFRecord files"),
        ("pretrain --config nano --data data --output junk", "junk is a file"),
        ("pretrain --config nano --data data --output tasks", "tasks exists and is not a run's"),
        ("pretrain --config nano --data data --output new --eval-data empty", "No TFRecord files"),
        ("pretrain --config nano --data data --output new --init nope", "--init nope does not"),
        ("pretrain --config nano --data data --output new --generator nope", "--generator nope"),
        ("pretrain --config nano --data data --output new max_seq_length=999", "must be at most"),
        ("pretrain --config nano --data data --output new --compiled nope", "is not a folder of"),
        ("export-step --config nano --data none --output new", "No such data folder: none"),
        ("estimate --config nano --data none", "No such data folder: none"),
        ("compile --config nano --for gpu:h100 --data none", "No such data folder: none"),
        ("report data --output none/x.html", "none does not exist; it must be a folder"),
        ("inspect none", "No such data folder: none"),
        ("inspect empty", "empty holds no data, and no readable model: No model found"),
    ],
)
def test_a_wrong_path_is_an_error_at_once(command: str, message: str, place: Path) -> None:
    before = sorted(place.iterdir())
    name, *words = command.split()
    with pytest.raises(UserError) as caught:
        cli.load_command(name).run(cli.parse(name, words))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(place.iterdir()) == before
