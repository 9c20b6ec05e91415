"""Tables of scores: spread over seeds, published scores, CLUE's mean, several results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import registry
from electra_zh.report import scores
from support.reports import write_results

NINE = [task.name for task in registry.load(["clue-leaderboard"])]


def cells(folder: Path) -> dict[str, tuple[str, ...]]:
    table = scores.score_table(scores.read_results(str(folder)))
    return {row[0]: row[1:] for row in table.rows}


def test_scores_of_several_seeds_have_their_spread(tmp_path: Path) -> None:
    write_results(
        tmp_path, {"tnews": [50, 52], "own": [70]}, published={"tnews": {"HFL small": 56.5}}
    )
    rows = cells(tmp_path)
    assert rows["tnews"] == ("accuracy", "52.00 (51.00 ± 1.41)", "-", "HFL small 56.5")
    assert rows["own"] == ("accuracy", "70.00", "-", "-")


def test_without_published_scores_there_is_no_column_of_them(tmp_path: Path) -> None:
    write_results(tmp_path, {"tnews": [50]})
    table = scores.score_table(scores.read_results(str(tmp_path)))
    assert table.header == ("task", "metric", "dev", "test")
    assert table.rows == (("tnews", "accuracy", "50.00", "-"),)


def test_the_mean_of_clue_is_over_the_leaderboards_tasks(tmp_path: Path) -> None:
    write_results(tmp_path, {**{name: [60.0] for name in NINE}, "tnews": [51.0], "cmnli": [0.0]})
    assert cells(tmp_path)["CLUE mean"][1] == "59.00"


def test_the_mean_of_some_tasks_says_how_many(tmp_path: Path) -> None:
    write_results(tmp_path, {"tnews": [50, 52], "afqmc": [70, 71], "own": [1]})
    assert cells(tmp_path)["CLUE mean (2 of 9 tasks)"][1] == "61.50 (60.75)"
    write_results(tmp_path, {"tnews": [50], "own": [1]})
    assert list(cells(tmp_path)) == ["tnews", "own"]


def test_several_results_are_compared_on_their_common_tasks(tmp_path: Path) -> None:
    published = {"tnews": {"HFL small": 56.0}, "afqmc": {"HFL small": 72.0}}
    write_results(tmp_path / "a", {"tnews": [50, 52], "afqmc": [70]}, published=published)
    write_results(tmp_path / "b", {"tnews": [54], "afqmc": [70], "ocnli": [60]})
    table = scores.comparison(scores.find_results([str(tmp_path)]))
    assert table is not None
    assert table.header[1:] == (
        "tnews (accuracy)",
        "afqmc (accuracy)",
        "ocnli (accuracy)",
        "CLUE mean (2 of 9 tasks)",
    )
    assert table.rows == (
        ("a", "51.00", "70.00", "-", "60.50"),
        ("b", "54.00", "70.00", "60.00", "62.00"),
        ("published: HFL small", "56.00", "72.00", "-", "64.00"),
    )


def test_another_metric_has_a_column_of_its_own(tmp_path: Path) -> None:
    for name, metric in (("a", "accuracy"), ("b", "macro_f1")):
        write_results(tmp_path / name, {"tnews": [50], "afqmc": [70]})
        text = (tmp_path / name / "results.json").read_text(encoding="utf-8")
        values = json.loads(text)
        task = values["tasks"]["tnews"]
        task["metric"] = metric
        for trial in task["trials"]:
            trial["dev"] = {metric: 50.0}
        (tmp_path / name / "results.json").write_text(json.dumps(values), encoding="utf-8")
    table = scores.comparison(scores.find_results([str(tmp_path)]))
    assert table is not None
    # AFQMC is the only task of the leaderboard that both have by its metric: there is no mean.
    assert table.header[1:] == ("tnews (accuracy)", "afqmc (accuracy)", "tnews (macro_f1)")
    assert table.rows == (("a", "50.00", "70.00", "-"), ("b", "-", "70.00", "50.00"))


def test_a_grids_best_setting_is_in_the_table(tmp_path: Path) -> None:
    write_results(tmp_path, {"tnews": [50], "own": [70]})
    path = tmp_path / "results.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["tasks"]["own"]["setting"] = {"learning_rate": "1e-4", "batch_size": "16"}
    path.write_text(json.dumps(values), encoding="utf-8")
    table = scores.score_table(scores.read_results(str(tmp_path)))
    assert table.header == ("task", "metric", "setting", "dev", "test")
    assert [row[2] for row in table.rows] == ["-", "learning_rate=1e-4 batch_size=16"]


def test_results_of_equal_names_get_longer_names(tmp_path: Path) -> None:
    for model in "ab":
        write_results(tmp_path / model / "tuned", {"tnews": [50]})
    found = scores.find_results([str(tmp_path)])
    assert [each.name for each in found] == ["a/tuned", "b/tuned"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no results.json. Name an --output of finetune"),
        ("{", "is not valid JSON"),
        ('{"tasks": {"tnews": {"dev": 3}}}', "results.json is damaged"),
        ("[]", "results.json is not a JSON object"),
        ('{"tasks": []}', "results.json is damaged"),
    ],
)
def test_folders_without_results_are_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=message):
        scores.find_results([str(tmp_path)])


def test_the_command_prints_each_form(tmp_path: Path, call: Callable[..., str]) -> None:
    write_results(tmp_path, {"tnews": [50, 52]})
    assert "52.00 (51.00 ± 1.41)" in call("results", str(tmp_path))
    (row,) = csv.DictReader(io.StringIO(call("results", str(tmp_path), "--format", "csv")))
    assert row["dev"] == "52.00 (51.00 ± 1.41)"
    assert r"52.00 (51.00 $\pm$ 1.41)" in call("results", str(tmp_path), "--format", "latex")
    assert "| tnews | accuracy |" in call("results", str(tmp_path), "--format", "markdown")
    values = json.loads(call("results", str(tmp_path), "--format", "json"))
    assert values[tmp_path.name]["tasks"]["tnews"]["dev"]["max"] == 52
