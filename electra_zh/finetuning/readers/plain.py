"""Plain lines: new data without labels or fields, one example a line; how to tell it is none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.readers.lines import read_lines
from electra_zh.finetuning.tasks import TaskConfig

# So many lines tell a file's form.
_LINES = 20
_TAG = re.compile("O|[BIMES][-_].+")


def plain_texts(
    path: str, task: TaskConfig, *, split: str, problems: BadExamples
) -> Iterator[TextExample]:
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
        if pairs and "\t" in second:
            problems.add(place, "more than two texts", detail=f'"{text[:40]}"')
            continue
        yield TextExample(number, first if pairs else text, second if pairs else None, None, place)
        number += 1


def looks_labelled(path: str, task: TaskConfig) -> bool:
    """Returns whether a file of lines is in the task's own labelled form, by its first lines.

    That is columns of words and tags for such a task, and more cells than texts where the task's
    own files are tables called .txt.
    """
    found = (line.text for line in read_lines(path, BadExamples(skip=True)) if line.text.strip())
    first = list(itertools.islice(found, _LINES))
    if task.reader == "columns":
        return all(_ends_with_tag(line) for line in first)
    names = (*task.files.train, *task.files.dev, *task.files.test)
    if task.reader == "table" and any(name.endswith(".txt") for name in names):
        texts = 2 if "text_b" in task.fields else 1
        return all(line.count("\t") >= texts for line in first)
    return False


def _ends_with_tag(line: str) -> bool:
    cells = line.split()
    return len(cells) > 1 and _TAG.fullmatch(cells[-1]) is not None
