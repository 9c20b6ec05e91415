"""Plain lines: new data without labels, one example per line; and how to recognize other lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from electra_zh.finetuning.examples import BadExampleError, TaggedExample, TextExample
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.streams import Record, check_text, read_text_lines
from electra_zh.finetuning.tasks import TaskConfig

# The first lines, from which the form of a file is recognized.
_LINES = 20
_TAG = re.compile("O|[BIMES][-_].+")


def _is_pair(task: TaskConfig) -> bool:
    return bool(task.fields) and len(Fields.of(task).texts()) == 2


class PlainTexts(ExampleReader, name="plain_texts"):
    """Lines of text; a TAB separates the two texts of a pair."""

    example_type = TextExample

    def _records(self) -> Iterator[Record]:
        return read_text_lines(self.path)

    def _example(self, record: Record, number: int) -> TextExample:
        check_text(record.value)
        if not _is_pair(self.task):
            return TextExample(number, record.value, None, None, record.place)
        texts = record.value.split("\t")
        if len(texts) != 2:
            reason = "more than two texts" if len(texts) > 2 else "no TAB between the two texts"
            raise BadExampleError(reason, f'"{record.value[:40]}"')
        return TextExample(number, texts[0], texts[1], None, record.place)


class PlainSentences(ExampleReader, name="plain_sentences"):
    """Lines of text, each a sentence to tag."""

    example_type = TaggedExample

    def _records(self) -> Iterator[Record]:
        return read_text_lines(self.path)

    def _example(self, record: Record, number: int) -> TaggedExample:
        check_text(record.value)
        return TaggedExample(number, record.value, None, None, record.place)


def looks_labelled(path: str, task: TaskConfig) -> bool:
    """Returns whether a .txt file is in the task's own labelled form, by its first lines.

    That form is columns of words and tags, or a table with more cells than texts if the task's own
    files are tables named .txt.
    """
    first = [line.value for line in itertools.islice(read_text_lines(path), _LINES)]
    if task.reader == "columns":
        return all(_ends_with_tag(line) for line in first)
    names = (*task.files.train, *task.files.dev, *task.files.test)
    if task.reader == "table" and any(name.endswith(".txt") for name in names):
        texts = 2 if _is_pair(task) else 1
        return all(line.count("\t") >= texts for line in first)
    return False


def _ends_with_tag(line: str) -> bool:
    cells = line.split()
    return len(cells) > 1 and _TAG.fullmatch(cells[-1]) is not None
