"""Plain lines: new data without labels or fields, one example a line."""

from __future__ import annotations

from collections.abc import Iterator

from electra_zh.finetuning.examples import Problems, TextExample
from electra_zh.finetuning.readers.lines import read_lines
from electra_zh.finetuning.tasks import Task


def plain_texts(path: str, task: Task, *, split: str, problems: Problems) -> Iterator[TextExample]:
    """Yields a line as a text; a TAB parts the two texts of a pair. Empty lines are passed over."""
    del split
    pairs = "text_b" in task.fields
    number = 0
    for text, place in read_lines(path, problems):
        if not text.strip():
            continue
        first, tab, second = text.partition("\t")
        if pairs and not tab:
            problems.add(place, "no TAB between the two texts", detail=f'"{text[:40]}"')
            continue
        yield TextExample(number, first if pairs else text, second if pairs else None, None, place)
        number += 1
