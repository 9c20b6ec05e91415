"""Plain lines, new data without labels, one example per line; and how to recognize other forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from electra_zh.finetuning.encoding.tags import FILE_TAG
from electra_zh.finetuning.examples import BadExampleError, TaggedExample, TextExample
from electra_zh.finetuning.readers.base import READERS, ExampleReader
from electra_zh.finetuning.readers.cells import possible_cuts
from electra_zh.finetuning.readers.entities import are_sentences
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.streams import Record, TaskFile, check_text
from electra_zh.finetuning.tasks import TaskConfig

# The first lines, from which the form of a file is recognized.
_LINES = 20
# The median length of words that are not tagged, at most.
_WORD_LENGTH = 6
_TAG_READERS = ("columns", "cluener", "spans")


def is_pair(task: TaskConfig) -> bool:
    """Returns whether the examples of a task are pairs of texts."""
    fields = _fields(task)
    return fields is not None and len(fields.texts()) == 2


def _fields(task: TaskConfig) -> Fields | None:
    """Returns the fields of a task of texts, None for others."""
    fields_type = READERS[task.reader].fields_type
    if fields_type is None or not issubclass(fields_type, Fields):
        return None
    return fields_type.of(task)


class PlainTexts(ExampleReader, name="plain_texts"):
    """Lines of text; a TAB separates the two texts of a pair. An empty line is an example, too."""

    example_type = TextExample

    def _records(self) -> Iterator[Record]:
        return self.file.lines()

    def _example(self, record: Record, number: int) -> TextExample:
        check_text(record.value)
        if not is_pair(self.task) or not record.value.strip():
            return TextExample(number, record.value, None, None, record.place)
        texts = record.value.split("\t")
        if len(texts) != 2:
            reason = "more than two texts" if len(texts) > 2 else "no TAB between the two texts"
            raise BadExampleError(reason, f'"{record.value[:40]}"')
        return TextExample(number, texts[0], texts[1], None, record.place)


class PlainSentences(ExampleReader, name="plain_sentences"):
    """Lines of text, each a sentence to tag; an empty line has no entities."""

    example_type = TaggedExample

    def _records(self) -> Iterator[Record]:
        return self.file.lines()

    def _example(self, record: Record, number: int) -> TaggedExample:
        check_text(record.value)
        return TaggedExample(number, record.value, None, None, record.place)


def is_plain(file: TaskFile, task: TaskConfig) -> bool:
    """Returns whether a file of new data is plain lines, by its first ones, and not a task's file.

    A task's file is JSON, Parquet or Arrow; a table whose header has the names of the texts; one
    with more cells than texts if the task's own files have the same suffix; words, or words and
    tags, in columns.
    """
    lines = [line for line in file.first_lines if line.strip()][:_LINES]
    if file.is_json or file.is_columnar:
        return False
    suffix = file.suffix
    if task.reader in _TAG_READERS:
        tagged = are_sentences(lines) or all(map(_ends_with_tag, lines))
        longest = 1 if suffix in ("", "txt") or task.reader != "columns" else _WORD_LENGTH
        return not (tagged or _are_words(lines, longest))
    fields = _fields(task)
    if fields is None:
        return suffix in ("", "txt")
    if suffix in ("tsv", "csv") or _has_header(lines, fields):
        return False
    names = (*task.files.train, *task.files.dev, *task.files.test)
    if any(name.endswith(".txt") for name in names) and not READERS[task.reader].objects:
        texts = len(fields.texts())
        return not all(line.count("\t") >= texts for line in lines)
    return True


def _has_header(lines: Sequence[str], fields: Fields) -> bool:
    wanted = [[name.lower() for name in fields.names(text)] for text in fields.texts()]
    for cut in possible_cuts(lines[0] if lines else "", fields.separator):
        cells = [cell.strip().lower() for cell in cut.cells(lines[0])]
        if all(any(name in cells for name in names) for names in wanted):
            return True
    return bool(lines) and len(wanted) == 1 and lines[0].strip().lower() in wanted[0]


def _are_words(lines: Sequence[str], longest: int) -> bool:
    """Returns whether lines are single words, as in a column without tags."""
    lengths = sorted(len(line.strip()) for line in lines)
    single = all(len(line.split()) == 1 for line in lines)
    return len(lines) > 1 and single and lengths[len(lengths) // 2] <= longest


def _ends_with_tag(line: str) -> bool:
    cells = line.split()
    return FILE_TAG.fullmatch(cells[-1]) is not None and (len(cells) > 1 or line[0] in " \t")
