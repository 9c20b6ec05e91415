"""Readers of questions that a span of a text answers: SQuAD's form, CJRC's and MRQA's."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.answers import find_answer
from electra_zh.finetuning.examples import Answer, BadExamples, QuestionExample
from electra_zh.finetuning.readers.lines import json_lines, whole_json
from electra_zh.finetuning.tasks import TaskConfig

_NO_LABEL = "no answers: is this a test file?"
_VERDICTS = ("YES", "NO")


class _Question(NamedTuple):
    """A question as the file has it.

    Attributes:
      id: as text; its number in the file where there is none.
      question: its text.
      context: the text that it is asked about.
      fields: all that the file says of it.
      place: file and id, for messages.
    """

    id: str
    question: str
    context: str
    fields: dict[str, Any]
    place: str

    def example(self, answers: Sequence[Answer] | None, verdict: str = "") -> QuestionExample:
        kept = None if answers is None else tuple(answers)
        return QuestionExample(self.id, self.question, self.context, kept, verdict, self.place)


def squad(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[QuestionExample]:
    """Reads SQuAD's form: SQuAD 1.1 and 2.0, CMRC2018, DRCD, XQuAD; and CMRC2018's first form.

    The latter is a list of `{context_text, qas: [{query_id, query_text, answers: [text]}]}`. Where
    no answer of a file of split `test` or `new` occurs in its context they are placeholders, and
    the file counts as one without labels.

    Raises:
      UserError: there is no such file, or it is neither form.
    """
    del task
    form = 'neither {"data": [{"paragraphs": [...]}]} nor [{"context_text": ..., "qas": [...]}]'
    pairs = list(_with_answers(_questions(path, form, split=split, problems=problems), problems))
    if split in ("test", "new") and not any(_occurs(question, found) for question, found in pairs):
        pairs = [(question, None if found else found) for question, found in pairs]
    for question, answers in pairs:
        if _truth(question.fields.get("is_impossible")):
            yield question.example((), "NONE")
        elif answers:
            if split != "train" or _inside(question, answers, problems):
                yield question.example(answers)
        elif split in ("test", "new"):
            yield question.example(None)
        else:
            problems.add(question.place, _NO_LABEL)


def cjrc(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[QuestionExample]:
    """Reads CJRC, the reading comprehension of CAIL2019: SQuAD's form with YES and NO as answers.

    `is_impossible` is "true" or "false". The development set has answers of several annotators, as
    one list or a list of lists; the first one says whether the question is answered by a span, by
    YES or NO, or not at all. Where they are not of one mind about that, all their answers are kept
    as texts, YES, NO and "" among them.

    Raises:
      UserError: there is no such file, or it has another form.
    """
    del task
    form = 'not {"data": [{"paragraphs": [...]}]}'
    pairs = list(_with_answers(_questions(path, form, split=split, problems=problems), problems))
    hidden = split in ("test", "new") and not any(answers for _, answers in pairs)
    for question, answers in pairs:
        impossible = _truth(question.fields.get("is_impossible"))
        if (answers is None and not impossible) or hidden:
            if split in ("test", "new"):
                yield question.example(None)
            else:
                problems.add(question.place, _NO_LABEL)
            continue
        answers = [Answer("", -1)] if impossible or not answers else answers
        verdicts = [_verdict(answer) for answer in answers]
        if verdicts[0] and len(set(verdicts)) == 1:
            yield question.example((), verdicts[0])
        elif split != "train" or verdicts[0] or _inside(question, answers, problems):
            yield question.example(answers, verdicts[0])


def mrqa(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[QuestionExample]:
    """Reads MRQA 2019: JSON lines (`.jsonl` or `.jsonl.gz`), one context each, after a header.

    An answer that was detected in the context is taken as it stands there; the other spellings that
    are right count in scoring only. Spans include their last character.

    Raises:
      UserError: there is no such file, or it is not gzip where its name says so.
    """
    del task
    seen: set[str] = set()
    for fields, place in _mrqa_lines(path, problems):
        if "header" in fields:
            continue
        context = fields.get("context")
        if not isinstance(context, str) or not context.strip():
            problems.add(place, "no context")
            continue
        for question in _of_paragraph(
            path, context, fields.get("qas"), split=split, seen=seen, problems=problems
        ):
            answers = _detected(question, problems)
            if answers and (split != "train" or _inside(question, answers, problems)):
                yield question.example(answers)
            elif answers is None and split in ("test", "new"):
                yield question.example(None)
            elif answers is None:
                problems.add(question.place, _NO_LABEL)


def _questions(path: str, form: str, *, split: str, problems: BadExamples) -> Iterator[_Question]:
    """Yields the questions of a file in SQuAD's form or CMRC2018's first form."""
    content = whole_json(path)
    articles = content.get("data") if isinstance(content, dict) else content
    if not isinstance(articles, list):
        raise UserError(f"{path} is {form}")
    seen: set[str] = set()
    for number, article in enumerate(articles, 1):
        place = f"{path}, article {number}"
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if paragraphs is None and isinstance(article, dict) and "context_text" in article:
            paragraphs = [article]
        if not isinstance(paragraphs, list) or not all(isinstance(x, dict) for x in paragraphs):
            problems.add(place, f"the file is {form}")
            continue
        for paragraph in paragraphs:
            context = paragraph.get("context", paragraph.get("context_text"))
            if not isinstance(context, str) or not context.strip():
                problems.add(place, "no context")
                continue
            listed = paragraph.get("qas")
            yield from _of_paragraph(
                path, context, listed, split=split, seen=seen, problems=problems
            )


def _of_paragraph(
    path: str, context: str, listed: Any, *, split: str, seen: set[str], problems: BadExamples
) -> Iterator[_Question]:
    """Yields the questions about one context; `seen` are the ids of the file so far."""
    if not isinstance(listed, list) or not all(isinstance(fields, dict) for fields in listed):
        problems.add(f"{path}, after question {len(seen)}", "`qas` is not a list of questions")
        return
    labelled = split in ("train", "dev")
    for fields in listed:
        found = (fields[key] for key in ("id", "query_id", "qid") if fields.get(key) is not None)
        name = str(next(found, len(seen)))
        place = f"{path}, question {name}"
        if name in seen:
            problems.add(place, "an earlier question has the same id")
            continue
        seen.add(name)
        text = fields.get("question", fields.get("query_text"))
        # A question without text can still be answered, and a test set has to be, whole.
        if not isinstance(text, str) or (labelled and not text.strip()):
            problems.add(place, "no question")
            continue
        yield _Question(name, text, context, fields, place)


def _with_answers(
    questions: Iterator[_Question], problems: BadExamples
) -> Iterator[tuple[_Question, list[Answer] | None]]:
    """Yields each question with its answers, None where the file has none."""
    for question in questions:
        answers = question.fields.get("answers")
        if answers is None:
            yield question, None
            continue
        try:
            yield question, list(_answers(answers))
        except (KeyError, TypeError):
            detail = 'allowed: [{"text": ..., "answer_start": ...}]'
            problems.add(question.place, "answers of another form", detail=detail)


def _answers(listed: Any) -> Iterator[Answer]:
    """Yields the answers of a list: texts, texts with offsets, or lists of these."""
    if not isinstance(listed, list):
        raise TypeError
    for item in listed:
        if isinstance(item, list):
            yield from _answers(item)
            continue
        text = item if isinstance(item, str) else item["text"]
        start = -1 if isinstance(item, str) else item.get("answer_start", -1)
        if not isinstance(text, str) or not isinstance(start, int):
            raise TypeError
        yield Answer(text, start)


def _truth(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _verdict(answer: Answer) -> str:
    """Returns YES, NO, NONE for no answer, or "" for a span."""
    if answer.start < 0 and answer.text.upper() in _VERDICTS:
        return answer.text.upper()
    return "" if answer.text.strip() else "NONE"


def _occurs(question: _Question, answers: Sequence[Answer] | None) -> bool:
    return any(find_answer(question.context, each.text, each.start) for each in answers or ())


def _inside(question: _Question, answers: Sequence[Answer], problems: BadExamples) -> bool:
    """Returns whether the first answer can be one to train on, and reports it otherwise.

    Only what lies outside the text and does not occur in it is reported: that is no slip of some
    characters but a wrong context or a wrong file.
    """
    first, context = answers[0], question.context
    if first.start < len(context) or find_answer(context, first.text, first.start):
        return True
    detail = (
        f'"{first.text}" at {first.start} of {len(context)} characters; it occurs nowhere in them'
    )
    problems.add(question.place, "span outside the text", detail=detail)
    return False


def _detected(question: _Question, problems: BadExamples) -> list[Answer] | None:
    """Returns MRQA's answers, those that stand in the context first.

    None where the file has none; none at all where they are wrong, which is reported.
    """
    if not {"answers", "detected_answers"} & set(question.fields):
        return None
    try:
        answers = [
            _as_it_stands(question.context, item) for item in _listed(question, "detected_answers")
        ]
        known = {answer.text for answer in answers}
        others = [str(text) for text in dict.fromkeys(_listed(question, "answers"))]
    except (KeyError, IndexError, TypeError, ValueError):
        detail = 'allowed: [{"text": ..., "char_spans": [[start, end]]}]'
        problems.add(question.place, "detected answers of another form", detail=detail)
        return []
    answers += [Answer(text, -1) for text in others if text not in known]
    if not answers:
        problems.add(question.place, "the list of answers is empty")
    return answers


def _listed(question: _Question, key: str) -> list[Any]:
    value = question.fields.get(key) or []
    if not isinstance(value, list):
        raise TypeError
    return value


def _as_it_stands(context: str, item: Any) -> Answer:
    """Returns a detected answer; spelt as in the context if only case or white space differ."""
    text, (start, last) = item["text"], item["char_spans"][0]
    shown = context[start : last + 1]
    same = "".join(shown.lower().split()) == "".join(text.lower().split())
    return Answer(shown if same else text, int(start))


def _mrqa_lines(path: str, problems: BadExamples) -> Iterator[tuple[dict[str, Any], str]]:
    if not path.endswith(".gz"):
        yield from json_lines(path, problems)
        return
    try:
        with files.open_read(path) as raw, gzip.GzipFile(fileobj=raw) as file:
            for number, line in enumerate(file, 1):
                place = f"{path}, line {number}"
                try:
                    value = json.loads(line)
                except ValueError as error:
                    problems.add(place, "not valid JSON", detail=str(error))
                    continue
                if isinstance(value, dict):
                    yield value, place
                else:
                    problems.add(place, "not a JSON object")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from None
