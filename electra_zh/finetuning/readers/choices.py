"""C3 (Sun et al. 2020): questions about short texts and dialogues, with two to four choices.

A file is one JSON list of `[[lines of the text], [{question, choice, answer, id?}], text's id]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, ChoiceExample
from electra_zh.finetuning.readers.lines import whole_json
from electra_zh.finetuning.tasks import TaskConfig


def c3(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[ChoiceExample]:
    """Yields the questions of a C3 file.

    The right choice is the first one that equals `answer`. A question without an id of its own
    gets `FILE/TEXT/NUMBER` (`c3-m-dev/11-67/0`), because the authors' two parts, dialogues and
    mixed texts, use the same ids for different texts.

    Args:
      path: the file.
      task: not looked at: the form has no settings.
      split: "train" and "dev" need answers.
      problems: what becomes of bad questions.

    Raises:
      UserError: the file is not JSON, or not a list.
    """
    del task
    items = whole_json(path)
    if not isinstance(items, list):
        raise UserError(f"{path}: not a JSON list of [text, questions, id]")
    name = path.rpartition("/")[2].removesuffix(".json")
    for number, item in enumerate(items):
        place = f"{path}, text {number + 1}"
        if not _is_item(item):
            problems.add(place, "not [[lines], [questions], id]", detail=str(item)[:40])
            continue
        context = "\n".join(item[0])
        for index, question in enumerate(item[1]):
            where = f"{place}, question {index + 1}"
            if not _is_question(question):
                detail = f"{str(question)[:60]}; needed: question, choice (a list of texts)"
                problems.add(where, "not a question with two or more choices", detail=detail)
                continue
            own = question.get("id", f"{name}/{item[2]}/{index}")
            text, choices = question["question"], tuple(question["choice"])
            example = ChoiceExample(own, context, text, choices, None, where)
            answered = _with_answer(example, question.get("answer"), split, problems)
            if answered is not None:
                yield answered


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_item(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 3
        and _is_texts(item[0])
        and isinstance(item[1], list)
    )


def _is_question(question: Any) -> bool:
    return (
        isinstance(question, dict)
        and isinstance(question.get("question"), str)
        and _is_texts(question.get("choice"))
        and len(question["choice"]) >= 2
    )


def _with_answer(
    example: ChoiceExample, answer: Any, split: str, problems: BadExamples
) -> ChoiceExample | None:
    """Returns the example with the index of its answer, or None where that is a problem."""
    if answer is None or answer == "":
        if split not in ("train", "dev"):
            return example
        problems.add(example.place, "no label: is this a test file?", detail="`answer` is missing")
        return None
    if answer not in example.choices:
        detail = f'"{answer}"; allowed: {" | ".join(example.choices)}'
        problems.add(example.place, "the answer is none of the choices", detail=detail)
        return None
    return dataclasses.replace(example, answer=example.choices.index(answer))
