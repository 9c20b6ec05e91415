"""Sentences with entities: columns of words and tags, sentences of words and tags, and spans."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.tags import FILE_TAG, OUTSIDE, tags_to_entities
from electra_zh.finetuning.examples import BadExampleError, Entity, TaggedExample
from electra_zh.finetuning.readers.base import ExampleReader, ReaderFields
from electra_zh.finetuning.readers.offsets import read_spans
from electra_zh.finetuning.readers.streams import Record, check_text, id_of, is_texts, text_of
from electra_zh.settings import setting
from electra_zh.text.characters import is_cjk, is_punctuation

_BLANKS = " \t"
_START = "-DOCSTART-"
# A number that ends a word; at least one character of the word remains, it may be a digit itself.
_DIGITS = re.compile("(?<=.)[0-9]+$")
# Baidu's files separate characters, and tags, by this character instead of a space.
_ERNIE = "\x02"
# Names of the lists of words and of tags in JSON.
_WORDS = ("tokens", "words", "chars", "text")
_TAGS = ("tags", "ner_tags", "labels", "label")
_LISTED = ("label", "labels", "entities", "spans")


@dataclasses.dataclass(frozen=True)
class EntityFields(ReaderFields):
    """Columns of words and tags, and names of the fields of JSON."""

    word: int | None = setting(
        None,
        "column of the word, the first is 1; by default that, or the one after running numbers",
        at_least=1,
    )
    tag: int | None = setting(None, "column of the tag; by default the last", at_least=1)
    suffix: str | None = setting(
        None,
        "digits: drop a number at the end of each word, the character's place in its word in "
        "Weibo's second version",
        choices=("digits",),
    )
    id: str = setting("id", "name of the id")
    text: str = setting("text", "name of the text")
    label: str = setting("label", "name of the label; labels, entities and spans are tried, too")


class Columns(ExampleReader, name="columns"):
    """Sentences with entities. The content decides which of these forms a file has.

    - Columns: a word and its tag per line, between tabs or spaces; blank lines end sentences. Lines
      that begin with `-DOCSTART-` are skipped. The text of a sentence is its words, joined by a
      space unless one of the two neighbours is Chinese or white space. A word may be white space.
    - Sentences: per line the words and the tags, in two cells with a tab between them, as UER and
      ERNIE have MSRA's set; or, in JSON, two lists (`tokens` and `tags`).
    - Spans: JSON objects with a text and its entities, see `read_spans`.

    Tags may follow any scheme of `encoding.tags`.
    """

    example_type = TaggedExample
    fields_type = EntityFields
    fields: EntityFields

    def _records(self) -> Iterator[Record]:
        if self._has_objects():
            return self._objects(blank_lines=self.split == "new")
        first = [line for line in self.file.first_lines if line.strip(_BLANKS)]
        if are_sentences(first):
            return self._sentences()
        usual = [line for line in first if line[0] not in _BLANKS and not line.startswith(_START)]
        cells = [_filled_cells(line) for line in usual[:20]] or [["word", "tag"]]
        self._width, self._word = len(cells[0]), self.fields.word or 1
        if self.fields.word is None and _has_index(cells):
            self._word = 2
            self.bad.note(f"{self.path}: the running numbers in the first column are not words")
        return self._columns()

    def _columns(self) -> Iterator[Record]:
        """Yields the lines of each sentence."""
        lines: list[Record] = []
        for line in self.file.lines():
            if line.value.strip(_BLANKS):
                if not line.value.startswith(_START):
                    lines.append(line)
            elif lines:
                yield Record(lines, lines[0].place)
                lines = []
        if lines:
            yield Record(lines, lines[0].place)

    def _sentences(self) -> Iterator[Record]:
        """Yields the cells of each line after the header."""
        self.bad.note(f"{self.path}: read as a sentence per line, words and tags in two cells")
        lines = (line for line in self.file.lines() if line.value.strip(_BLANKS))
        columns: tuple[int, ...] = (0, 1)
        for number, line in enumerate(lines):
            cells = line.value.split("\t")
            header = _header(cells) if not number else ()
            if header:
                columns = header
            else:
                yield line._replace(value=tuple(cells[x] for x in columns if x < len(cells)))

    def _example(self, record: Record, number: int) -> TaggedExample:
        if record.value is None:
            return TaggedExample(number, "", None, None, record.place)
        if isinstance(record.value, dict):
            return self._from_object(record, number)
        if isinstance(record.value, tuple):
            cell, *rest = record.value
            check_text(*record.value)
            words, tags = _split_sentence(cell, rest[0] if rest else "")
            return self._tagged(words, tags, record, number)
        words, tags = [], []
        for line, place in record.value:
            try:
                word, tag = self._word_and_tag(line)
            except BadExampleError as error:
                raise BadExampleError(error.reason, error.detail, place=place) from None
            words.append(word)
            tags.append(tag)
        if any(tags) and "" in tags:
            line, place = record.value[tags.index("")]
            reason = "a line without a tag in a sentence with tags"
            raise BadExampleError(reason, f'the line is "{line[:40]}"', place=place)
        return self._tagged(words, tags, record, number)

    def _tagged(
        self, words: Sequence[str], tags: Sequence[str], record: Record, number: Any
    ) -> TaggedExample:
        text, spans = _join(words)
        check_text(text)
        entities = _tagged_entities(tags, spans) if any(tags) else None
        return TaggedExample(number, text, spans, entities, record.place)

    def _from_object(self, record: Record, number: int) -> TaggedExample:
        """Returns the example of a JSON object: lists of words and tags, or a text with spans."""
        value, fields = record.value, self.fields
        identity = id_of(value, number, names=(fields.id,))
        names = (name for name in (fields.text, *_WORDS) if isinstance(value.get(name), list))
        words = next(names, None)
        if words is not None:
            return self._tagged(*_listed(value, words, fields.label), record, identity)
        value = _simple_export(value)
        text = text_of(value, fields.text)
        given = [value[name] for name in (fields.label, *_LISTED) if value.get(name) is not None]
        label = next(filter(None, given), given[0] if given else None)
        entities = None if label is None else read_spans(text, label)
        return TaggedExample(identity, text, None, entities, record.place)

    def _word_and_tag(self, line: str) -> tuple[str, str]:
        """Returns the word and the tag of a line; "" without a tag."""
        cells = self._cells(line)
        fields = self.fields
        if self._word > len(cells):
            raise BadExampleError("no word", f'there is no column {self._word} in "{line[:40]}"')
        has_tags = self._word < min(len(cells), self._width)
        if fields.tag is None and has_tags and len(cells) != self._width:
            detail = f'{len(cells)} in "{line[:40]}", {self._width} in the first line'
            raise BadExampleError("another number of columns", detail)
        word = cells[self._word - 1]
        if fields.suffix:
            word = _DIGITS.sub("", word)
        column = fields.tag or len(cells)
        if column == self._word or column > len(cells):
            return word, ""
        return word, _plain_tag(cells[column - 1])

    def _cells(self, line: str) -> list[str]:
        """Returns the cells of a line; one of white space is the word where that is missing."""
        cells, word = _filled_cells(line), self._word - 1
        if len(cells) != self._width - 1:
            return cells
        whole = line.split("\t")
        if len(whole) == self._width and not whole[word].strip(_BLANKS):
            return [*cells[:word], whole[word] or " ", *cells[word:]]
        if word == 0 and line[0] in _BLANKS:
            # One of the blanks before the next cell separates it.
            blank = line[: len(line) - len(line.lstrip(_BLANKS)) - 1]
            return [blank or " ", *cells]
        return cells


class ClueNer(Columns, name="cluener"):
    """The same forms, for sets that are published as CLUENER2020's JSON lines."""

    objects = True


class Spans(Columns, name="spans"):
    """The same forms, for sets of texts with spans."""

    objects = True


def _simple_export(value: dict[str, Any]) -> dict[str, Any]:
    """Returns an item of Label Studio's full export in the form of its simple one."""
    data, annotations = value.get("data"), value.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        return value
    kept = (x for x in annotations if _is_object(x) and not x.get("was_cancelled"))
    results = next((each.get("result") for each in kept), None)
    if not isinstance(results, list):
        return {**value, **data}
    values = [each.get("value") for each in results if _is_object(each)]
    spans = [each for each in values if _is_object(each) and "start" in each]
    return {**value, **data, "label": spans}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def are_sentences(lines: Sequence[str]) -> bool:
    """Returns whether lines have words and tags in two cells, by a header or by their tags."""
    header = _header(lines[0].split("\t")) if lines else ()
    if header:
        # Below such a header may be a word and its tag per line, too.
        several = re.compile(f"\\S[ {_ERNIE}]\\S")
        return len(header) == 1 or any(map(several.search, lines[1:20]))
    pairs = [line.split("\t") for line in lines[:20]]
    return bool(pairs) and all(
        len(pair) == 2
        and len(tags := re.split(f"[ {_ERNIE}]", pair[1].strip())) > 1
        and all(map(FILE_TAG.fullmatch, tags))
        for pair in pairs
    )


def _header(cells: Sequence[str]) -> tuple[int, ...]:
    """Returns the columns of the words and of the tags, if any; empty if it is not a header."""
    names = [cell.strip().lower() for cell in cells]
    words = [column for column, name in enumerate(names) if name in ("text_a", *_WORDS)]
    tags = [column for column, name in enumerate(names) if name in _TAGS]
    if not words or not (tags or len(names) == 1):
        return ()
    return (words[0], *tags[:1])


def _split_sentence(text: str, tags: str) -> tuple[list[str], list[str]]:
    """Returns the words and the tags of two cells.

    Raises:
      BadExampleError: their numbers differ.
    """
    separator = _ERNIE if _ERNIE in text or _ERNIE in tags else " "
    found = [_plain_tag(tag) for tag in tags.split(separator) if tag]
    # A word may be the separator itself.
    words = re.findall(f"({separator}|[^{separator}]+)(?:{separator}|$)", text)
    if len(words) != len(found):
        words = [word for word in text.split(separator) if word] or [" "]
    if separator not in text and (len(found) == len(text) or (not found and _has_chinese(text))):
        words = list(text)  # characters without a separator
    if found and len(words) != len(found):
        detail = f'{len(words)} words and {len(found)} tags in "{text[:20]}"'
        raise BadExampleError("the numbers of words and tags differ", detail)
    return words, found or [""] * len(words)


def _has_chinese(text: str) -> bool:
    return any(map(_is_chinese, text))


def _listed(value: dict[str, Any], words: str, label: str) -> tuple[list[str], list[str]]:
    """Returns the words and the tags of two lists of a JSON object; tags of "" without tags.

    Raises:
      BadExampleError: they are not texts, or their numbers differ.
    """
    name = next((each for each in (label, *_TAGS) if each in value), label)
    tags = value.get(name)
    found = [""] * len(value[words]) if tags is None else tags
    for key, items in ((words, value[words]), (name, found)):
        if not is_texts(items, at_least=1):
            received = str(items)[:40]
            raise BadExampleError(f'field "{key}" is not a list of texts', f"received {received}")
    if len(found) != len(value[words]):
        detail = f"{len(value[words])} {words} and {len(found)} {name}"
        raise BadExampleError("the numbers of words and tags differ", detail)
    return [word or " " for word in value[words]], [_plain_tag(tag) if tag else "" for tag in found]


def _tagged_entities(tags: Sequence[str], spans: Sequence[tuple[int, int]]) -> tuple[Entity, ...]:
    if all(tag == OUTSIDE for tag in tags):  # Most sentences; for speed only.
        return ()
    return tuple(
        Entity(each.type, spans[each.start][0], spans[each.end - 1][1])
        for each in tags_to_entities(tags)
    )


def _filled_cells(line: str) -> list[str]:
    line = line.strip(_BLANKS)
    if "\t" in line:
        # Words may contain spaces then.
        return [cell for part in line.split("\t") if (cell := part.strip(" "))]
    return [cell for cell in line.split(" ") if cell]


def _has_index(rows: Sequence[Sequence[str]]) -> bool:
    """Returns whether rows of three or more cells begin with the numbers of words in sentences."""
    first = [cells[0] for cells in rows]
    if len(rows) < 2 or len(rows[0]) < 3 or not all(map(str.isdecimal, first)):
        return False
    numbers = list(map(int, first))
    pairs = itertools.pairwise(numbers)
    return numbers[0] < 2 and all(b in (a + 1, numbers[0]) for a, b in pairs)


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
        if before and not (
            _is_chinese(before)
            or _is_chinese(first)
            or _is_dash(before, first)
            or before.isspace()
            or first.isspace()
        ):
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
