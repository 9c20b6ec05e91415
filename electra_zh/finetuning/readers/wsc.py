"""CLUEWSC2020: does a pronoun mean a noun? Both are marked in the text.

A line is `{"text", "target": {"span1_text", "span1_index", "span2_text", "span2_index"}, "label",
"idx" or "id"}`; the indexes count characters. Span 1 (the noun) becomes `_noun_`, span 2 (the
pronoun) `[pronoun]`, as in CLUE's baseline: each mark is one token of every BERT vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.readers.lines import json_lines
from electra_zh.finetuning.readers.tables import admit, label_text
from electra_zh.finetuning.tasks import TaskConfig

_MARKS = {1: ("_", "_"), 2: ("[", "]")}
# A span that does not stand at its index is looked for so many characters before and after it.
_NEAR = 5


class _Span(NamedTuple):
    start: int
    end: int


def wsc(path: str, task: TaskConfig, *, split: str, problems: BadExamples) -> Iterator[TextExample]:
    """Yields the examples with both spans marked.

    A span that does not stand at its index, but exactly once within a few characters of it, is
    taken from there; otherwise the example is a problem.

    Args:
      path: a file of JSON lines.
      task: its `labels.drop` counts.
      split: `train`, `dev`, `test` or `new`.
      problems: where bad examples go.
    """
    for number, (value, place) in enumerate(json_lines(path, problems)):
        text = value.get("text")
        if not isinstance(text, str):
            detail = f"the fields are {', '.join(value) or 'none'}"
            problems.add(place, 'no text in the field "text"', detail=detail)
            continue
        spans = [_find(text, value.get("target"), span, place, problems) for span in _MARKS]
        if spans[0] is None or spans[1] is None:
            continue
        given = value.get("idx", value.get("id"))
        example = TextExample(
            id=number if given is None else given,
            text_a=_mark(text, spans[0], spans[1]),
            text_b=None,
            label=label_text(value.get("label")),
            place=place,
        )
        admitted = admit(example, task, split=split, problems=problems, has=value)
        if admitted is not None:
            yield admitted


def _find(text: str, target: Any, number: int, place: str, problems: BadExamples) -> _Span | None:
    """Returns where a span stands; None, and a problem, where it does not."""
    values = target if isinstance(target, Mapping) else {}
    span, index = values.get(f"span{number}_text"), values.get(f"span{number}_index")
    if not isinstance(span, str) or not span or not isinstance(index, int):
        detail = f'"target" must have span{number}_text and span{number}_index'
        problems.add(place, f"no span {number}", detail=detail)
        return None
    starts = [index] if index >= 0 and text.startswith(span, index) else []
    if not starts:
        near = range(max(0, index - _NEAR), index + _NEAR + 1)
        starts = [start for start in near if text.startswith(span, start)]
    if len(starts) != 1:
        length = len(span)
        there = text[max(0, index) : max(0, index) + length]
        detail = f'"{span}" at index {index}, where the text has "{there}"'
        problems.add(place, f"span {number} is not at its index", detail=detail)
        return None
    return _Span(starts[0], starts[0] + len(span))


def _mark(text: str, first: _Span, second: _Span) -> str:
    """Returns the text with the marks of both spans, whichever comes first."""
    marks: list[tuple[int, int, str]] = []
    for span, (opening, closing) in zip((first, second), _MARKS.values(), strict=True):
        # At one place, what ends is closed before what begins is opened.
        marks += [(span.start, 1, opening), (span.end, 0, closing)]
    # From the end, so that the indexes before stay right.
    for index, _, mark in sorted(marks, reverse=True):
        text = text[:index] + mark + text[index:]
    return text
