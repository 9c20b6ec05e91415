"""Entities as spans of a text: CLUENER2020's form, doccano's, and Label Studio's simple export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from electra_zh.finetuning.examples import BadExampleError, Entity

_STARTS = ("start", "start_offset", "start_idx", "start_pos", "begin")
_ENDS = ("end", "end_offset", "end_idx", "end_pos")
_TYPES = ("label", "type", "labels", "entity_type", "category")
_MENTIONS = ("text", "mention", "entity", "word")


def read_spans(text: str, label: Any) -> tuple[Entity, ...]:
    """Returns the entities of a text ordered by their starts, the longer ones first.

    Args:
      text: the text.
      label: `{type: {mention: [[start, last]]}}` with inclusive ends (CLUENER2020), or a list of
        `[start, end, type]` (doccano) or of `{"start", "end", "labels": [type], "text"}` (Label
        Studio's JSON-MIN; other usual names are read, too) with exclusive ends.

    Raises:
      BadExampleError: another form, or a span that is outside the text or is not its mention.
    """
    if isinstance(label, Mapping):
        found = set(_of_mentions(text, label))
    elif isinstance(label, list):
        found = {entity for item in label for entity in _of_item(text, item)}
    else:
        raise _malformed(label)
    return tuple(sorted(found, key=lambda each: (each.start, -each.end, each.type)))


def _of_mentions(text: str, label: Mapping[str, Any]) -> Iterator[Entity]:
    for type_, mentions in label.items():
        if not isinstance(mentions, Mapping):
            raise _malformed(mentions)
        for mention, spans in mentions.items():
            if not isinstance(spans, list):
                raise _malformed(spans)
            for span in spans:
                if not isinstance(span, list):
                    raise _malformed(span)
                yield _entity(text, type_, span, mention=mention, after=1)


def _of_item(text: str, item: Any) -> Iterator[Entity]:
    if isinstance(item, list) and len(item) == 3:
        start, end, types = item
        mention = None
    elif isinstance(item, Mapping):
        start, end, types, mention = (
            next((item[name] for name in names if name in item), None)
            for names in (_STARTS, _ENDS, _TYPES, _MENTIONS)
        )
    else:
        raise _malformed(item)
    for type_ in types if isinstance(types, list) and types else [types]:
        if not isinstance(type_, str) or not type_:
            raise _malformed(item)
        yield _entity(text, type_, [start, end], mention=mention)


def _entity(text: str, type_: str, span: list[Any], *, mention: Any, after: int = 0) -> Entity:
    """Returns an entity; `after` is added to its end."""
    if len(span) != 2 or any(type(each) is not int for each in span):
        raise _malformed(span)
    start, end = span[0], span[1] + after
    shown = f'"{mention}"' if isinstance(mention, str) else type_
    if not 0 <= start < end <= len(text):
        ends = "inclusive" if after else "exclusive"
        detail = f"{shown} at {span} of {len(text)} characters (ends are {ends})"
        raise BadExampleError("span outside the text", detail)
    if not isinstance(mention, str) or text[start:end] == mention:
        return Entity(type_, start, end)
    # The mention proves the offsets: those of browsers count UTF-16 units, and ends of lists are
    # inclusive in some sets (CBLUE's CMeEE).
    for first, last in (_from_utf16(text, start, end), (start, end + 1 - after)):
        if text[first:last] == mention:
            return Entity(type_, first, last)
    detail = f'{shown} at {span}, where the text has "{text[start:end]}"'
    raise BadExampleError("span is not its mention", detail)


def _from_utf16(text: str, start: int, end: int) -> tuple[int, int]:
    """Returns offsets in characters for those in UTF-16 units, as browsers count them."""
    data = text.encode("utf-16-le", "surrogatepass")
    try:
        before, inside = data[: 2 * start].decode("utf-16-le"), data[2 * start : 2 * end]
        return len(before), len(before) + len(inside.decode("utf-16-le"))
    except UnicodeDecodeError:
        return start, end


def _malformed(value: Any) -> BadExampleError:
    wanted = (
        "it must be {type: {mention: [[start, last], ...]}}, or a list of [start, end, type] or of "
        '{"start", "end", "label"}'
    )
    return BadExampleError("malformed label", f"{str(value)[:40]}; {wanted}")
