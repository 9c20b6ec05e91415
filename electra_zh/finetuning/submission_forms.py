"""The forms of the leaderboard's files: what is read of test files, how predictions must fit.

Test files are read in their raw form and without the tasks' readers: what predictions are checked
against does not depend on what they were made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.readers.streams import read_json

_MARK = re.compile(r"#idiom\d+#")
_ID_NAMES = ("id", "idx")
_QUESTION_ID_NAMES = ("id", "query_id", "qid")


class Item(NamedTuple):
    """What one line of the predictions has to fit.

    Attributes:
      id: as the test file has it.
      place: file and line, or file and question.
      value: what the form's check compares with: number of choices, context, text, item.
    """

    id: Any
    place: str
    value: Any = None


class Line(NamedTuple):
    """One line of a file of JSON lines."""

    value: Mapping[str, Any]
    place: str


class Form(NamedTuple):
    """One way of writing predictions, and what the test file looks like.

    Attributes:
      read: from the path of a test file to what is to be predicted.
      check: from that, a line of predictions and the task's labels to what is written.
      looks: of the test file, for messages.
      labelled: the task has labels.
      whole: the file is one JSON object instead of JSON lines.
    """

    read: Callable[[str], Iterator[Item]]
    check: Callable[[Item, Mapping[str, Any], Sequence[str]], dict[str, Any]]
    looks: str
    labelled: bool = False
    whole: bool = False


def pairs(form: Form, test_files: Sequence[str], predictions: str) -> list[tuple[Item, Line]]:
    """Returns what is to be predicted with its line of predictions; count and ids are compared.

    Args:
      form: of the test files.
      test_files: paths of the raw test files, in order.
      predictions: path of the file of JSON lines.

    Raises:
      UserError: a file of another form, an id that stands twice, or predictions that are not those
        of the test files in their order.
    """
    items = [item for path in test_files for item in _items(path, form)]
    seen: dict[str, str] = {}
    for item in items:
        name = _json(item.id)
        if name in seen:
            raise UserError(f"{item.place}: id {name} stands at {seen[name]} already")
        seen[name] = item.place
    lines = list(_json_lines(predictions))
    found = list(zip(items, lines, strict=False))
    wrong = next((_difference(*pair) for pair in found if _difference(*pair)), "")
    if len(lines) != len(items):
        where = f"; the first difference: {wrong}" if wrong else ""
        count = f"{len(lines):,} predictions, expected {len(items):,}"
        raise UserError(f"{predictions}: {count} ({', '.join(test_files)}){where}")
    if wrong:
        raise UserError(wrong)
    return found


def _difference(item: Item, line: Line) -> str:
    """Returns what is wrong with the id of a line; "" for nothing."""
    received = line.value.get("id")
    if type(received) is type(item.id) and received == item.id:
        return ""
    return f"{line.place}: id {_json(received)}, expected {_json(item.id)} ({item.place})"


def _items(path: str, form: Form) -> list[Item]:
    try:
        return list(form.read(path))
    except UserError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"{path} is not of the form {form.looks}") from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


def _json_lines(path: str) -> Iterator[Line]:
    text = files.read_text(path).removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise UserError(f"{place}: not a JSON object")
        yield Line(value, place)


def _numbered(path: str) -> Iterator[tuple[Any, Line]]:
    """Yields the lines of a test file with their ids; the number from 0 where there is none."""
    for number, line in enumerate(_json_lines(path)):
        given = (line.value[name] for name in _ID_NAMES if line.value.get(name) is not None)
        yield next(given, number), line


def _read_rows(path: str) -> Iterator[Item]:
    for identity, line in _numbered(path):
        yield Item(identity, line.place)


def _read_texts(path: str) -> Iterator[Item]:
    for identity, line in _numbered(path):
        yield Item(identity, line.place, str(line.value["text"]))


def _read_blanks(path: str) -> Iterator[Item]:
    for identity, line in _numbered(path):
        marks = _MARK.findall("\n".join(line.value["content"]))
        yield Item(identity, line.place, (marks, len(line.value["candidates"])))


def _read_choices(path: str) -> Iterator[Item]:
    for number, (_, questions, _) in enumerate(read_json(path), 1):
        for index, question in enumerate(questions, 1):
            place = f"{path}, text {number}, question {index}"
            if question.get("id") is None:
                raise UserError(f"{place}: no id: this is not the leaderboard's test file")
            yield Item(question["id"], place, len(question["choice"]))


def _read_questions(path: str) -> Iterator[Item]:
    content = read_json(path)
    for article in content["data"] if isinstance(content, dict) else content:
        for paragraph in article.get("paragraphs", [article]):
            context = paragraph.get("context", paragraph.get("context_text"))
            for fields in paragraph["qas"]:
                names = (name for name in _QUESTION_ID_NAMES if fields.get(name) is not None)
                identity = str(fields[next(names, "id")])
                yield Item(identity, f"{path}, question {identity}", str(context))


def _check_label(item: Item, line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    label = line.get("label")
    _check_known("label", label, labels)
    return {"id": item.id, "label": label}


def _check_known(what: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise UserError(f"{what} {_json(value)}; allowed: {shown}.{hint}")


def _check_index(what: str, value: Any, count: int) -> None:
    if type(value) is not int or not 0 <= value < count:
        raise UserError(f"{what} {_json(value)}; allowed: 0 to {count - 1}")


def _check_choice(item: Item, line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    del labels
    _check_index("choice", line.get("label"), item.value)
    return {"id": item.id, "label": line["label"]}


def _check_answer(item: Item, line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    del labels
    answer = line.get("answer")
    if not isinstance(answer, str):
        raise UserError(f"answer {_json(answer)}; a text is needed")
    if answer not in item.value:
        raise UserError(f"answer {_json(answer)} does not stand in the context")
    return {item.id: answer}


def _check_idioms(item: Item, line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    del labels
    marks, count = item.value
    answers = line.get("answers")
    if not isinstance(answers, dict):
        raise UserError(f"answers {_json(answers)}; an object of blank to index is needed")
    odd = [mark for mark in (*marks, *answers) if (mark in answers) != (mark in marks)]
    if odd:
        state = "is no blank of the item" if odd[0] in answers else "has no answer"
        raise UserError(f"{odd[0]} {state}")
    for mark in marks:
        _check_index(mark, answers[mark], count)
    return {mark: answers[mark] for mark in marks}


def _check_entities(item: Item, line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    if line.get("text") != item.value:
        raise UserError(f"text {_json(line.get('text'))}, expected {_json(item.value)}")
    if not isinstance(line.get("entities"), list):
        raise UserError(f"entities {_json(line.get('entities'))}; a list is needed")
    found: dict[str, dict[str, list[list[int]]]] = {}
    for entity in line["entities"]:
        if not isinstance(entity, dict):
            raise UserError(f"entity {_json(entity)}; an object is needed")
        _check_known("entity type", entity.get("type"), labels)
        start: Any = entity.get("start")
        end: Any = entity.get("end")
        _check_index("entity start", start, len(item.value))
        if type(end) is not int or not start < end <= len(item.value):
            raise UserError(f"entity end {_json(end)}; allowed: {start + 1} to {len(item.value)}")
        mention = item.value[start:end]
        if entity.get("mention") != mention:
            wrong = _json(entity.get("mention"))
            raise UserError(f"mention {wrong}, expected {_json(mention)} at {start} to {end}")
        # The leaderboard's ends are those of the last character.
        found.setdefault(entity["type"], {}).setdefault(mention, []).append([start, end - 1])
    return {"id": item.id, "label": found}


FORMS = {
    "labels": Form(_read_rows, _check_label, "JSON lines", labelled=True),
    "choices": Form(_read_choices, _check_choice, "[[[line], [{id, question, choice}], id]]"),
    "answers": Form(
        _read_questions, _check_answer, '{"data": [{paragraphs: [{context, qas}]}]}', whole=True
    ),
    "idioms": Form(_read_blanks, _check_idioms, "JSON lines of content, candidates", whole=True),
    "entities": Form(_read_texts, _check_entities, "JSON lines of text", labelled=True),
}
