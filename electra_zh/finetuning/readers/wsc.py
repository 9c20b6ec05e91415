"""CLUEWSC2020: whether a pronoun means a noun. Both are marked in the text.

A line is `{"text", "target": {"span1_text", "span1_index", "span2_text", "span2_index"}, "label",
"idx" or "id"}`; the indexes count characters. Span 1 (the noun) becomes `_noun_`, span 2 (the
pronoun) `[pronoun]`, as in CLUE's baseline: each mark is one token of every BERT vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from electra_zh.finetuning.examples import BadExampleError, TextExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.fields import label_text
from electra_zh.finetuning.readers.streams import Record, id_of, text_of

_MARKS = {1: ("_", "_"), 2: ("[", "]")}
# A span that is not at its index is searched this many characters before and after it.
_NEAR = 5


class Wsc(ExampleReader, name="wsc"):
    """CLUEWSC2020, with both spans marked.

    A span that is not at its index, but exactly once within a few characters of it, is taken there.
    """

    example_type = TextExample

    def _example(self, record: Record, number: int) -> TextExample:
        value = record.value
        text = text_of(value, "text")
        marks: list[tuple[int, int, str]] = []
        for span, (opening, closing) in _MARKS.items():
            start, end = _find(text, value.get("target"), span)
            # Where both meet, the one that ends is closed before the other is opened.
            marks += [(start, 1, opening), (end, 0, closing)]
        # From the end, so that the indexes before stay valid.
        for index, _, mark in sorted(marks, reverse=True):
            text = text[:index] + mark + text[index:]
        identity = id_of(value, number, names=("idx", "id"))
        return TextExample(identity, text, None, label_text(value.get("label")), record.place)


def _find(text: str, target: Any, number: int) -> tuple[int, int]:
    """Returns start and end of a span."""
    values = target if isinstance(target, Mapping) else {}
    span, index = values.get(f"span{number}_text"), values.get(f"span{number}_index")
    if not isinstance(span, str) or not span or not isinstance(index, int):
        detail = f'"target" must have span{number}_text and span{number}_index'
        raise BadExampleError(f"no span {number}", detail)
    starts = [index] if index >= 0 and text.startswith(span, index) else []
    if not starts:
        near = range(max(0, index - _NEAR), index + _NEAR + 1)
        starts = [start for start in near if text.startswith(span, start)]
    if len(starts) != 1:
        there = text[max(0, index) : max(0, index) + len(span)]
        detail = f'"{span}" at index {index}, where the text has "{there}"'
        raise BadExampleError(f"span {number} is not at its index", detail)
    return starts[0], starts[0] + len(span)
