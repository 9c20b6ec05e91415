"""Results on disk: which trial is the best one, and what the summary says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning import results
from electra_zh.report import scores
from support.tuning import make_start


def write_trials(folder: Path, scores: dict[str, float]) -> None:
    """Writes a task's folder with trials of these dev scores; names as `SETTING/trial-0`."""
    unit: dict[str, Any] = {
        "tasks": {"texts": {"metric": "accuracy", "title": "", "kind": "classification"}},
        "files": {"texts": {"test": []}},
    }
    unit["tasks"]["texts"].update(published={}, submission=None)
    files.make_dirs(str(folder / "texts"))
    files.write_json(str(folder / "texts/task.json"), unit)
    for name, score in scores.items():
        setting = dict(word.split("=") for word in name.split("/")[0].split(",") if "=" in word)
        trial: dict[str, Any] = {
            "seed": int(name[-1]),
            "setting": setting,
            "dev_score": score,
            "best_epoch": 1,
            "examples_per_second": 1.0,
            "tasks": {"texts": {"dev": {"accuracy": score}}},
        }
        files.make_dirs(str(folder / "texts" / name))
        files.write_json(str(folder / "texts" / name / "result.json"), trial)


@pytest.mark.parametrize(
    ("scores", "best", "mean"),
    [
        # Not the setting with the best mean: the model that is kept is that of one trial.
        ({"a=1/trial-0": 80, "a=1/trial-1": 40, "a=2/trial-0": 70, "a=2/trial-1": 70}, 0, 60.0),
        ({"a=1/trial-0": 70, "a=2/trial-0": 70}, 0, 70.0),
        ({"trial-0": 70, "trial-1": 80, "trial-2": 80}, 1, 76.667),
    ],
)
def test_the_summary_is_of_the_trial_whose_model_is_kept(
    tmp_path: Path, scores: dict[str, float], best: int, mean: float
) -> None:
    write_trials(tmp_path, scores)
    kept = results.best_trial(results.read_trials(str(tmp_path / "texts")))
    name = list(scores)[best]
    assert kept["folder"] == str(tmp_path / "texts" / name)
    task = results.summarise(str(tmp_path), make_start())["tasks"]["texts"]
    assert task["best_trial"] == f"texts/{name}"
    assert task["setting"] == kept["setting"]
    assert (task["dev"]["max"], task["dev"]["mean"]) == (kept["dev_score"], pytest.approx(mean))


def test_a_setting_with_its_keys_in_another_order_counts_once(tmp_path: Path) -> None:
    trials = {"a=1,b=2/trial-0": 70.0, "b=2,a=1/trial-0": 70.0, "b=2,a=1/trial-1": 60.0}
    write_trials(tmp_path, trials)
    task = results.summarise(str(tmp_path), make_start())["tasks"]["texts"]
    assert (task["dev"]["trials"], task["dev"]["mean"]) == (2, 65.0)


def test_warnings_of_the_kept_trial_are_reported(tmp_path: Path) -> None:
    write_trials(tmp_path, {"trial-0": 70})
    path = str(tmp_path / "texts/trial-0/result.json")
    trial = files.read_json(path)
    trial["tasks"]["texts"]["warnings"] = ["dev: all 10 predictions are x"]
    files.write_json(path, trial)
    results.summarise(str(tmp_path), make_start())
    assert "texts: dev: all 10 predictions are x" in scores.report(str(tmp_path))


def test_before_the_first_trial_ends_there_is_no_table(tmp_path: Path) -> None:
    write_trials(tmp_path, {})
    results.summarise(str(tmp_path), make_start())
    assert scores.report(str(tmp_path)) == []


def test_a_folder_without_a_complete_file_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / f"task.json.partial-{'0' * 32}").write_text("{")
    results.check_folder(str(tmp_path))
    (tmp_path / "texts" / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="exists and is not a fine-tuning folder"):
        results.check_folder(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"texts": {"dev": {"f1": 1.0}}}}, "'accuracy' is missing"),
        ({"tasks": {"texts": {"dev": {"accuracy": "x"}}}}, "texts: accuracy is 'x'"),
        ({"tasks": {"texts": {"dev": 5}}}, "texts: dev is 5"),
        ({"tasks": {"others": {"dev": {"accuracy": 1.0}}}}, "'texts' is missing"),
        ({"examples_per_second": None}, "examples_per_second is None"),
    ],
)
def test_a_trial_without_its_scores_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_trials(tmp_path, {"trial-0": 70})
    path = str(tmp_path / "texts/trial-0/result.json")
    files.write_json(path, {**files.read_json(path), **changes})
    with pytest.raises(UserError, match=rf"^{path} is damaged \({message}\)\. Remove it to train"):
        results.summarise(str(tmp_path), make_start())
