"""The plan of a command: models, skipped tasks, settings that joint training refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from electra_zh import files
from electra_zh.convert import model_folder
from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import registry
from electra_zh.finetuning.pretrained import load_pretrained
from electra_zh.finetuning.request import Request
from electra_zh.finetuning.run import finetune, prepare
from support.converting import make_fine_tuned, make_run

OWN = """
kind: classification
reader: json_lines
folders: [mine]
files: {train: train.json, dev: dev.json}
fields: {text_a: text}
metric: accuracy
"""


def make_data(folder: Path, *tasks: str) -> Path:
    for task in tasks:
        (folder / task).mkdir(parents=True)
        for split in ("train", "dev"):
            (folder / task / f"{split}.json").write_text("{}\n")
    return folder


def plan_names(data: Path, *tasks: str, joint: bool = False, **overrides: str) -> list[str]:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    request = Request("model", tasks, str(data), "out", overrides=named, joint=joint)
    return [each.name for each in request.plan()[0]]


def test_tasks_of_a_group_without_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    data = make_data(tmp_path / "data", "afqmc", "mine")
    assert plan_names(data, "clue", str(tmp_path / "own.yaml")) == ["afqmc", "own"]


@pytest.mark.parametrize("name", ["tnews", "own.yaml", "own.yml"])
def test_a_task_given_by_its_name_is_not_skipped(tmp_path: Path, name: str) -> None:
    data = make_data(tmp_path / "data", "afqmc")
    (tmp_path / name).write_text(OWN)
    task = str(tmp_path / name) if "." in name else name
    with pytest.raises(UserError, match="no files below"):
        plan_names(data, "afqmc", task)


def test_mistakes_in_the_fields_and_files_are_found_before_the_model(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", "mine")
    for text, message in (
        (OWN.replace("text_a: text", "text: text"), 'fields: unknown setting "text"'),
        (
            OWN.replace("files: {train: train.json, dev: dev.json}", "").replace("[mine]", "[]"),
            r"no files below .* \(the task names none\)$",
        ),
    ):
        (tmp_path / "own.yaml").write_text(text)
        request = Request("none", (str(tmp_path / "own.yaml"),), str(data), str(tmp_path / "out"))
        with pytest.raises(UserError, match=message):
            request.check_files()


def test_tasks_trained_jointly_share_the_settings_of_the_training(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", "afqmc", "ocnli")
    joint = {"afqmc__seed": "1", "ocnli__max_seq_length": "64", "ocnli__max_train_examples": "9"}
    assert plan_names(data, "afqmc", "ocnli", joint=True, **joint) == ["afqmc+ocnli"]
    with pytest.raises(UsageError, match=r'"ocnli.seed": tasks trained jointly share'):
        plan_names(data, "afqmc", "ocnli", joint=True, ocnli__seed="1")
    with pytest.raises(UsageError, match=r'"ocnli.batch_size": tasks trained jointly share'):
        plan_names(data, "afqmc", "ocnli", joint=True, ocnli__batch_size="1")
    assert plan_names(data, "afqmc", "ocnli", ocnli__seed="1") == ["afqmc", "ocnli"]


def make_pairs(folder: Path, *tasks: str) -> None:
    for task in tasks:
        (folder / task).mkdir(parents=True)
        for split in ("train", "dev"):
            text = "text_a\ttext_b\tlabel\n天\t地\t0\n日\t月\t1\n"
            (folder / task / f"{split}.tsv").write_text(text, encoding="utf-8")


def test_the_keys_of_a_grid_in_another_order_are_the_same_settings(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    make_pairs(tmp_path / "data", "lcqmc")
    keys = ("batch_size=8", "learning_rate=1e-4,1e-3")
    data, output = str(tmp_path / "data"), tmp_path / "out"
    request = Request(run.folder, ("lcqmc",), data, str(output), grid=keys)
    first, _ = prepare(request).jobs["lcqmc"]
    assert first.folder == f"{output}/lcqmc/batch_size=8,learning_rate=1e-4/trial-0"
    values = {"seed": 0, "setting": dict(first.setting.values), "best_epoch": 1, "dev_score": 1.0}
    files.make_dirs(first.folder)
    result = {**values, "tasks": {}, "examples_per_second": 1.0}
    files.write_json(f"{first.folder}/result.json", result)
    files.write_json(f"{output}/results.json", {})
    (left,) = prepare(dataclasses.replace(request, grid=keys[::-1])).jobs["lcqmc"]
    assert left.folder == f"{output}/lcqmc/learning_rate=1e-3,batch_size=8/trial-0"
    assert prepare(dataclasses.replace(request, trials=2)).jobs["lcqmc"][0].folder == (
        f"{output}/lcqmc/batch_size=8,learning_rate=1e-4/trial-1"
    )


def test_a_grid_for_one_task_trains_the_others_once(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    make_pairs(tmp_path / "data", "lcqmc", "bq_corpus")
    data, output = str(tmp_path / "data"), str(tmp_path / "out")
    grid = ("lcqmc.batch_size=4,8",)
    jobs = prepare(Request(run.folder, ("lcqmc", "bq_corpus"), data, output, grid=grid)).jobs
    assert [job.folder for job in jobs["bq_corpus"]] == [f"{output}/bq_corpus/trial-0"]
    assert [job.setting.tasks["lcqmc"].training.train_batch_size for job in jobs["lcqmc"]] == [4, 8]
    joint = Request(run.folder, ("lcqmc", "bq_corpus"), data, output, grid=grid, joint=True)
    assert len(prepare(joint).jobs["lcqmc+bq_corpus"]) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("learning_rate=1e-4,0.0001", r"same settings twice \(learning_rate=0\.0001\): remove one"),
        ("metric=accuracy,f1", "metric cannot be in --grid"),
        ("lcqmc.metric=accuracy,f1", "metric cannot be in --grid"),
    ],
)
def test_grids_of_settings_that_cannot_be_compared(grid: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(Request("m", ("lcqmc",), "data", "out", grid=(grid,)).settings_of_tasks())


def test_a_folder_of_other_data_or_weights_is_not_resumed(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    data, output, dev = tmp_path / "data", tmp_path / "out", tmp_path / "data" / "lcqmc" / "dev.tsv"
    make_pairs(data, "lcqmc")
    overrides = {"num_train_epochs": "1", "max_seq_length": "8", "train_batch_size": "2"}
    request = Request(run.folder, ("lcqmc",), str(data), str(output), overrides=overrides)
    finetune(request)
    (task,) = model_folder.load(str(output / "lcqmc" / "model")).tasks
    assert task["training"]["learning_rate"] == 3e-4
    more = dataclasses.replace(request, trials=2)
    text = dev.read_text(encoding="utf-8")
    # The same examples in other bytes.
    dev.write_text("\r\n".join(text.splitlines()), encoding="utf-8")
    assert len(prepare(more).jobs["lcqmc"]) == 1
    for old, new in (("月\t1", "月\t0"), ("月", "天")):
        dev.write_text(text.replace(old, new), encoding="utf-8")
        assert not prepare(request).jobs["lcqmc"]
        with pytest.raises(UserError, match=r"labels of lcqmc are not those that .*/out/lcqmc was"):
            prepare(more)
    # No trial was begun, as where the data could not be trained on.
    (output / "lcqmc" / "trial-0").rename(tmp_path / "trial-0")
    assert len(prepare(more).jobs["lcqmc"]) == 2
    (tmp_path / "trial-0").rename(output / "lcqmc" / "trial-0")
    dev.write_text(text, encoding="utf-8")
    path = str(output / "lcqmc" / "task.json")
    saved = files.read_json_object(path)
    files.write_json(path, {**saved, "start": {**saved["start"], "weights": "of before"}})
    with pytest.raises(UserError, match=r"other settings: start\.weights 'of before' \(now "):
        prepare(more)


def test_tasks_of_another_model_are_not_added_to_a_folder(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    make_fine_tuned(tmp_path / "model", {"name": "t", "kind": "choice"})
    make_pairs(tmp_path / "data", "lcqmc", "bq_corpus")
    output = tmp_path / "out"
    overrides = {"num_train_epochs": "1", "max_seq_length": "8", "train_batch_size": "2"}
    first = Request(
        run.folder, ("lcqmc",), str(tmp_path / "data"), str(output), overrides=overrides
    )
    finetune(first)
    second = dataclasses.replace(first, tasks=("bq_corpus",))
    for changes in ({"model": str(tmp_path / "model")}, {"from_scratch": True}):
        with pytest.raises(
            UserError, match=r"out has results of another model, task lcqmc of .*run"
        ):
            prepare(dataclasses.replace(second, **changes))
    same = dataclasses.replace(second, model=str(tmp_path / "copy"))
    path = output / "lcqmc" / "task.json"
    saved = files.read_json_object(str(path))
    assert prepare(same).jobs["bq_corpus"]
    # A former version saved no digest of the weights.
    for checkpoint, refused in ((saved["start"]["checkpoint"], False), ("ckpt-0", True)):
        start = {**saved["start"], "checkpoint": checkpoint}
        del start["weights"]
        files.write_json(str(path), {**saved, "start": start})
        if refused:
            with pytest.raises(UserError, match="has results of another model"):
                prepare(same)
        else:
            assert prepare(same).jobs["bq_corpus"]


def test_a_folder_with_former_spelling_and_precision_is_resumed(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    data, output = tmp_path / "data" / "bq_corpus", tmp_path / "out"
    data.mkdir(parents=True)
    for split in ("train", "dev"):
        (data / f"{split}.tsv").write_text("text_a\ttext_b\tlabel\n天\t地\t0\n日\t月\t1\n")
    request = Request(run.folder, ("bq_corpus",), str(data), str(output))
    (task,) = registry.load(request.tasks)
    identity: dict[str, Any] = {
        "start": {**load_pretrained(run.folder).identity(), "from_scratch": False},
        "tasks": {"bq_corpus": task.to_dict()},
        "files": {"bq_corpus": {name: [f"{data}/{name}.tsv"] for name in ("train", "dev")}},
        "skip_bad": False,
    }
    fields = {
        "text_a": "sentence1|text_a|question1|text1|0",
        "text_b": "sentence2|text_b|question2|text2|1",
        "label": "label|2",
    }
    # The precision of the machine where the trials were started, also where it is auto now.
    identity["tasks"]["bq_corpus"]["training"]["precision"] = "float32"
    # As another version may have it.
    del identity["start"]["weights"]
    identity["tasks"]["bq_corpus"] |= {"title": "BQ", "published": {"tiny": {"X": 1.0}}}
    (output / "bq_corpus").mkdir(parents=True)
    for changed in ({}, {"label": "label|3"}):
        identity["tasks"]["bq_corpus"]["fields"] = {**fields, **changed}
        files.write_json(str(output / "bq_corpus" / "task.json"), identity)
        if not changed:
            (job,) = prepare(request).jobs["bq_corpus"]
            assert job.setting.tasks["bq_corpus"].training.precision == "float32"
            # Before any training.
            (output / "bq_corpus" / "trial-9").mkdir()
            files.write_json(str(output / "bq_corpus" / "trial-9" / "result.json"), {"seed": "9"})
            with pytest.raises(UserError, match=r"result\.json is damaged .*Remove it to train"):
                prepare(request)
            shutil.rmtree(output / "bq_corpus" / "trial-9")
            continue
        with pytest.raises(UserError, match=r"other settings: tasks\.bq_corpus\.fields\.columns"):
            prepare(request)
    damaged: Any
    for damaged in ([], {}, {"tasks": []}, {"tasks": {"bq_corpus": None}}):
        files.write_json(str(output / "bq_corpus" / "task.json"), damaged)
        with pytest.raises(UserError, match=r"task\.json is (damaged|not a JSON object)"):
            prepare(request)
