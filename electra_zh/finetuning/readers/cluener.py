"""CLUENER2020: JSON lines of a text and its entities by type and mention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from electra_zh.finetuning.examples import BadExamples, Entity, TaggedExample
from electra_zh.finetuning.readers.lines import json_lines
from electra_zh.finetuning.tasks import TaskConfig


def cluener(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TaggedExample]:
    """Yields the sentences of a file of `{"text", "label": {type: {mention: [[start, end]]}}}`.

    Ends are inclusive in the file. `id` is the file's own, or the line's number from 0.

    Args:
      path: the file.
      task: its `fields` may name `id`, `text` and `label` otherwise.
      split: "train" and "dev" need labels.
      problems: takes sentences without text or label, and spans that are not their mentions.
    """
    names = {name: task.fields.get(name, name) for name in ("id", "text", "label")}
    for number, (value, place) in enumerate(json_lines(path, problems)):
        text, label = value.get(names["text"]), value.get(names["label"])
        if not isinstance(text, str):
            problems.add(place, f'no "{names["text"]}" that is text')
            continue
        if label is None and split in ("train", "dev"):
            problems.add(place, "no label: is this a test file?")
            continue
        entities: tuple[Entity, ...] | None = None
        if label is not None:
            try:
                entities = _entities(text, label)
            except _BadLabel as error:
                problems.add(place, error.args[0], detail=error.args[1])
                continue
        yield TaggedExample(value.get(names["id"], number), text, None, entities, place)


class _BadLabel(Exception):
    """Reason and detail of a label that cannot be taken."""


def _entities(text: str, label: Any) -> tuple[Entity, ...]:
    """Returns the entities of a label in the order of their starts, the longer ones first."""
    found: set[Entity] = set()
    for type_, mentions in _items(label):
        for mention, spans in _items(mentions):
            if not isinstance(spans, list):
                raise _malformed(spans)
            found.update(_entity(text, type_, mention, span) for span in spans)
    return tuple(sorted(found, key=lambda each: (each.start, -each.end, each.type)))


def _entity(text: str, type_: str, mention: str, span: Any) -> Entity:
    if not (isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)):
        raise _malformed(span)
    start, end = span
    if not 0 <= start <= end < len(text):
        detail = f'"{mention}" at {span} of {len(text)} characters (the last one counted)'
        raise _BadLabel("span outside the text", detail)
    if text[start : end + 1] != mention:
        detail = f'"{mention}" at {span}, where the text has "{text[start : end + 1]}"'
        raise _BadLabel("span is not its mention", detail)
    return Entity(type_, start, end + 1)


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _malformed(value)
    return list(value.items())


def _malformed(value: Any) -> _BadLabel:
    wanted = "{type: {mention: [[start, end], ...]}}"
    return _BadLabel("malformed label", f"{str(value)[:40]}; it must be {wanted}")
