"""Files of C3 and ChID in each of their forms, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import locate, readers, registry
from electra_zh.finetuning.examples import BadExamples, ChoiceExample, ClozeExample
from electra_zh.finetuning.tasks import Split, TaskConfig
from support.task_files import TASKS

SIZES = {"train": 12, "dev": 6, "test": 6}


def write(path: Path, value: Any) -> str:
    lines = value if isinstance(value, list) and path.name.startswith("lines") else [value]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), "utf-8")
    return str(path)


def read(
    reader: str, path: str | Path, split: str = "train", problems: BadExamples | None = None
) -> list[Any]:
    task = TaskConfig(
        name="made", kind="choice" if reader == "c3" else "cloze", reader=reader, metric="accuracy"
    )
    bad = problems or BadExamples(skip=False)
    return list(readers.read(str(path), task, split=split, bad=bad))


def read_split(name: str, folder: Path, split: Split) -> list[Any]:
    """Returns the examples that a shipped task finds and reads."""
    task = registry.load([name])[0]
    found = locate.find(task, locate.folders_below(str(folder)))
    assert found is not None
    bad = BadExamples(skip=False)
    return [
        example
        for path in found.paths[split]
        for example in readers.read(path, task, split=split, bad=bad)
    ]


# --- C3 --------------------------------------------------------------------------------------

QUESTION = {"question": "谁?", "choice": ["甲", "乙", "丙"], "answer": "乙"}


def c3_file(folder: Path, *questions: Any, lines: Any = ("男：好。", "女：不好。")) -> str:
    return write(folder / "d-dev.json", [[list(lines), list(questions), "11-5"]])


@pytest.mark.parametrize("name", ["c3", "chid", "chid_fewclue"])
def test_an_id_of_null_is_none(tmp_path: Path, name: str) -> None:
    mark = {"chid": "#idiom1#", "chid_fewclue": "#idiom#"}.get(name, "")
    item = {"id": None, "content": mark, "candidates": ["甲", "乙"]}
    path = write(tmp_path / "a.json", {**item, "content": [mark]} if name == "chid" else item)
    if name == "c3":
        path = c3_file(tmp_path, {**QUESTION, "id": None})
    (example,) = read(name, path, "test")
    assert example.id == ("d-dev/11-5/0" if name == "c3" else 0)


def test_c3_question(tmp_path: Path) -> None:
    path = c3_file(tmp_path, QUESTION)
    assert read("c3", path) == [
        ChoiceExample(
            "d-dev/11-5/0",
            "男：好。\n女：不好。",
            "谁?",
            ("甲", "乙", "丙"),
            1,
            f"{path}, text 1, question 1",
        )
    ]


def test_c3_keeps_the_ids_of_a_test_file(tmp_path: Path) -> None:
    question = {"question": "谁?", "choice": ["甲", "乙"], "id": 17}
    (example,) = read("c3", c3_file(tmp_path, question), "test")
    assert (example.id, example.answer) == (17, None)


@pytest.mark.parametrize("folder", ["c3", "c3_original"])
def test_task_c3_reads_both_parts(folder: str) -> None:
    for split, size in SIZES.items():
        examples = read_split("c3", TASKS / folder, split)  # type: ignore[arg-type]
        assert len(examples) == size
        assert len({str(example.id) for example in examples}) == size
        assert {2, 3, 4} >= {len(example.choices) for example in examples}
    places = {
        example.place.partition(",")[0] for example in read_split("c3", TASKS / folder, "dev")
    }
    assert len(places) == 2


@pytest.mark.parametrize("name", ["c3_m", "c3_d"])
def test_tasks_of_one_part_read_that_part(name: str) -> None:
    assert len(read_split(name, TASKS / "c3", "dev")) == 3


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({**QUESTION, "answer": "丁"}, r'question 1: the answer is not one of the choices: "丁"'),
        ({**QUESTION, "answer": ""}, "question 1: no label: is this a test file"),
        ({"question": "谁?", "choice": ["甲", "乙"]}, "no label: is this a test file"),
        ({**QUESTION, "choice": ["甲"]}, "not a question with two or more choices"),
        ({**QUESTION, "choice": "甲乙"}, "not a question with two or more choices"),
        ({**QUESTION, "question": None}, "not a question with two or more choices"),
        ("谁?", "not a question with two or more choices"),
    ],
)
def test_bad_c3_question_is_named(tmp_path: Path, question: Any, message: str) -> None:
    path = c3_file(tmp_path, question)
    with pytest.raises(UserError, match=f"d-dev.json, text 1.*{message}"):
        read("c3", path)


def test_bad_c3_questions_are_counted_when_skipped(tmp_path: Path) -> None:
    bad = {**QUESTION, "answer": "丁"}
    problems = BadExamples(skip=True)
    examples = read("c3", c3_file(tmp_path, bad, QUESTION, bad), problems=problems)
    assert [example.id for example in examples] == ["d-dev/11-5/1"]
    assert problems.counts == {"the answer is not one of the choices": 2}


@pytest.mark.parametrize("item", [[], "text", [["a"], [QUESTION]], ["a", [QUESTION], "id"]])
def test_bad_c3_item_is_named(tmp_path: Path, item: Any) -> None:
    path = write(tmp_path / "m-dev.json", [[["好"], [QUESTION], "1"], item])
    with pytest.raises(UserError, match=r"m-dev.json, text 2: not \[\[lines\], \[questions\]"):
        read("c3", path)


def test_c3_file_must_be_a_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m-dev.json: not a JSON list of"):
        read("c3", write(tmp_path / "m-dev.json", {"data": []}))


# --- ChID ------------------------------------------------------------------------------------

ITEM = {
    "content": ["他#idiom000001#，又#idiom000002#。", "没有", "#idiom000003#"],
    "candidates": ["画蛇添足", "一目了然", "一帆风顺"],
}
ANSWERS = {"#idiom000001#": 2, "#idiom000002#": 0, "#idiom000003#": 1}


def chid_file(folder: Path, *items: Any, answers: Any = ANSWERS) -> str:
    if answers is not None:
        write(folder / "lines_answer.json", answers)
    return write(folder / "lines.json", list(items))


def test_chid_item(tmp_path: Path) -> None:
    path = chid_file(tmp_path, ITEM)
    (example,) = read("chid", path)
    assert example.id == 0
    assert example.texts == tuple(ITEM["content"])
    assert example.candidates == tuple(ITEM["candidates"])
    assert example.place == f"{path}, line 1"
    assert [(blank.id, blank.text, blank.answer) for blank in example.blanks] == [
        ("#idiom000001#", 0, 2),
        ("#idiom000002#", 0, 0),
        ("#idiom000003#", 2, 1),
    ]
    for blank in example.blanks:
        assert example.texts[blank.text][blank.start : blank.end] == blank.id


@pytest.mark.parametrize("split", ["test", "new"])
def test_chid_without_answers(tmp_path: Path, split: str) -> None:
    (example,) = read("chid", chid_file(tmp_path, ITEM, answers=None), split)
    assert [blank.answer for blank in example.blanks] == [None, None, None]


def test_chid_test_file_with_answers_has_labels(tmp_path: Path) -> None:
    (example,) = read("chid", chid_file(tmp_path, ITEM), "test")
    assert [blank.answer for blank in example.blanks] == [2, 0, 1]


def test_task_chid_reads_the_public_files() -> None:
    for split, size in SIZES.items():
        examples = read_split("chid", TASKS / "chid", split)  # type: ignore[arg-type]
        assert [example.id for example in examples] == list(range(size))
        answers = [blank.answer for example in examples for blank in example.blanks]
        assert all((answer is None) == (split == "test") for answer in answers)


@pytest.mark.parametrize(
    ("item", "answers", "message"),
    [
        (ITEM, {}, "line 1: no label: is this a test file.*: #idiom000001# is not among the"),
        (
            ITEM,
            {**ANSWERS, "#idiom000002#": 3},
            "is not a candidate: #idiom000002#: 3; allowed: 0 to 2",
        ),
        (
            ITEM,
            {**ANSWERS, "#idiom000002#": "0"},
            'is not a candidate: #idiom000002#: "0"; allowed',
        ),
        ({**ITEM, "content": ["没有"]}, ANSWERS, "line 1: no blank in the texts"),
        (
            {**ITEM, "content": "没有"},
            ANSWERS,
            "not a cloze item: found content, candidates; needed",
        ),
        ({**ITEM, "candidates": ["一目了然"]}, ANSWERS, "not a cloze item"),
        ({"content": ["#idiom000001#"]}, ANSWERS, "not a cloze item: found content; needed"),
    ],
)
def test_bad_chid_item_is_named(tmp_path: Path, item: Any, answers: Any, message: str) -> None:
    path = chid_file(tmp_path, item, answers=answers)
    with pytest.raises(UserError, match=message):
        read("chid", path)


def test_bad_chid_items_are_counted_when_skipped(tmp_path: Path) -> None:
    problems = BadExamples(skip=True)
    bad = {**ITEM, "content": ["他#idiom000009#"]}
    examples = read("chid", chid_file(tmp_path, bad, ITEM), problems=problems)
    assert [example.id for example in examples] == [1]
    assert problems.counts == {"no label: is this a test file?": 1}


def test_chid_training_file_without_answers(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no label: is this a test file\?: .*lines_answer.json does not exist"
    ):
        read("chid", chid_file(tmp_path, ITEM, answers=None))


def test_chid_answers_must_be_an_object(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lines_answer.json: not a JSON object of blank to index"):
        read("chid", chid_file(tmp_path, ITEM, answers="text"))


# --- ChID of FewCLUE ---------------------------------------------------------------------------

FEW = {"id": 9, "candidates": ["画蛇添足", "一目了然"], "content": "他#idiom#。", "answer": 1}


@pytest.mark.parametrize("answer", [1, "一目了然"])
def test_fewclue_item(tmp_path: Path, answer: Any) -> None:
    (example,) = read("chid_fewclue", write(tmp_path / "lines.json", [{**FEW, "answer": answer}]))
    assert isinstance(example, ClozeExample)
    (blank,) = example.blanks
    assert (example.id, blank.id, blank.answer) == (9, "#idiom#", 1)
    assert (blank.start, blank.end) == (1, 8)


def test_task_chid_fewclue_reads_the_public_files() -> None:
    for split, size in SIZES.items():
        examples = read_split("chid_fewclue", TASKS / "chid_fewclue", split)  # type: ignore[arg-type]
        assert len(examples) == size
        assert all(example.blanks[0].answer is not None for example in examples)


def test_fewclue_item_without_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "lines.json", [{**FEW, "answer": None}])
    (example,) = read("chid_fewclue", path, "new")
    assert example.blanks[0].answer is None
    with pytest.raises(UserError, match=r"lines.json, line 1: no label: is this a test file"):
        read("chid_fewclue", path, "dev")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 2}, "the answer is not a candidate: 2; allowed: 0 to 1"),
        ({"answer": "水长船高"}, 'the answer is not a candidate: "水长船高"; allowed'),
        ({"answer": True}, "the answer is not a candidate: true; allowed"),
        ({"content": "他"}, "not exactly one blank in the text: 0 times #idiom#"),
        ({"content": "#idiom##idiom#"}, "not exactly one blank in the text: 2 times #idiom#"),
        ({"content": ["#idiom#"]}, "not a cloze item"),
        ({"candidates": None}, "not a cloze item"),
    ],
)
def test_bad_fewclue_item_is_named(tmp_path: Path, change: Any, message: str) -> None:
    path = write(tmp_path / "lines.json", [{**FEW, **change}])
    with pytest.raises(UserError, match=f"lines.json, line 1: {message}"):
        read("chid_fewclue", path)
