"""Predictions that do not fit the raw test file are refused, with the place and what would fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.submission_folder import PLANS, SIZE, Folder, read_rows
from support.task_files import write_json, write_json_lines


@pytest.mark.parametrize("name", PLANS)
def test_refuses_a_prediction_too_few(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path, name)
    rows = read_rows(folder.predictions(name))
    write_json_lines(folder.predictions(name), rows[:2] + rows[3:])
    expected, received = json.dumps(rows[2]["id"]), json.dumps(rows[3]["id"])
    folder.refused(
        rf"task {name}: .*: {SIZE - 1} predictions, expected {SIZE} \(.*test.*\); the first "
        rf"difference: .*jsonl, line 3: id {received}, expected {expected} \(.*\)"
    )


def test_refuses_a_last_prediction_too_few(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    write_json_lines(folder.predictions("afqmc"), read_rows(folder.predictions("afqmc"))[:-1])
    folder.refused(rf"{SIZE - 1} predictions, expected {SIZE} \([^;]*\)$")


@pytest.mark.parametrize("name", PLANS)
def test_refuses_a_prediction_too_many(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path, name)
    rows = read_rows(folder.predictions(name))
    write_json_lines(folder.predictions(name), [*rows, rows[-1]])
    folder.refused(f"task {name}: .*: {SIZE + 1} predictions, expected {SIZE}")


@pytest.mark.parametrize("name", PLANS)
def test_refuses_another_order(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path, name)
    rows = read_rows(folder.predictions(name))
    rows[1], rows[4] = rows[4], rows[1]
    write_json_lines(folder.predictions(name), rows)
    folder.refused(rf"task {name}: .*jsonl, line 2: id .*, expected .* \(.*test.*\)$")


@pytest.mark.parametrize("received", ["0", False, None, 0.0])
def test_refuses_an_id_of_another_type(tmp_path: Path, received: Any) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.change("afqmc", 0, id=received)
    folder.refused(rf"line 1: id {json.dumps(received)}, expected 0 \(.*test\.json, line 1\)")


def test_refuses_a_test_file_with_an_id_twice(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "afqmc")
    write_json_lines(
        folder.test_file("afqmc"),
        [{"id": number, "sentence1": "甲", "sentence2": "乙"} for number in (7, 8, 7)],
    )
    folder.refused(r"task afqmc: .*test.json, line 3: duplicate id 7, also at .*test.json, line 1$")


@pytest.mark.parametrize("label", ["105", "news_100", 100, None])
def test_refuses_an_unknown_label(tmp_path: Path, label: Any) -> None:
    folder = Folder(tmp_path, "tnews")
    folder.change("tnews", 3, label=label)
    folder.refused(
        rf"task tnews: .*jsonl, line 4: label {json.dumps(label)}; allowed: 100, 101, .*, 116\."
        r".*\(.*test\.json, line 4\)"
    )


@pytest.mark.parametrize("index", [-1, 4, True, "0", 1.0, None])
def test_refuses_an_index_outside_the_choices(tmp_path: Path, index: Any) -> None:
    folder = Folder(tmp_path, "c3")
    folder.change("c3", 0, label=index)
    folder.refused(
        rf"task c3: .*jsonl, line 1: choice {json.dumps(index)}; allowed: 0 to [123] "
        r"\(.*test1\.1\.json, text 1, question 1\)"
    )


def test_refuses_questions_with_choices_but_no_ids(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "c3")
    items = json.loads(folder.test_file("c3").read_text())
    del items[1][1][0]["id"]
    write_json(folder.test_file("c3"), items)
    folder.change("c3", 1, id=f"test1.1/{items[1][2]}/0")
    folder.refused(
        "task c3: .*the question has no id, so this is not the leaderb.*text 2, question 1"
    )


@pytest.mark.parametrize("answer", [None, 3, ["的"]])
def test_refuses_an_answer_that_is_not_text(tmp_path: Path, answer: Any) -> None:
    folder = Folder(tmp_path, "cmrc2018")
    folder.change("cmrc2018", 1, answer=answer)
    shown = re.escape(json.dumps(answer, ensure_ascii=False))
    folder.refused(
        rf"task cmrc2018: .*jsonl, line 2: answer {shown} is not text "
        r"\(.*test\.json, question TEST_0_QUERY_1\)"
    )


def test_refuses_an_answer_that_is_not_in_the_context(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cmrc2018")
    folder.change("cmrc2018", 0, answer="龙")
    folder.refused('task cmrc2018: .*line 1: answer "龙" does not occur in the context')


def test_warns_of_empty_answers(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cmrc2018")
    folder.change("cmrc2018", 2, answer="")
    expected = f"task cmrc2018: 1 of {SIZE} answers are empty, first TEST_1_QUERY_0"
    report = folder.pack()
    assert report.warnings == (expected,)
    assert f"warning: {expected}" in report.lines()


@pytest.mark.parametrize("index", [-1, 10, False, "3", None])
def test_refuses_an_index_outside_the_candidates(tmp_path: Path, index: Any) -> None:
    folder = Folder(tmp_path, "chid")
    answers = read_rows(folder.predictions("chid"))[2]["answers"]
    blank = next(iter(answers))
    folder.change("chid", 2, answers={**answers, blank: index})
    folder.refused(
        rf"task chid: .*line 3: {blank} {json.dumps(index)}; allowed: 0 to 9 \(.*json, line 3\)"
    )


def test_refuses_a_blank_without_an_answer(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    answers = read_rows(folder.predictions("chid"))[2]["answers"]
    blank = next(iter(answers))
    folder.change("chid", 2, answers={key: answers[key] for key in answers if key != blank})
    folder.refused(f"task chid: .*line 3: {blank} has no answer")


def test_refuses_an_answer_without_a_blank(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    answers = read_rows(folder.predictions("chid"))[2]["answers"]
    folder.change("chid", 2, answers={**answers, "#idiom999999#": 1})
    folder.refused("task chid: .*line 3: #idiom999999# is not a blank of the item")


def test_refuses_idioms_that_are_no_object(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    folder.change("chid", 0, answers=[1])
    folder.refused(r"task chid: .*line 1: answers \[1\] are not an object of blank to index")


def test_refuses_a_duplicate_blank(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "chid")
    items = read_rows(folder.test_file("chid"))
    write_json_lines(folder.test_file("chid"), [*items[:5], items[0]])
    rows = read_rows(folder.predictions("chid"))
    folder.change("chid", 5, answers=rows[0]["answers"])
    folder.refused(r"task chid: .*duplicate #idiom\d+# in the test files")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "person"}, 'entity type "person"; allowed: address, book, .*scene'),
        ({"start": -1}, "entity start -1; allowed: 0 to "),
        ({"start": None}, "entity start null; allowed: 0 to "),
        ({"start": 0, "end": 0}, "entity end 0; allowed: 1 to "),
        ({"end": 999}, "entity end 999; allowed: 1 to "),
        ({"end": 1.0}, "entity end 1.0; allowed: 1 to "),
        ({"mention": "龙"}, 'mention "龙", expected ".." at 0 to 2'),
        ({"end": 1}, 'mention "..", expected "." at 0 to 1'),
    ],
)
def test_refuses_an_entity_that_is_not_in_its_text(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = Folder(tmp_path, "cluener")
    entities = read_rows(folder.predictions("cluener"))[4]["entities"]
    folder.change("cluener", 4, entities=[{**entities[0], **change}])
    folder.refused(rf"task cluener: .*jsonl, line 5: {message}.* \(.*test\.json, line 5\)$")


@pytest.mark.parametrize(
    ("entities", "message"),
    [(None, "entities null are not a list"), (["李雪"], 'entity "李雪" is not an object')],
)
def test_refuses_entities_of_another_form(tmp_path: Path, entities: Any, message: str) -> None:
    folder = Folder(tmp_path, "cluener")
    folder.change("cluener", 0, entities=entities)
    folder.refused(f"task cluener: .*line 1: {message}")


def test_refuses_another_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "cluener")
    folder.change("cluener", 0, text="龙")
    folder.refused('task cluener: .*line 1: text "龙", expected "')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 0\n', "line 1: not valid JSON: "),
        ('{"id": 0, "label": "0"}\n[1]\n', "line 2: not a JSON object"),
        ("", " is empty"),
    ],
)
def test_refuses_damaged_predictions(tmp_path: Path, text: str, message: str) -> None:
    folder = Folder(tmp_path, "afqmc")
    folder.predictions("afqmc").write_text(text)
    folder.refused(rf"task afqmc: .*predictions\.test\.jsonl.*{message}")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c3", '{"data": []}', "not a JSON list of"),
        ("c3", '[[["a"], [{"id": 1}], "x"]]', "not a question with two or more choices"),
        ("cmrc2018", '{"version": 1}', 'is neither {"data"'),
        ("cmrc2018", "[", "line 1: not valid JSON"),
        ("chid", '{"content": 3}\n', "line 1: not a cloze item"),
        ("cluener", '{"id": 1}\n', 'no text in the field "text"'),
        ("afqmc", '{"a\n', "line 1: not valid JSON"),
        ("afqmc", "a\tb\n", "6 predictions, expected 1"),
    ],
)
def test_refuses_a_test_file_of_another_form(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    folder = Folder(tmp_path, name)
    folder.test_file(name).write_text(text)
    folder.refused(rf"task {name}: .*test.*json.*{message}")


@pytest.mark.parametrize(
    ("name", "label", "shown"), [("afqmc", "0", '"0"'), ("cluener", [], "without entities")]
)
def test_equal_predictions_are_reported(
    tmp_path: Path, name: str, label: object, shown: str
) -> None:
    folder = Folder(tmp_path, name)
    row = read_rows(folder.test_file(name))[0]
    rows = [{**row, "id": number} for number in range(10)]
    write_json_lines(folder.test_file(name), rows)
    predicted = {"label": label, "entities": label, "text": row.get("text")}
    write_json_lines(
        folder.predictions(name), [{"id": number, **predicted} for number in range(10)]
    )
    (warning,) = folder.pack().warnings
    assert (
        warning == f"task {name}: all 10 predictions are {shown}: the model may have learnt nothing"
    )
