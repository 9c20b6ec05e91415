"""A task's files are found in every layout of the public zips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import locate, registry, tasks
from electra_zh.finetuning.tasks import Files, TaskConfig


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")


def found_paths(task: TaskConfig, data: Path) -> dict[str, list[str]]:
    found = locate.find(task, locate.folders_below(str(data)))
    assert found is not None
    return {
        split: [str(Path(path).relative_to(data)) for path in paths]
        for split, paths in found.paths.items()
    }


@pytest.mark.parametrize("folder", ["", "afqmc", "AFQMC", "clue/afqmc_public", "a/b/afqmc"])
def test_files_are_found_wherever_a_zip_puts_them(tmp_path: Path, folder: str) -> None:
    make_files(tmp_path / folder, "train.json", "dev.json", "test.json")
    found = found_paths(registry.load(["afqmc"])[0], tmp_path)
    assert found == {split: [str(Path(folder) / f"{split}.json")] for split in tasks.SPLITS}


def test_a_named_folder_wins_over_the_data_folder_itself(tmp_path: Path) -> None:
    make_files(tmp_path, "train.json", "dev.json", "test.json", "tnews/train.json")
    make_files(tmp_path / "afqmc", "train.json", "dev.json", "test.json")
    assert found_paths(registry.load(["afqmc"])[0], tmp_path)["dev"] == ["afqmc/dev.json"]


def test_a_named_folder_without_a_test_set_wins_too(tmp_path: Path) -> None:
    make_files(tmp_path, "train.json", "dev.json", "test.json")
    make_files(tmp_path / "afqmc", "train.json", "dev.json")
    assert found_paths(registry.load(["afqmc"])[0], tmp_path)["dev"] == ["afqmc/dev.json"]


def test_a_named_folder_of_less_does_not(tmp_path: Path) -> None:
    make_files(tmp_path, "train.json", "dev.json", "test.json", "afqmc/test.json")
    task = registry.load(["afqmc"])[0]
    assert found_paths(task, tmp_path)["test"] == ["test.json"]
    place = locate.find(task, locate.folders_below(str(tmp_path / "afqmc")))
    assert "no train file in" in locate.why_missing(task, place, "x")


def test_a_task_that_names_no_dev_file(tmp_path: Path) -> None:
    make_files(tmp_path, "train.json")
    task = dataclasses.replace(registry.load(["afqmc"])[0], files=Files(train=("train.json",)))
    reason = locate.why_missing(task, locate.find(task, [str(tmp_path)]), "x")
    assert reason.endswith("(the task names none); give it as dev_file=PATH")


def test_the_most_wanted_name_wins(tmp_path: Path) -> None:
    make_files(tmp_path / "ocnli", "train.3k.json", "train.10k.json", "dev.json")
    assert found_paths(registry.load(["ocnli"])[0], tmp_path)["train"] == ["ocnli/train.10k.json"]


def test_a_split_may_be_several_files(tmp_path: Path) -> None:
    make_files(tmp_path / "c3", "c3-m-train.json", "c3-d-train.json", "c3-m-dev.json")
    found = found_paths(registry.load(["c3"])[0], tmp_path)
    assert sorted(found["train"]) == ["c3/c3-d-train.json", "c3/c3-m-train.json"]
    assert "dev" not in found


@pytest.mark.parametrize("name", ["train+more.json", "train[1].json", "train.json"])
def test_a_file_of_the_very_name_wins(tmp_path: Path, name: str) -> None:
    make_files(tmp_path, name, "Train.json", "train", "more.json", "dev.json")
    task = registry.load(["afqmc"], {"train_file": name})[0]
    assert found_paths(task, tmp_path)["train"] == [name]
    task = registry.load(["afqmc"], {"train_file": str(tmp_path / name)})[0]
    assert found_paths(task, tmp_path)["train"] == [name]


def test_a_file_may_be_given_by_its_path(tmp_path: Path) -> None:
    make_files(tmp_path, "afqmc/train.json", "afqmc/dev.json", "else/where.json")
    task = registry.load(["afqmc"], {"dev_file": str(tmp_path / "else/where.json")})[0]
    assert found_paths(task, tmp_path)["dev"] == ["else/where.json"]


def test_a_test_set_can_be_omitted(tmp_path: Path) -> None:
    make_files(tmp_path, "train.json", "dev.json", "test.json")
    found = found_paths(registry.load(["afqmc"], {"test_file": "none"})[0], tmp_path)
    assert set(found) == {"train", "dev"}


def test_nothing_found_is_none(tmp_path: Path) -> None:
    make_files(tmp_path / "tnews", "train.txt")
    assert locate.find(registry.load(["afqmc"])[0], locate.folders_below(str(tmp_path))) is None


def test_data_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        locate.folders_below(str(tmp_path / "nothing"))
