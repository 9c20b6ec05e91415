"""Questions that a span of a text answers: the forms of SQuAD, CJRC and MRQA."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeGuard

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.answers import find_answer
from electra_zh.finetuning.examples import Answer, BadExampleError, QuestionExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.streams import Record, json_value


class _Question(NamedTuple):
    """A question as the file has it; `id` is its number in the split if it has none."""

    id: str
    context: str
    fields: dict[str, Any]


class _Questions(ExampleReader):
    """Base of the readers of questions."""

    example_type = QuestionExample

    @functools.cached_property
    def _ids(self) -> set[str]:
        """The ids of the questions so far."""
        return set()

    @abc.abstractmethod
    def _answers(self, question: _Question) -> tuple[Sequence[Answer] | None, str]:
        """Returns the answers, None without any, and the answer's type.

        Raises:
          BadExampleError: the answers have another form.
        """

    def _questions_of(self, paragraph: dict[str, Any], place: str) -> Iterator[Record]:
        """Yields the questions about the context of a paragraph."""
        context = paragraph.get("context", paragraph.get("context_text"))
        if not isinstance(context, str) or not context.strip():
            yield Record(BadExampleError("no context", f"found {', '.join(paragraph)}"), place)
            return
        listed = paragraph.get("qas")
        if not _are_objects(listed):
            where = f"{self.path}, after question {len(self._ids)}"
            yield Record(BadExampleError("`qas` is not a list of questions"), where)
            return
        for fields in listed:
            given = (fields.get(key) for key in ("id", "query_id", "qid"))
            number = self.first + len(self._ids)
            name = str(next((each for each in given if each is not None), number))
            known = name in self._ids
            question = _Question(name, context, fields)
            value = BadExampleError("an earlier question has the same id") if known else question
            yield Record(value, f"{self.path}, question {name}")
            self._ids.add(name)

    def _example(self, record: Record, number: int) -> QuestionExample:
        del number
        question: _Question = record.value
        text = question.fields.get("question", question.fields.get("query_text"))
        # A question without text can still be answered, and every question of a test set must be.
        if not isinstance(text, str) or (self.labelled and not text.strip()):
            raise BadExampleError("no question", f"found {', '.join(question.fields)}")
        answers, answer_type = self._answers(question)
        if self.split == "train" and answers and not answer_type:
            _check_inside(question.context, answers[0])
        given = None if answers is None else tuple(answers)
        identity, context, _ = question
        return QuestionExample(identity, text, context, given, answer_type, record.place)


class Squad(_Questions, name="squad"):
    """SQuAD's form: SQuAD 1.1 and 2.0, CMRC2018, DRCD, XQuAD; and CMRC2018's first form.

    The latter is a list of `{context_text, qas: [{query_id, query_text, answers: [text]}]}`. A file
    may also have one `{id, context, question, answers: {text: [...], answer_start: [...]}}` per
    question, as JSON lines, an array, Parquet or Arrow, as Hugging Face's hub has them. If no
    answer in a file of split `test` or `new` occurs in its context, the answers are placeholders
    and the file is read as one without labels.
    """

    _form = 'neither {"data": [{"paragraphs": [...]}]} nor [{"context_text": ..., "qas": [...]}]'

    def _records(self) -> Iterator[Record]:
        records = list(self._all_questions())
        self._hidden = not self.labelled and not any(self._answered(each.value) for each in records)
        return iter(records)

    def _all_questions(self) -> Iterator[Record]:
        if self.file.is_columnar or self.file.begins_with("context", "question"):
            for record in self._objects():
                yield from self._flat_question(record)
            return
        content = json_value(self.file)
        articles = content.get("data") if isinstance(content, dict) else content
        if not isinstance(articles, list):
            raise UserError(f"{self.path} is {self._form}")
        for number, article in enumerate(articles, 1):
            place = f"{self.path}, article {number}"
            article = article if isinstance(article, dict) else {}
            if {"context", "question"} <= article.keys():
                yield from self._flat_question(Record(article, place))
                continue
            first_form = [article] if "context_text" in article else None
            paragraphs = article.get("paragraphs", first_form)
            if not _are_objects(paragraphs):
                yield Record(BadExampleError(f"the file is {self._form}"), place)
                continue
            for paragraph in paragraphs:
                yield from self._questions_of(paragraph, place)

    def _flat_question(self, record: Record) -> Iterator[Record]:
        if isinstance(record.value, BadExampleError):
            yield record
        else:
            yield from self._questions_of({**record.value, "qas": [record.value]}, record.place)

    def _answered(self, question: _Question | BadExampleError) -> bool:
        """Returns whether a test question has answers that are more than placeholders."""
        if isinstance(question, BadExampleError):
            return False
        try:
            answers = _parse_answers(question.fields) or ()
        except BadExampleError:
            return False
        return any(self._is_answer(question.context, each) for each in answers)

    def _is_answer(self, context: str, answer: Answer) -> bool:
        return find_answer(context, answer.text, answer.start) is not None

    def _answers(self, question: _Question) -> tuple[Sequence[Answer] | None, str]:
        """Returns all answers; of an unanswerable question none, and NONE."""
        answers = _parse_answers(question.fields)
        # The hub has no mark of questions without an answer.
        unanswered = isinstance(question.fields.get("answers"), dict) and self.labelled
        if _is_true(question.fields.get("is_impossible")) or (unanswered and not answers):
            return (), "NONE"
        return (None if self._hidden else answers or None), ""


class Cjrc(Squad, name="cjrc"):
    """CJRC, the reading comprehension of CAIL2019: SQuAD's form with YES and NO as answers.

    `is_impossible` is "true" or "false". The development set has answers of several annotators, as
    one list or a list of lists. The first one decides whether the question is answered by a span,
    by YES or NO, or not at all. If they disagree on that, all their answers are kept as texts,
    YES, NO and "" included.
    """

    _form = 'not {"data": [{"paragraphs": [...]}]}'

    def _is_answer(self, context: str, answer: Answer) -> bool:
        return True

    def _answers(self, question: _Question) -> tuple[Sequence[Answer] | None, str]:
        """Returns all answers and the first one's type; only that if all have the same."""
        answers = _parse_answers(question.fields)
        impossible = _is_true(question.fields.get("is_impossible"))
        if self._hidden or (answers is None and not impossible):
            return None, ""
        answers = [Answer("", -1)] if impossible or not answers else answers
        types = [_answer_type(answer) for answer in answers]
        is_type = types[0] and len(set(types)) == 1
        return () if is_type else answers, types[0]


class Mrqa(_Questions, name="mrqa"):
    """MRQA 2019: JSON lines (`.jsonl` or `.jsonl.gz`), one context each, after a header.

    An answer that was detected in the context is spelled as it is there; the other accepted
    spellings count for the scores only. Spans include their last character.
    """

    def _records(self) -> Iterator[Record]:
        for line in self._objects():
            if isinstance(line.value, BadExampleError):
                yield line
            elif "header" not in line.value:
                yield from self._questions_of(line.value, line.place)

    def _answers(self, question: _Question) -> tuple[Sequence[Answer] | None, str]:
        """Returns the detected answers, then the others."""
        if not {"answers", "detected_answers"} & set(question.fields):
            return None, ""
        try:
            detected = _items(question.fields, "detected_answers")
            answers = [_as_in_context(question.context, item) for item in detected]
            known = {answer.text for answer in answers}
            others = [str(text) for text in dict.fromkeys(_items(question.fields, "answers"))]
        except (KeyError, IndexError, TypeError, ValueError):
            detail = 'allowed: [{"text": ..., "char_spans": [[start, end]]}]'
            raise BadExampleError("detected answers of another form", detail) from None
        answers += [Answer(text, -1) for text in others if text not in known]
        if not answers:
            raise BadExampleError("the list of answers is empty")
        return answers, ""


def _are_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _parse_answers(fields: dict[str, Any]) -> list[Answer] | None:
    """Returns the answers of a question in SQuAD's form, None without any."""
    listed = fields.get("answers")
    if listed is None:
        return None
    try:
        if isinstance(listed, dict):
            pairs = zip(listed["text"], listed["answer_start"], strict=True)
            listed = [{"text": text, "answer_start": start} for text, start in pairs]
        return list(_flat_answers(listed))
    except (KeyError, TypeError, ValueError):
        detail = 'allowed: [{"text": ..., "answer_start": ...}]'
        raise BadExampleError("answers of another form", detail) from None


def _flat_answers(listed: Any) -> Iterator[Answer]:
    """Yields the answers of a list: texts, texts with offsets, or lists of these."""
    if not isinstance(listed, list):
        raise TypeError
    for item in listed:
        if isinstance(item, list):
            yield from _flat_answers(item)
            continue
        text = item if isinstance(item, str) else item["text"]
        start = -1 if isinstance(item, str) else item.get("answer_start", -1)
        if not isinstance(text, str) or not isinstance(start, int):
            raise TypeError
        yield Answer(text, start)


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _answer_type(answer: Answer) -> str:
    """Returns YES, NO, NONE for no answer, or "" for a span."""
    if answer.start < 0 and answer.text.upper() in ("YES", "NO"):
        return answer.text.upper()
    return "" if answer.text.strip() else "NONE"


def _check_inside(context: str, answer: Answer) -> None:
    """Checks that an answer can be a training target.

    Only an answer that begins outside the context and occurs nowhere in it is bad: its offset is
    not wrong by some characters, but belongs to another context or file.
    """
    if answer.start >= len(context) and not find_answer(context, answer.text, answer.start):
        where = f"{answer.start} of {len(context)} characters"
        raise BadExampleError(
            "span outside the text", f'"{answer.text}" at {where}; it occurs nowhere'
        )


def _items(fields: dict[str, Any], key: str) -> list[Any]:
    value = fields.get(key) or []
    if not isinstance(value, list):
        raise TypeError
    return value


def _as_in_context(context: str, item: Any) -> Answer:
    """Returns a detected answer, spelled as in the context if only case or white space differ."""
    text, (start, last) = item["text"], item["char_spans"][0]
    shown = context[start : last + 1]
    same = "".join(shown.lower().split()) == "".join(text.lower().split())
    return Answer(shown if same else text, int(start))
