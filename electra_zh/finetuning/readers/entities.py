"""Sentences with entities: columns of words and tags, and CLUENER2020's JSON lines."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.tags import OUTSIDE, tags_to_entities
from electra_zh.finetuning.examples import BadExampleError, Entity, TaggedExample
from electra_zh.finetuning.readers.base import ExampleReader, ReaderFields
from electra_zh.finetuning.readers.streams import Record, check_text, read_lines, text_of
from electra_zh.settings import setting
from electra_zh.text.characters import is_cjk, is_punctuation

_BLANKS = " \t"
# A number that ends a word; at least one character of the word remains, it may be a digit itself.
_DIGITS = re.compile("(?<=.)[0-9]+$")


@dataclasses.dataclass(frozen=True)
class ColumnFields(ReaderFields):
    """Columns of words and tags."""

    word: int = setting(1, "column of the word, the first is 1", at_least=1)
    tag: int | None = setting(None, "column of the tag; by default the last", at_least=1)
    suffix: str | None = setting(
        None,
        "digits: drop a number at the end of each word, the character's place in its word in "
        "Weibo's second version",
        choices=("digits",),
    )


class Columns(ExampleReader, name="columns"):
    """One word and its tag per line, in columns between tabs or spaces; blank lines end sentences.

    Most sets for named entities and chunks have this form. Tags may follow any scheme of
    `encoding.tags`. Lines that begin with `-DOCSTART-` are skipped. The text of a sentence is its
    words, joined by a space unless one of the two neighbours is Chinese.
    """

    example_type = TaggedExample
    fields_type = ColumnFields

    def _records(self) -> Iterator[Record]:
        lines: list[Record] = []
        for line in read_lines(self.path):
            if line.value.strip(_BLANKS):
                if not line.value.startswith("-DOCSTART-"):
                    lines.append(line)
            elif lines:
                yield Record(lines, lines[0].place)
                lines = []
        if lines:
            yield Record(lines, lines[0].place)

    def _example(self, record: Record, number: int) -> TaggedExample:
        words, tags = [], []
        for line, place in record.value:
            try:
                word, tag = self._word_and_tag(line)
            except BadExampleError as error:
                raise BadExampleError(error.reason, error.detail, place=place) from None
            words.append(word)
            tags.append(tag)
        tagged = any(tags)
        if tagged and "" in tags:
            line, place = record.value[tags.index("")]
            reason = "a line without a tag in a sentence with tags"
            raise BadExampleError(reason, f'the line is "{line[:40]}"', place=place)
        text, spans = _join(words)
        check_text(text)
        entities = _tagged_entities(tags, spans) if tagged else None
        return TaggedExample(number, text, spans, entities, record.place)

    def _word_and_tag(self, line: str) -> tuple[str, str]:
        """Returns the word and the tag of a line; "" without a tag."""
        cells = _cells(line)
        fields: ColumnFields = self.fields
        if fields.word > len(cells):
            raise BadExampleError("no word", f'there is no column {fields.word} in "{line[:40]}"')
        word = cells[fields.word - 1]
        if fields.suffix:
            word = _DIGITS.sub("", word)
        column = fields.tag or len(cells)
        if column == fields.word or column > len(cells):
            return word, ""
        return word, _plain_tag(cells[column - 1])


def _tagged_entities(tags: Sequence[str], spans: Sequence[tuple[int, int]]) -> tuple[Entity, ...]:
    if all(tag == OUTSIDE for tag in tags):  # Most sentences; for speed only.
        return ()
    return tuple(
        Entity(each.type, spans[each.start][0], spans[each.end - 1][1])
        for each in tags_to_entities(tags)
    )


def _cells(line: str) -> list[str]:
    line = line.strip(_BLANKS)
    if "\t" in line:
        # Words may contain spaces then.
        return [cell for part in line.split("\t") if (cell := part.strip(" "))]
    return [cell for cell in line.split(" ") if cell]


@functools.lru_cache(maxsize=4096)
def _plain_tag(tag: str) -> str:
    """Returns the tag with a hyphen after its letter."""
    plain = f"{tag[0]}-{tag[2:]}" if tag[1:2] == "_" else tag
    try:
        tags_to_entities([plain])
    except UserError:
        detail = f'"{tag}"; it must be O, or B-, I-, M-, E- or S- and a type'
        raise BadExampleError("not a tag", detail) from None
    return plain


def _join(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Returns the words as a text, and the span of each.

    A space separates two words that the tokenizer would otherwise take for one.
    """
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    end = 0
    before = ""
    for word in words:
        first = word[0]
        if before and not (_is_chinese(before) or _is_chinese(first) or _is_dash(before, first)):
            parts.append(" ")
            end += 1
        parts.append(word)
        spans.append((end, end + len(word)))
        end += len(word)
        before = word[-1]
    return "".join(parts), tuple(spans)


def _is_dash(before: str, after: str) -> bool:
    """Returns whether the two are the halves of a Chinese dash or ellipsis."""
    return before == after and before in "—…"


@functools.lru_cache(maxsize=1 << 16)
def _is_chinese(char: str) -> bool:
    """Returns whether it is an ideograph or Chinese punctuation, always a token of its own."""
    return is_cjk(ord(char)) or (ord(char) >= 0x3000 and is_punctuation(char))


@dataclasses.dataclass(frozen=True)
class ClueNerFields(ReaderFields):
    """Names of the fields of CLUENER2020's form."""

    id: str = setting("id", "name of the id")
    text: str = setting("text", "name of the text")
    label: str = setting("label", "name of the label")


class ClueNer(ExampleReader, name="cluener"):
    """CLUENER2020: JSON lines of `{"text", "label": {type: {mention: [[start, end]]}}}`.

    Ends are inclusive in the file.
    """

    example_type = TaggedExample
    fields_type = ClueNerFields

    def _example(self, record: Record, number: int) -> TaggedExample:
        value, fields = record.value, self.fields
        text, label = text_of(value, fields.text), value.get(fields.label)
        entities = None if label is None else _labelled_entities(text, label)
        identity = value.get(fields.id, number)
        return TaggedExample(identity, text, None, entities, record.place)


def _labelled_entities(text: str, label: Any) -> tuple[Entity, ...]:
    """Returns the entities of a label ordered by their starts, the longer ones first."""
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
        detail = f'"{mention}" at {span} of {len(text)} characters (ends are inclusive)'
        raise BadExampleError("span outside the text", detail)
    if text[start : end + 1] != mention:
        detail = f'"{mention}" at {span}, where the text has "{text[start : end + 1]}"'
        raise BadExampleError("span is not its mention", detail)
    return Entity(type_, start, end + 1)


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _malformed(value)
    return list(value.items())


def _malformed(value: Any) -> BadExampleError:
    wanted = "{type: {mention: [[start, end], ...]}}"
    return BadExampleError("malformed label", f"{str(value)[:40]}; it must be {wanted}")
