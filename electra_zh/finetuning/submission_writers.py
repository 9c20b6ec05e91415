"""The leaderboard's files: predictions checked against the test examples, in one of five forms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh.errors import UserError, did_you_mean, few
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import (
    BadExampleError,
    BadExamples,
    ClozeExample,
    QuestionExample,
    TaggedExample,
)
from electra_zh.finetuning.readers.streams import Record, read_json_lines
from electra_zh.finetuning.scores.answer_counts import same_answer
from electra_zh.finetuning.tasks import TaskConfig

Line = Mapping[str, Any]
# Returns the object to write for a test example, from its line of predictions and the labels of the
# task. Raises UserError for a prediction that does not fit the example.
Writer = Callable[[Any, Line, Sequence[str]], dict[str, Any]]


def _show(value: Any) -> str:
    """Returns the beginning of a JSON value, for messages."""
    return json.dumps(value, ensure_ascii=False)[:80]


def _check_known(what: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise UserError(f"{what} {_show(value)}; allowed: {few(known, 20)}.{hint}")


def _check_index(what: str, value: Any, start: int, end: int) -> None:
    if type(value) is not int or not start <= value < end:
        raise UserError(f"{what} {_show(value)}; allowed: {start} to {end - 1}")


def _label(example: Any, line: Line, labels: Sequence[str]) -> dict[str, Any]:
    _check_known("label", line.get("label"), labels)
    return {"id": example.id, "label": line["label"]}


def _choice(example: Any, line: Line, labels: Sequence[str]) -> dict[str, Any]:
    if type(example.id) is not int:
        raise UserError("the question has no id, so this is not the leaderboard's test file")
    _check_index("choice", line.get("label"), 0, len(example.choices))
    return {"id": example.id, "label": line["label"]}


def _answer(example: QuestionExample, line: Line, labels: Sequence[str]) -> dict[str, Any]:
    answer = line.get("answer")
    if not isinstance(answer, str):
        raise UserError(f"answer {_show(answer)} is not text")
    if answer not in example.context:
        raise UserError(f"answer {_show(answer)} does not occur in the context")
    return {example.id: answer}


def _idioms(example: ClozeExample, line: Line, labels: Sequence[str]) -> dict[str, Any]:
    answers = line.get("answers")
    if not isinstance(answers, dict):
        raise UserError(f"answers {_show(answers)} are not an object of blank to index")
    marks = [blank.id for blank in example.blanks]
    for mark in (*marks, *answers):
        if mark not in marks:
            raise UserError(f"{mark} is not a blank of the item")
        if mark not in answers:
            raise UserError(f"{mark} has no answer")
        _check_index(mark, answers[mark], 0, len(example.candidates))
    return {mark: answers[mark] for mark in marks}


def _entities(example: TaggedExample, line: Line, labels: Sequence[str]) -> dict[str, Any]:
    text = example.text
    if line.get("text") != text:
        raise UserError(f"text {_show(line.get('text'))}, expected {_show(text)}")
    if not isinstance(line.get("entities"), list):
        raise UserError(f"entities {_show(line.get('entities'))} are not a list")
    found: dict[str, dict[str, list[list[int]]]] = {}
    for entity in line["entities"]:
        if not isinstance(entity, dict):
            raise UserError(f"entity {_show(entity)} is not an object")
        _check_known("entity type", entity.get("type"), labels)
        start: Any = entity.get("start")
        end: Any = entity.get("end")
        _check_index("entity start", start, 0, len(text))
        _check_index("entity end", end, start + 1, len(text) + 1)
        mention = text[start:end]
        if entity.get("mention") != mention:
            wrong = _show(entity.get("mention"))
            raise UserError(f"mention {wrong}, expected {_show(mention)} at {start} to {end}")
        # The leaderboard's ends are those of the last character.
        found.setdefault(entity["type"], {}).setdefault(mention, []).append([start, end - 1])
    return {"id": example.id, "label": found}


WRITERS: Mapping[str, Writer] = {
    "labels": _label,
    "choices": _choice,
    "answers": _answer,
    "idioms": _idioms,
    "entities": _entities,
}
_FORMS_WITH_LABELS = ("labels", "entities")
# Forms of one JSON object, merged from all that is written; the others are JSON lines.
_FORMS_OF_ONE_OBJECT = ("answers", "idioms")


class Content(NamedTuple):
    """The text of a file of the zip, the number of predictions in it, and warnings."""

    text: str
    size: int
    warnings: list[str]


def make_content(
    form: str, task: TaskConfig, test_files: Sequence[str], predictions: str
) -> Content:
    """Returns a file of the leaderboard.

    Args:
      form: one of `WRITERS`.
      task: its settings, with its labels.
      test_files: paths of the test files, in order.
      predictions: path of the file of JSON lines.

    Raises:
      UserError: the predictions do not fit the test files.
    """
    if form in _FORMS_WITH_LABELS and not task.labels.names:
        raise UserError("its labels are not known: its folder has no model")
    examples = _read_tests(test_files, task)
    lines = list(read_json_lines(predictions))
    wrong = next(filter(None, map(_difference, examples, lines)), "")
    if len(lines) != len(examples):
        where = f"; the first difference: {wrong}" if wrong else ""
        count = f"{len(lines):,} predictions, expected {len(examples):,}"
        raise UserError(f"{predictions}: {count} ({', '.join(test_files)}){where}")
    if wrong:
        raise UserError(wrong)
    made = []
    for example, line in zip(examples, lines, strict=True):
        try:
            made.append(WRITERS[form](example, line.value, task.labels.names))
        except UserError as error:
            raise UserError(f"{line.place}: {error} ({example.place})") from None
    if form in _FORMS_OF_ONE_OBJECT:
        return _merged(made)
    answers = Counter(_show(each["label"]) for each in made)
    names = task.labels.names
    words = {"{}": "without entities"} | {_show(n): task.labels.in_words(n) for n in names}
    warnings = [
        line
        for answer, count in answers.most_common(1)
        for line in same_answer(words.get(answer, answer), count, len(made))
    ]
    return Content(_json_lines(made), len(made), warnings)


def _read_tests(paths: Sequence[str], task: TaskConfig) -> list[Any]:
    bad = BadExamples(skip=False, hint="")
    examples = list(readers.read(paths, task, split="test", bad=bad))
    places: dict[str, str] = {}
    for example in examples:
        first = places.setdefault(_show(example.id), example.place)
        if first != example.place:
            raise UserError(f"{example.place}: duplicate id {_show(example.id)}, also at {first}")
    return examples


def _difference(example: Any, line: Record) -> str:
    """Returns the error in the id of a line; "" for none.

    Raises:
      UserError: the line is not a JSON object.
    """
    if isinstance(line.value, BadExampleError):
        raise UserError(f"{line.place}: {line.value}")
    received = line.value.get("id")
    if type(received) is type(example.id) and received == example.id:
        return ""
    return f"{line.place}: id {_show(received)}, expected {_show(example.id)} ({example.place})"


def _merged(made: Sequence[Mapping[str, Any]]) -> Content:
    """Returns one object of all answers."""
    merged: dict[str, Any] = {}
    for value in made:
        for key in value.keys() & merged.keys():
            raise UserError(f"duplicate {key} in the test files")
        merged.update(value)
    empty = [key for key, value in merged.items() if value == ""]
    warnings = []
    if empty:
        warnings.append(f"{len(empty):,} of {len(merged):,} answers are empty, first {empty[0]}")
    return Content(_json_lines([merged]), len(merged), warnings)


def _json_lines(values: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)
