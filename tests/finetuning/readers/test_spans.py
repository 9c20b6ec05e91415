"""Readers of questions on small files of each form, valid and broken; spans of answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.encoding.answers import find_answer
from electra_zh.finetuning.examples import Answer, BadExamples, QuestionExample
from electra_zh.finetuning.tasks import TaskConfig

CONTEXT = "范廷颂枢机，1919年生于越南，1963年任主教，1990年升任。"


def read(
    reader: str,
    path: Path,
    content: Any,
    *,
    split: str = "train",
    problems: BadExamples | None = None,
) -> list[QuestionExample]:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return read_file(reader, path, split=split, problems=problems)


def read_file(
    reader: str, path: Path, *, split: str = "train", problems: BadExamples | None = None
) -> list[QuestionExample]:
    task = TaskConfig(name="reading", kind="span", reader=reader, metric="em")
    bad = problems or BadExamples(skip=False)
    return list(readers.read(str(path), task, split=split, bad=bad))


def article(*questions: dict[str, Any], context: Any = CONTEXT) -> dict[str, Any]:
    """A file of one paragraph in SQuAD's form."""
    paragraph = {"id": "P0", "context": context, "qas": list(questions)}
    return {"version": "v1.0", "data": [{"title": "范", "id": "P0", "paragraphs": [paragraph]}]}


def question(*answers: tuple[str, int], name: str = "Q0", **fields: Any) -> dict[str, Any]:
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "何时任主教？", "answers": listed, **fields}


def test_squad_form(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    found = read("squad", path, article(question(("1963年", 17), ("1963", 17))))
    answers = (Answer("1963年", 17), Answer("1963", 17))
    place = f"{path}, question Q0"
    assert found == [QuestionExample("Q0", "何时任主教？", CONTEXT, answers, "", place)]


def test_first_form_of_cmrc_has_no_offsets(tmp_path: Path) -> None:
    asked = {"query_id": "T_1", "query_text": "何时？", "answers": ["1919年", "1963年"]}
    content = [{"context_id": "T", "context_text": CONTEXT, "title": "范", "qas": [asked]}]
    (found,) = read("squad", tmp_path / "cmrc2018_train.json", content)
    assert (found.id, found.question, found.context) == ("T_1", "何时？", CONTEXT)
    assert found.answers == (Answer("1919年", -1), Answer("1963年", -1))


@pytest.mark.parametrize("flag", [True, "true"])
def test_unanswerable_questions_of_squad2(tmp_path: Path, flag: object) -> None:
    plausible = [{"text": "1919年", "answer_start": 6}]
    content = article(question(is_impossible=flag, plausible_answers=plausible))
    (found,) = read("squad", tmp_path / "train.json", content)
    assert (found.answers, found.answer_type) == ((), "NONE")


def test_answerable_questions_of_squad2(tmp_path: Path) -> None:
    (found,) = read(
        "squad", tmp_path / "a.json", article(question(("1963年", 17), is_impossible=False))
    )
    assert (found.answers, found.answer_type) == ((Answer("1963年", 17),), "")


@pytest.mark.parametrize("split", ["test", "new"])
def test_placeholder_answers_are_none(tmp_path: Path, split: str) -> None:
    fake = [(f"FAKE_ANSWER_{i}", -1) for i in (1, 2, 3)]
    (found,) = read("squad", tmp_path / "test.json", article(question(*fake)), split=split)
    assert found.answers is None


def test_answers_of_a_test_file_are_taken_when_any_occurs(tmp_path: Path) -> None:
    content = article(question(("1963年", 17)), question(("二零一零年", -1), name="Q1"))
    found = read("squad", tmp_path / "test.json", content, split="test")
    assert [example.answers for example in found] == [
        (Answer("1963年", 17),),
        (Answer("二零一零年", -1),),
    ]


def test_new_questions_need_no_answers_and_no_ids(tmp_path: Path) -> None:
    content = article({"question": "谁？"}, {"question": "何时？"})
    found = read("squad", tmp_path / "new.json", content, split="new")
    assert [(each.id, each.answers) for each in found] == [("0", None), ("1", None)]
    # Numbers go through all files of a split.
    task = TaskConfig(name="reading", kind="span", reader="squad", metric="em")
    paths, bad = [str(tmp_path / "new.json")] * 2, BadExamples(skip=False)
    ids = [each.id for each in readers.read(paths, task, split="new", bad=bad)]
    assert ids == ["0", "1", "2", "3"]


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("fields", [{"id": "Q7", "question": "谁？"}, question(name="Q7")])
def test_missing_answers_are_a_problem_where_they_are_needed(
    tmp_path: Path, split: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"a\.json, question Q7: no answers: is this a test file\?"):
        read("squad", tmp_path / "a.json", article(fields), split=split)


def test_span_outside_the_text_is_a_problem_in_training_only(tmp_path: Path) -> None:
    content = article(question(("纽约", 400)))
    message = r'question Q0: span outside the text: "纽约" at 400 of 33 characters'
    with pytest.raises(UserError, match=message):
        read("squad", tmp_path / "a.json", content)
    assert len(read("squad", tmp_path / "a.json", content, split="dev")) == 1


def test_span_outside_the_text_that_occurs_in_it_is_none(tmp_path: Path) -> None:
    assert len(read("squad", tmp_path / "a.json", article(question(("主教", 400))))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1,", r"a\.json, line 1: not valid JSON"),
        ("", r"a\.json is empty"),
        ({"version": "1"}, r"a\.json is neither .*paragraphs.* nor .*context_text"),
        ({"data": [{"title": "范"}]}, r"article 1: the file is neither"),
        ({"data": [3]}, r"article 1: the file is neither"),
        (article(context="  "), r"article 1: no context"),
        (article(context=7), r"article 1: no context"),
        ({"data": [{"paragraphs": [{"context": "天"}]}]}, "`qas` is not a list of questions"),
        (article(question(("1963年", 17)), question(("1919年", 6))), "an earlier question has the"),
        (article({"id": "Q1", "answers": []}), "question Q1: no question"),
        (article({**question(("1963年", 17)), "question": " "}), "question Q0: no question"),
        (article({**question(), "answers": [{"answer_start": 3}]}), "answers of another form"),
        (article({**question(), "answers": "1963年"}), "answers of another form"),
        (article({**question(), "answers": [7]}), "answers of another form"),
        (article(question(("1963年", "17"))), "answers of another form"),  # type: ignore[arg-type]
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read("squad", tmp_path / "a.json", content)


def test_bad_questions_are_counted_when_skipped(tmp_path: Path) -> None:
    problems = BadExamples(skip=True)
    content = article(question(name="Q1"), question(("1963年", 17)), question(name="Q2"))
    assert len(read("squad", tmp_path / "a.json", content, problems=problems)) == 1
    assert problems.counts == {"no answers: is this a test file?": 2}


def test_questions_of_a_test_file_may_be_empty(tmp_path: Path) -> None:
    content = article({"id": "Q1", "question": ""})
    assert read("squad", tmp_path / "a.json", content, split="test")[0].question == ""


# --- CJRC ------------------------------------------------------------------------------------


def judgment(*questions: dict[str, Any]) -> dict[str, Any]:
    paragraph = {"casename": "借款纠纷", "context": CONTEXT, "qas": list(questions)}
    data = [{"caseid": "1", "domain": "civil", "paragraphs": [paragraph]}]
    return {"version": "1.0", "data": data}


def test_cjrc_has_spans_yes_no_and_unanswerable_questions(tmp_path: Path) -> None:
    content = judgment(
        question(("1963年", 17), name="1", is_impossible="false"),
        question(("YES", -1), name="2", is_impossible="false"),
        question(("NO", -1), name="3", is_impossible="false"),
        question(name="4", is_impossible="true"),
    )
    found = read("cjrc", tmp_path / "train.json", content)
    assert [(each.answer_type, each.answers) for each in found] == [
        ("", (Answer("1963年", 17),)),
        ("YES", ()),
        ("NO", ()),
        ("NONE", ()),
    ]


def test_cjrc_keeps_the_answers_of_all_annotators(tmp_path: Path) -> None:
    nested = [[{"text": "1963年", "answer_start": 17}], [{"text": "1963", "answer_start": 17}]]
    content = judgment(
        {"id": "1", "question": "何时？", "is_impossible": "false", "answers": nested},
        question(("YES", -1), ("1963年", 17), ("YES", -1), name="2", is_impossible="false"),
        question(("YES", -1), ("YES", -1), name="3", is_impossible="false"),
    )
    found = read("cjrc", tmp_path / "dev.json", content, split="dev")
    assert [(each.answer_type, each.answers) for each in found] == [
        ("", (Answer("1963年", 17), Answer("1963", 17))),
        ("YES", (Answer("YES", -1), Answer("1963年", 17), Answer("YES", -1))),
        ("YES", ()),
    ]


def test_cjrc_test_file_without_answers(tmp_path: Path) -> None:
    content = judgment({"id": "1", "question": "何时？"}, question(name="2", is_impossible="false"))
    found = read("cjrc", tmp_path / "test.json", content, split="test")
    assert [each.answers for each in found] == [None, None]
    with pytest.raises(UserError, match=r"question 1: no answers: is this a test file\?"):
        read("cjrc", tmp_path / "test.json", content)


# --- MRQA ------------------------------------------------------------------------------------

PASSAGE = "[TLE] Cobra [PAR] The King  Cobra lives in India ."


def mrqa_lines(*questions: dict[str, Any]) -> str:
    lines: list[dict[str, Any]] = [
        {"header": {"dataset": "NewsQA", "split": "train"}},
        {"id": "", "context": PASSAGE, "context_tokens": [], "qas": list(questions)},
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def detected(*spans: list[int], text: str = "king cobra", **fields: Any) -> dict[str, Any]:
    answer = {"text": text, "char_spans": list(spans), "token_spans": []}
    base = {"qid": "q1", "question": "Which snake?", "detected_answers": [answer]}
    return {**base, "answers": ["king cobra", "Ophiophagus"], **fields}


def test_mrqa_spells_the_answer_as_the_context_does(tmp_path: Path) -> None:
    (found,) = read("mrqa", tmp_path / "train.jsonl", mrqa_lines(detected([22, 32], [6, 10])))
    assert (found.id, found.context) == ("q1", PASSAGE)
    assert found.answers == (
        Answer("King  Cobra", 22),
        Answer("king cobra", -1),
        Answer("Ophiophagus", -1),
    )


def test_mrqa_span_of_another_text_is_left_to_alignment(tmp_path: Path) -> None:
    (found,) = read("mrqa", tmp_path / "a.jsonl", mrqa_lines(detected([0, 4], text="India")))
    assert found.answers is not None
    assert found.answers[0] == Answer("India", 0)


def test_mrqa_reads_gzip(tmp_path: Path) -> None:
    path = tmp_path / "NewsQA.jsonl.gz"
    path.write_bytes(gzip.compress(mrqa_lines(detected([22, 32])).encode()))
    (found,) = read_file("mrqa", path)
    assert found.question == "Which snake?"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"no gzip", ", line 1: not valid JSON"),
        (gzip.compress(b"{}" * 1000, mtime=0)[:-20], " is damaged"),
    ],
    ids=["not packed", "cut short"],
)
def test_mrqa_damaged_gzip(tmp_path: Path, broken: bytes, message: str) -> None:
    path = tmp_path / "NewsQA.jsonl.gz"
    path.write_bytes(broken)
    with pytest.raises(UserError, match=rf"NewsQA\.jsonl\.gz{message}"):
        read_file("mrqa", path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"qid": "q9", "question": "Which?"}, r"question q9: no answers: is this a test file\?"),
        (detected(), "question q1: detected answers of another form"),
        (detected([3, 9], answers="x"), "question q1: detected answers of another form"),
        ({**detected(), "detected_answers": [], "answers": []}, "the list of answers is empty"),
        (detected([900, 909], text="Boa", answers=[]), 'span outside the text: "Boa" at 900'),
    ],
)
def test_mrqa_bad_questions(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read("mrqa", tmp_path / "train.jsonl", mrqa_lines(fields))


def test_mrqa_bad_lines(tmp_path: Path) -> None:
    problems = BadExamples(skip=True)
    text = mrqa_lines(detected([22, 32])) + '{"context": "x"\n{"context": " "}\n[]\n'
    assert len(read("mrqa", tmp_path / "a.jsonl", text, problems=problems)) == 1
    assert problems.counts == {"not valid JSON": 1, "no context": 1, "not a JSON object": 1}


def test_mrqa_without_answers_in_a_test_file(tmp_path: Path) -> None:
    text = mrqa_lines({"qid": "q9", "question": "Which?"})
    assert read("mrqa", tmp_path / "test.jsonl", text, split="test")[0].answers is None


# --- Spans of answers -----------------------------------------------------------------------


def test_an_answer_at_its_offset_is_taken_there() -> None:
    assert find_answer("天地天", "天", 2) == (2, 3, False)


@pytest.mark.parametrize(
    ("start", "expected"), [(0, 1), (2, 1), (3, 1), (5, 7), (6, 7), (99, 7), (-1, 1)]
)
def test_the_nearest_occurrence_is_taken(start: int, expected: int) -> None:
    context = "地天玄地地地地天玄"
    assert find_answer(context, "天玄", start) == (expected, expected + 2, True)


def test_the_earlier_of_two_as_near_is_taken() -> None:
    assert find_answer("天地地地天", "天", 2) == (0, 1, True)


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("共 5 000 人", "5000人", "5 000 人"),
        ("共５０００人", "5000人", "５０００人"),
        ("（NBA）的球员", "(nba)", "（NBA）"),
        ("new\u3000 york city", "New York", "new\u3000 york"),
        ("第㎞碑", "km", "㎞"),
    ],
)
def test_width_case_and_white_space_do_not_count(context: str, text: str, expected: str) -> None:
    found = find_answer(context, text, 0)
    assert found is not None
    assert context[found.start : found.end] == expected
    assert found.repaired


def test_the_nearest_is_taken_after_normalising_too() -> None:
    found = find_answer("Ａ地地地 地地Ａ", "a", 6)
    assert found is not None
    assert found.start == 7


@pytest.mark.parametrize(("text", "start"), [("黄", 0), ("", 0), (" ", 1), ("地天", 0)])
def test_an_answer_that_is_nowhere_is_not_found(text: str, start: int) -> None:
    assert find_answer("天 地", text, start) is None


@given(
    st.text("天地 a", max_size=30), st.text("天地 a", min_size=1, max_size=4), st.integers(-2, 40)
)
def test_what_is_found_is_the_nearest_occurrence(context: str, text: str, start: int) -> None:
    places = [i for i in range(len(context)) if context.startswith(text, i)]
    found = find_answer(context, text, start)
    if places and text.strip():
        assert found is not None
        assert context[found.start : found.end] == text
        assert abs(found.start - max(start, 0)) == min(abs(i - max(start, 0)) for i in places)
