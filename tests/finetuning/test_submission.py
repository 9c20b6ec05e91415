"""The zip for the leaderboard: what is in it, and when there is none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning.request import SubmissionRequest
from electra_zh.finetuning.submission import SubmissionFile, submission
from support.submission_folder import (
    PLANS,
    SIZE,
    TNEWS_LABELS,
    EncodedSplit,
    Folder,
    predict_choices,
    read_rows,
    settings_of,
)
from support.task_files import copy_tasks, write_json, write_json_lines


def unpack(path: str) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}


def json_lines_of(text: str) -> EncodedSplit:
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_packs_every_task_under_the_name_of_the_leaderboard(tmp_path: Path) -> None:
    folder = Folder(tmp_path, *PLANS)
    report = folder.pack()
    assert report.path == str(folder.output / "submit_team-1_20240131.zip")
    assert list(unpack(report.path)) == sorted(plan.file for plan in PLANS.values())
    blanks = sum(len(row["answers"]) for row in read_rows(folder.predictions("chid")))
    assert report.files == tuple(
        sorted(
            SubmissionFile(plan.file, name, blanks if name == "chid" else SIZE)
            for name, plan in PLANS.items()
        )
    )
    assert report.warnings == ()


def test_labels_are_json_lines_of_id_and_original_label(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "tnews", "csl")
    contents = unpack(folder.pack().path)
    assert json_lines_of(contents["tnews11_predict.json"]) == [
        {"id": index, "label": TNEWS_LABELS[index]} for index in range(SIZE)
    ]
    ids = [row["id"] for row in read_rows(folder.test_file("csl"))]
    assert ids != sorted(ids)
    assert [row["id"] for row in json_lines_of(contents["csl_predict.json"])] == ids


def test_choices_are_json_lines_of_question_id_and_index(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "c3")
    expected = predict_choices(folder.test_file("c3"), ())
    assert json_lines_of(unpack(folder.pack().path)["c311_predict.json"]) == expected


def test_answers_are_one_object_of_question_id_to_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cmrc2018")
    text = unpack(folder.pack().path)["cmrc2018_predict.json"]
    rows = read_rows(folder.predictions("cmrc2018"))
    assert list(json.loads(text).items()) == [(row["id"], row["answer"]) for row in rows]
    assert "\\u" not in text


def test_idioms_are_one_object_of_blank_to_index(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    made = json.loads(unpack(folder.pack().path)["chid11_predict.json"])
    rows = read_rows(folder.predictions("chid"))
    assert list(made.items()) == [pair for row in rows for pair in row["answers"].items()]


def test_entities_end_with_their_last_character(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cluener")
    text = "\U00020000\u2028李雪和李雪"
    write_json_lines(folder.test_file("cluener"), [{"id": 5, "text": text}])
    entities = [
        {"type": "name", "start": start, "end": start + 2, "mention": "李雪"} for start in (2, 5)
    ]
    entities.append({"type": "book", "start": 0, "end": 1, "mention": "\U00020000"})
    rows = [{"id": 5, "text": text, "entities": entities}]
    write_json_lines(folder.predictions("cluener"), rows)
    label = {"name": {"李雪": [[2, 3], [5, 6]]}, "book": {"\U00020000": [[0, 0]]}}
    made = unpack(folder.pack().path)["cluener_predict.json"]
    assert json_lines_of(made) == [{"id": 5, "label": label}]


def test_a_text_without_entities_has_an_empty_label(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cluener")
    folder.change("cluener", 1, entities=[])
    made = json_lines_of(unpack(folder.pack().path)["cluener_predict.json"])
    assert made[1] == {"id": 1, "label": {}}


def test_lines_without_an_id_are_numbered_from_0(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    rows = read_rows(folder.test_file("afqmc"))
    without = [{key: row[key] for key in ("sentence1", "sentence2")} for row in rows]
    write_json_lines(folder.test_file("afqmc"), without)
    made = json_lines_of(unpack(folder.pack().path)["afqmc_predict.json"])
    assert [row["id"] for row in made] == list(range(SIZE))


def test_two_test_files_follow_each_other(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    rows, more = read_rows(folder.test_file("afqmc")), tmp_path / "more.json"
    write_json_lines(folder.test_file("afqmc"), rows[:4])
    write_json_lines(more, rows[4:])
    folder.results["afqmc"]["test_files"].append(str(more))
    folder.save()
    assert folder.pack().files[0].lines == SIZE


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("tnews", "tnews10_predict.json"),
        ("cluewsc2020", "cluewsc10_predict.json"),
        ("chid", "chid10_predict.json"),
        ("c3", "c310_predict.json"),
        ("afqmc", "afqmc_predict.json"),
    ],
)
def test_the_older_test_set_has_a_name_of_its_own(tmp_path: Path, name: str, older: str) -> None:
    folder = Folder(tmp_path, name)
    path = folder.test_file(name).rename(folder.test_file(name).with_name("test1.0.json"))
    folder.results[name]["test_files"] = [str(path)]
    folder.save()
    report = folder.pack()
    assert list(unpack(report.path)) == [older]
    assert name not in report.missing


def test_warns_where_the_file_of_the_newer_test_set_is_beside(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    folder.add("chid", PLANS["chid"]._replace(test_file="test.json"))
    (warning,) = folder.pack().warnings
    assert re.search(
        r"task chid: .*test\.json counts as the 1\.1 test set .*test1\.1\.json", warning
    )


def test_the_same_predictions_make_the_same_bytes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc", "cmrc2018")
    paths = [folder.pack(output=str(tmp_path / f"{name}.zip")).path for name in "ab"]
    first, second = (Path(path).read_bytes() for path in paths)
    assert first == second
    with zipfile.ZipFile(paths[0]) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None


def test_a_folder_as_target_gets_the_name_of_the_team(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    assert folder.pack(output=str(tmp_path)).path == str(tmp_path / "submit_team-1_20240131.zip")


def test_without_a_date_the_name_has_a_day(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    path = submission(SubmissionRequest(str(folder.output), "t")).path
    assert re.fullmatch(r"submit_t_20\d{6}\.zip", Path(path).name)


def test_reports_what_is_not_in_the_zip(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc", "chid")
    folder.results["drcd"] = {"submission": None, "test_files": [], "best_trial": "drcd/trial-0"}
    folder.save()
    report = folder.pack(task="afqmc")
    assert {"chid", "c3"} <= set(report.missing)
    assert "afqmc" not in report.missing
    assert report.unranked == ("drcd",)
    lines = report.lines()
    assert lines[0] == f"afqmc_predict.json  afqmc, {SIZE} predictions"
    assert any(line.startswith("not in the zip: ") and "chid" in line for line in lines)
    assert lines[-2:] == ["not for the leaderboard: drcd", f"Written: {report.path}"]


def test_a_joint_task_is_found_by_its_own_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "csl")
    copy_tasks(tmp_path / "data", "afqmc")
    folder.add("afqmc", PLANS["afqmc"], unit="afqmc+ocnli", key="afqmc (afqmc+ocnli)")
    (packed,) = folder.pack(task="afqmc").files
    assert packed == SubmissionFile("afqmc_predict.json", "afqmc (afqmc+ocnli)", SIZE)


def test_a_task_trained_alone_and_jointly_has_to_be_chosen(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.add("afqmc", PLANS["afqmc"], unit="afqmc+ocnli", key="afqmc (afqmc+ocnli)")
    folder.refused(r"tasks afqmc and afqmc \(afqmc\+ocnli\) both make afqmc_predict.json")
    (packed,) = folder.pack(task="afqmc").files
    assert packed.task == "afqmc"


def test_labels_are_taken_from_the_settings_without_a_model(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    (folder.output / "afqmc" / "model" / "config.json").unlink()
    folder.refused("task afqmc: its settings are missing: neither .*config.json nor .*task.json")
    settings = settings_of("afqmc", PLANS["afqmc"])
    write_json(folder.output / "afqmc" / "task.json", {"tasks": {"afqmc": settings}})
    assert folder.pack().files[0].lines == SIZE


def test_labels_that_only_a_model_has_are_needed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "tnews")
    (folder.output / "tnews" / "model" / "config.json").unlink()
    settings = settings_of("tnews", PLANS["tnews"]._replace(labels=()))
    write_json(folder.output / "tnews" / "task.json", {"tasks": {"tnews": settings}})
    folder.refused("task tnews: its labels are not known: its folder has no model")


@pytest.mark.parametrize("team", ["", "a b", "队", "a/b", "a.b"])
def test_refuses_a_team_with_other_characters(tmp_path: Path, team: str) -> None:
    folder = Folder(tmp_path, "afqmc")
    with pytest.raises(UsageError, match=r'--team ".*": use letters, digits, - and _ only'):
        submission(SubmissionRequest(str(folder.output), team))


def test_refuses_a_target_that_is_not_a_zip(tmp_path: Path) -> None:
    Folder(tmp_path, "afqmc").refused(
        "out.txt is neither a name that ends in .zip nor a folder", output="out.txt"
    )


def test_refuses_a_target_in_no_folder(tmp_path: Path) -> None:
    target = str(tmp_path / "no" / "a.zip")
    Folder(tmp_path, "afqmc").refused("the folder .*no does not exist", output=target)


def test_refuses_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json. Name an --output of finetune"):
        submission(SubmissionRequest(str(tmp_path), "t"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"submission": {"file": "a"}}, "'form' is missing"),
        ({"submission": "tnews"}, "afqmc: submission is 'tnews'"),
        ({"test_files": None}, "afqmc: test_files is None"),
        ({"best_trial": 3}, "afqmc: best_trial is 3"),
        ({"trials": 3, "metric": "accuracy"}, "afqmc: trials is 3"),
        (None, "'NoneType' object is not subscriptable"),
    ],
)
def test_refuses_damaged_results(tmp_path: Path, changes: Any, message: str) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.results["afqmc"] = None if changes is None else folder.results["afqmc"] | changes
    folder.save()
    folder.refused(rf"results\.json is damaged \({message}\)\. Run finetune again")


def test_refuses_damaged_settings(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    (path,) = folder.output.rglob("config.json")
    path.write_text('{"finetuned": {"tasks": [1]}}')
    folder.refused(r"config\.json is damaged .*Run finetune again")


def test_refuses_an_unknown_task(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.refused('no task "afqcm". Did you mean "afqmc"\\? It has: afqmc', task="afqcm")


def test_refuses_a_task_without_a_leaderboard(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.results["afqmc"]["submission"] = None
    folder.save()
    folder.refused("task afqmc: the leaderboard does not have this task", task="afqmc")
    folder.refused("has no leaderboard task; its tasks: afqmc")


def test_refuses_a_task_without_test_predictions_unless_omitted(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc", "csl")
    folder.predictions("csl").unlink()
    folder.refused(
        r"task csl: .*predictions\.test\.jsonl is missing\. --task packs others without it$"
    )
    assert [each.task for each in folder.pack(task="afqmc").files] == ["afqmc"]


def test_refuses_a_task_without_a_test_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.results["afqmc"]["test_files"] = []
    folder.save()
    folder.refused("task afqmc: it was trained without a test file$")


def test_warns_of_a_test_set_of_another_size_than_the_leaderboards(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "csl")
    size = folder.pack().files[0].lines
    for expected, warnings in ((size, 0), (3000, 1)):
        folder.results["csl"]["submission"]["examples"] = expected
        folder.save()
        found = folder.pack().warnings
        assert len(found) == warnings
    line = f"task csl: {size} predictions; the leaderboard's test set has 3,000"
    assert found == (line,)


def test_refuses_a_test_file_that_is_gone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.test_file("afqmc").unlink()
    folder.refused(r"task afqmc: No such file: .*test\.json")


def test_names_every_task_that_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc", "csl", "ocnli")
    for name in ("afqmc", "ocnli"):
        folder.predictions(name).unlink()
    folder.refused(
        r"task afqmc: .* is missing.*\. Refused as well: ocnli\. --task packs others without it$"
    )


def test_a_refusal_leaves_an_earlier_zip_as_it_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    path = Path(folder.pack().path)
    before = path.read_bytes()
    folder.change("afqmc", 0, label="2")
    with pytest.raises(UserError, match='label "2"'):
        folder.pack()
    assert path.read_bytes() == before


def test_does_not_load_tensorflow() -> None:
    code = "import sys, electra_zh.finetuning.submission; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
