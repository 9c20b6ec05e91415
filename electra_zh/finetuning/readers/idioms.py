"""ChID (Zheng et al. 2019): idioms left out of texts, to be chosen from a list of candidates."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, Blank, ClozeExample
from electra_zh.finetuning.readers.lines import json_lines, whole_json
from electra_zh.finetuning.tasks import TaskConfig

_MARK = re.compile(r"#idiom\d+#")
_FEWCLUE_MARK = "#idiom#"


def chid(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[ClozeExample]:
    """Yields the items of ChID in CLUE's form.

    JSON lines `{"content": [texts with #idiom000123#], "candidates": [idioms]}`; the answers are in
    `NAME_answer.json` beside NAME.json, one object of mark to index. Other files than those of
    training and development may lack it. An item without an id gets its number from 0.

    Args:
      path: the file with the texts.
      task: not looked at: the form has no settings.
      split: "train" and "dev" need answers.
      problems: what becomes of bad items.

    Raises:
      UserError: the file of answers is needed and missing, or not one object.
    """
    del task
    answers = _read_answers(path, needed=split in ("train", "dev"))
    for number, (item, place) in enumerate(json_lines(path, problems)):
        texts, candidates = item.get("content"), item.get("candidates")
        if not _are_texts(texts, least=1) or not _are_texts(candidates, least=2):
            _add_wrong_form(place, item, problems, content="a list of texts")
            continue
        found = [
            Blank(match.group(), index, match.start(), match.end(), None)
            for index, text in enumerate(texts)
            for match in _MARK.finditer(text)
        ]
        if not found:
            problems.add(place, "no blank in the texts", detail="marks look like #idiom000123#")
            continue
        if answers is not None:
            found = [_answered(blank, answers) for blank in found]
            fault = _fault_of(found, len(candidates), needed=split in ("train", "dev"))
            if fault is not None:
                problems.add(place, fault[0], detail=fault[1])
                continue
        yield ClozeExample(
            item.get("id", number), tuple(texts), tuple(found), tuple(candidates), place
        )


def _are_texts(value: Any, *, least: int) -> TypeGuard[list[str]]:
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(isinstance(text, str) for text in value)
    )


def _add_wrong_form(
    place: str, item: Mapping[str, Any], problems: BadExamples, *, content: str
) -> None:
    detail = (
        f"found {', '.join(item)}; needed: content ({content}), candidates (two idioms or more)"
    )
    problems.add(place, "not a cloze item", detail=detail)


def _read_answers(path: str, *, needed: bool) -> Mapping[str, Any] | None:
    beside = f"{path.removesuffix('.json')}_answer.json"
    if not files.exists(beside):
        if needed:
            raise UserError(f"{path}: no labels, {beside} does not exist: is this a test file?")
        return None
    answers = whole_json(beside)
    if not isinstance(answers, dict):
        raise UserError(f"{beside}: not a JSON object of blank to index of its idiom")
    return answers


def _answered(blank: Blank, answers: Mapping[str, Any]) -> Blank:
    return dataclasses.replace(blank, answer=answers.get(blank.id))


def _fault_of(blanks: list[Blank], candidates: int, *, needed: bool) -> tuple[str, str] | None:
    """Returns reason and detail where an answer is missing or no index of a candidate."""
    for blank in blanks:
        if blank.answer is None:
            if needed:
                return "no label: is this a test file?", f"{blank.id} is not among the answers"
        elif not _is_index(blank.answer, candidates):
            return _wrong_index(f"{blank.id}: {json.dumps(blank.answer)}", candidates)
    return None


def _is_index(value: Any, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def _wrong_index(value: str, candidates: int) -> tuple[str, str]:
    return "the answer is no candidate", f"{value}; allowed: 0 to {candidates - 1}"


def chid_fewclue(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[ClozeExample]:
    """Yields the items of ChID in FewCLUE's form, one blank each.

    JSON lines `{"id", "content": "text with #idiom#", "candidates": [idioms], "answer": index}`;
    the answer may also be the idiom itself.

    Args:
      path: the file.
      task: not looked at: the form has no settings.
      split: "train" and "dev" need answers.
      problems: what becomes of bad items.
    """
    del task
    for number, (item, place) in enumerate(json_lines(path, problems)):
        text, candidates = item.get("content"), item.get("candidates")
        if not isinstance(text, str) or not _are_texts(candidates, least=2):
            _add_wrong_form(place, item, problems, content="a text")
            continue
        marks = text.count(_FEWCLUE_MARK)
        if marks != 1:
            detail = f"{marks} times {_FEWCLUE_MARK}"
            problems.add(place, "not exactly one blank in the text", detail=detail)
            continue
        answer = item.get("answer")
        if answer is None and split in ("train", "dev"):
            detail = "`answer` is missing"
            problems.add(place, "no label: is this a test file?", detail=detail)
            continue
        index = candidates.index(answer) if answer in candidates else answer
        if index is not None and not _is_index(index, len(candidates)):
            reason, detail = _wrong_index(json.dumps(answer, ensure_ascii=False), len(candidates))
            problems.add(place, reason, detail=detail)
            continue
        start = text.index(_FEWCLUE_MARK)
        blank = Blank(_FEWCLUE_MARK, 0, start, start + len(_FEWCLUE_MARK), index)
        yield ClozeExample(item.get("id", number), (text,), (blank,), tuple(candidates), place)
