"""Columns, one word a line and a blank line between sentences; and plain lines of text.

Most sets for named entities and chunks have this form: the word first, its tag last, between them
whatever else. Tags are of any of the schemes of `tag_schemes`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.tags import OUTSIDE, tags_to_entities
from electra_zh.finetuning.examples import BadExamples, Entity, TaggedExample
from electra_zh.finetuning.readers.lines import Line, read_lines
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.text.wordpiece.characters import is_cjk, is_punctuation

_BLANKS = " \t"
_NO_LABEL = "no label: is this a test file?"


def columns(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TaggedExample]:
    """Yields the sentences of a file of columns, which tabs or spaces part.

    Lines that begin with `-DOCSTART-` are passed over. The text of a sentence is its words, with a
    space between two of them only where neither neighbour is Chinese. `id` is the sentence's number
    from 0.

    Args:
      path: the file.
      task: its `fields` may have `word` and `tag`, numbers of columns from 1 (by default the first
        and the last), and `suffix: digits` where the word column ends with a number to drop (the
        place of the character in its word, as in Weibo's second version).
      split: "train" and "dev" need tags; elsewhere a sentence without any is unlabelled.
      problems: takes sentences with a line that lacks its tag or has one of no scheme.
    """
    layout = _layout(task)
    for number, lines in enumerate(_sentences(path, problems)):
        example = _example(lines, layout, number, labelled=split in ("train", "dev"))
        if isinstance(example, _Problem):
            problems.add(example.place, example.reason, detail=example.detail)
        else:
            yield example


def plain_sentences(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TaggedExample]:
    """Yields the sentences of a file of text, one a line; empty lines are passed over."""
    del task, split
    number = 0
    for text, place in read_lines(path, problems):
        if text.strip():
            yield TaggedExample(number, text, None, None, place)
            number += 1


class _Layout(NamedTuple):
    """Columns from 0; `tag` None is the last. `suffix`: what to drop from words, or None."""

    word: int
    tag: int | None
    suffix: re.Pattern[str] | None


def _layout(task: TaskConfig) -> _Layout:
    def column(name: str) -> int | None:
        value = task.fields.get(name)
        if value is None:
            return None
        if not re.fullmatch("[1-9][0-9]?", value):
            raise UserError(
                f'task {task.name}: fields.{name} is "{value}"; it must be the number of a column '
                "(the first is 1)"
            )
        return int(value) - 1

    suffix = task.fields.get("suffix")
    if suffix not in (None, "digits"):
        raise UserError(f'task {task.name}: fields.suffix is "{suffix}"; allowed: digits')
    # At least one character is left of each word: it may be a digit itself.
    pattern = re.compile("(?<=.)[0-9]+$") if suffix else None
    return _Layout(column("word") or 0, column("tag"), pattern)


def _sentences(path: str, problems: BadExamples) -> Iterator[list[Line]]:
    lines: list[Line] = []
    for line in read_lines(path, problems):
        if not line.text.strip(_BLANKS):
            if lines:
                yield lines
            lines = []
        elif not line.text.startswith("-DOCSTART-"):
            lines.append(line)
    if lines:
        yield lines


class _Problem(NamedTuple):
    place: str
    reason: str
    detail: str


def _example(
    lines: Sequence[Line], layout: _Layout, number: int, *, labelled: bool
) -> TaggedExample | _Problem:
    words: list[str] = []
    tags: list[str] = []
    for line in lines:
        cells = _cells(line.text)
        if layout.word >= len(cells):
            detail = f'there is no column {layout.word + 1} in "{line.text[:40]}"'
            return _Problem(line.place, "no word", detail)
        word = cells[layout.word]
        words.append(layout.suffix.sub("", word) if layout.suffix else word)
        column = len(cells) - 1 if layout.tag is None else layout.tag
        if column != layout.word and column < len(cells):
            tag, wrong = _tag(cells[column])
            if wrong:
                return _Problem(line.place, "not a tag", wrong)
            tags.append(tag)
        elif labelled:
            return _Problem(line.place, _NO_LABEL, f'the line is "{line.text[:40]}"')
    if tags and len(tags) < len(words):
        return _Problem(lines[0].place, "labels on some lines of a sentence only", "")
    text, spans = _join(words)
    entities = _entities(tags, spans) if tags else None
    return TaggedExample(number, text, spans, entities, lines[0].place)


def _entities(tags: Sequence[str], spans: Sequence[tuple[int, int]]) -> tuple[Entity, ...]:
    if all(tag == OUTSIDE for tag in tags):  # the most; only speed
        return ()
    return tuple(
        Entity(each.type, spans[each.start][0], spans[each.end - 1][1])
        for each in tags_to_entities(tags)
    )


def _cells(text: str) -> list[str]:
    text = text.strip(_BLANKS)
    if "\t" in text:
        # A word may hold spaces then.
        return [cell for part in text.split("\t") if (cell := part.strip(" "))]
    return [cell for cell in text.split(" ") if cell]


@functools.lru_cache(maxsize=4096)
def _tag(tag: str) -> tuple[str, str]:
    """Returns the tag with a hyphen behind its letter, and what is wrong with it or ""."""
    if tag[1:2] == "_":
        tag = f"{tag[0]}-{tag[2:]}"
    try:
        tags_to_entities([tag])
    except UserError:
        return tag, f'"{tag}"; it must be O, or B-, I-, M-, E- or S- and a type'
    return tag, ""


def _join(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Returns the words as a text, and the span of each.

    A space is set wherever the tokenizer would take two words for one without it.
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
    """Returns whether the two are a Chinese dash or ellipsis, whose halves stand side by side."""
    return before == after and before in "—…"


@functools.lru_cache(maxsize=1 << 16)
def _is_chinese(char: str) -> bool:
    """Returns whether it is an ideograph or punctuation of Chinese: always a token of its own."""
    return is_cjk(ord(char)) or (ord(char) >= 0x3000 and is_punctuation(char))
