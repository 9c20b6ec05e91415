"""Multiple choice: C3's questions about a text, and ChID's idioms that fill the blanks of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError, Blank, ChoiceExample, ClozeExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.streams import Record, TaskFile, id_of, is_texts, json_value

_MARK = re.compile(r"#idiom\d+#")
_FEWCLUE_MARK = "#idiom#"


class C3(ExampleReader, name="c3"):
    """C3 (Sun et al. 2020): questions about short texts and dialogues, with two to four choices.

    A file is one JSON list of `[[lines of the text], [{question, choice, answer, id?}], id of the
    text]`; or one `{id, context: [lines], question, choice, answer}` per question, as JSON lines,
    Parquet or Arrow. The correct choice is the first one that equals `answer`. A question without
    an id gets `FILE/TEXT/NUMBER` (`c3-m-dev/11-67/0`), because the authors' two parts, dialogues
    and mixed texts, use the same ids for different texts.
    """

    example_type = ChoiceExample

    def _records(self) -> Iterator[Record]:
        name = self.path.rpartition("/")[2].removesuffix(".json")
        if self.file.is_columnar or self.file.begins_with("context", "choice"):
            for number, record in enumerate(self._objects()):
                yield _flat_question(record, f"{name}/{number}")
            return
        items = json_value(self.file)
        if not isinstance(items, list):
            raise UserError(f"{self.path}: not a JSON list of [text, questions, id]")
        for number, item in enumerate(items, 1):
            place = f"{self.path}, text {number}"
            if not _is_text_with_questions(item):
                error = BadExampleError("not [[lines], [questions], id]", str(item)[:40])
                yield Record(error, place)
                continue
            lines, questions, text = item
            for index, question in enumerate(questions):
                value = (f"{name}/{text}/{index}", "\n".join(lines), question)
                yield Record(value, f"{place}, question {index + 1}")

    def _example(self, record: Record, number: int) -> ChoiceExample:
        del number
        identity, context, question = record.value
        if not (
            isinstance(question, dict)
            and isinstance(question.get("question"), str)
            and is_texts(question.get("choice"), at_least=2)
        ):
            detail = f"{str(question)[:60]}; needed: question, choice (a list of texts)"
            raise BadExampleError("not a question with two or more choices", detail)
        choices, answer = tuple(question["choice"]), question.get("answer")
        if answer is not None and answer != "" and answer not in choices:
            detail = f'"{answer}"; allowed: {" | ".join(choices)}'
            raise BadExampleError("the answer is not one of the choices", detail)
        identity = id_of(question, identity)
        index = choices.index(answer) if answer in choices else None
        return ChoiceExample(identity, context, question["question"], choices, index, record.place)


def _flat_question(record: Record, identity: str) -> Record:
    """Returns the record of a question that has its context with it."""
    if isinstance(record.value, BadExampleError):
        return record
    context = record.value.get("context")
    if not is_texts(context, at_least=1):
        received = str(context)[:40]
        error = BadExampleError('field "context" is not a list of texts', f"received {received}")
        return record._replace(value=error)
    return record._replace(value=(identity, "\n".join(context), record.value))


def _is_text_with_questions(item: Any) -> bool:
    is_triple = isinstance(item, list) and len(item) == 3
    return is_triple and is_texts(item[0]) and isinstance(item[1], list)


class Chid(ExampleReader, name="chid"):
    """ChID (Zheng et al. 2019) in CLUE's form.

    JSON lines `{"content": [texts with #idiom000123#], "candidates": [idioms]}`; the answers are in
    `NAME_answer.json` next to NAME.json, one object of mark to index, or as Hugging Face's hub has
    them, `"answers": {"text": [marks], "candidate_id": [indexes]}`.
    """

    example_type = ClozeExample

    def _records(self) -> Iterator[Record]:
        self._answers_path = f"{self.path.removesuffix('.json')}_answer.json"
        self._answers: dict[str, Any] | None = None
        if files.exists(self._answers_path):
            self._answers = json_value(TaskFile(self._answers_path))
            if not isinstance(self._answers, dict):
                wanted = "a JSON object of blank to index of its idiom"
                raise UserError(f"{self._answers_path}: not {wanted}")
        return super()._records()

    def _example(self, record: Record, number: int) -> ClozeExample:
        item = record.value
        texts, candidates = item.get("content"), item.get("candidates")
        if not is_texts(texts, at_least=1) or not is_texts(candidates, at_least=2):
            raise _not_an_item(item, content="a list of texts")
        answers = self._answers or _given_answers(item.get("answers"))
        blanks = []
        for index, text in enumerate(texts):
            for match in _MARK.finditer(text):
                mark = match.group()
                answer = answers.get(mark)
                _check_answer(answer, len(candidates), f"{mark}: ")
                blanks.append(Blank(mark, index, match.start(), match.end(), answer))
        if not blanks:
            raise BadExampleError("no blank in the texts", "marks look like #idiom000123#")
        identity = id_of(item, number)
        return ClozeExample(identity, tuple(texts), tuple(blanks), tuple(candidates), record.place)

    def _found(self, record: Record) -> str:
        if self._answers is None:
            return f"{self._answers_path} does not exist"
        marks = _MARK.findall(" ".join(record.value["content"]))
        missing = next(mark for mark in marks if self._answers.get(mark) is None)
        return f"{missing} is not among the answers"


def _given_answers(answers: Any) -> dict[str, Any]:
    """Returns mark to index of the hub's form; negative indexes are unknown answers."""
    if not isinstance(answers, dict):
        return {}
    marks, indexes = answers.get("text"), answers.get("candidate_id")
    if not is_texts(marks) or not isinstance(indexes, list) or len(marks) != len(indexes):
        needed = 'needed: {"text": [marks], "candidate_id": [indexes]}'
        raise BadExampleError("answers of another form", needed)
    pairs = zip(marks, indexes, strict=True)
    return {mark: index for mark, index in pairs if not (type(index) is int and index < 0)}


class ChidFewclue(ExampleReader, name="chid_fewclue"):
    """ChID in FewCLUE's form, with one blank per item.

    JSON lines `{"id", "content": "text with #idiom#", "candidates": [idioms], "answer": index}`;
    the answer may also be the idiom itself.
    """

    example_type = ClozeExample

    def _example(self, record: Record, number: int) -> ClozeExample:
        item = record.value
        text, candidates = item.get("content"), item.get("candidates")
        if not isinstance(text, str) or not is_texts(candidates, at_least=2):
            raise _not_an_item(item, content="a text")
        marks = text.count(_FEWCLUE_MARK)
        if marks != 1:
            detail = f"{marks} times {_FEWCLUE_MARK}"
            raise BadExampleError("not exactly one blank in the text", detail)
        answer = item.get("answer")
        answer = candidates.index(answer) if answer in candidates else answer
        _check_answer(answer, len(candidates))
        start = text.index(_FEWCLUE_MARK)
        blank = Blank(_FEWCLUE_MARK, 0, start, start + len(_FEWCLUE_MARK), answer)
        identity = id_of(item, number)
        return ClozeExample(identity, (text,), (blank,), tuple(candidates), record.place)


def _not_an_item(item: dict[str, Any], *, content: str) -> BadExampleError:
    needed = f"needed: content ({content}), candidates (two idioms or more)"
    return BadExampleError("not a cloze item", f"found {', '.join(item)}; {needed}")


def _check_answer(answer: Any, candidates: int, name: str = "") -> None:
    """Checks an index of candidates; None is an unknown answer."""
    if answer is not None and (type(answer) is not int or not 0 <= answer < candidates):
        value = json.dumps(answer, ensure_ascii=False)
        detail = f"{name}{value}; allowed: 0 to {candidates - 1}"
        raise BadExampleError("the answer is not a candidate", detail)
