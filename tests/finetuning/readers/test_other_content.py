"""Every reader on files of something else: one line for the user, never another error."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import registry
from electra_zh.finetuning.examples import BadExamples, TaggedExample
from electra_zh.finetuning.readers.base import READERS
from electra_zh.finetuning.tasks import TaskConfig

_RANDOM = random.Random(0)
CONTENTS = {
    "random": bytes(_RANDOM.randrange(256) for _ in range(10_000)),
    "random lines": b"\n".join(
        bytes(_RANDOM.choices([*range(9, 11), *range(32, 256)], k=60)) for _ in range(50)
    ),
    "zeros": bytes(1000),
    "empty": b"",
    "blank": b" \n\t\n \n",
    "brackets": b"[" * 5000,
    "braces": b'{"a":' * 5000,
    "null": b"null\n",
    "numbers": b"1\n2\n3\n",
    "strings": b'"a"\n"b"\n',
    "array of arrays": json.dumps([[1, 2], ["a"], []]).encode(),
    "array of numbers": b"[1, 2, 3]",
    "cut array": b'[{"text": "a"}, {"te',
    "objects": b'{"text": 1, "label": {}}\n{"text": [], "label": [[]]}\n{}\n{"text": {"a": 1}}\n',
    "nested": json.dumps({"data": [{"paragraphs": [{"context": 3, "qas": [3]}]}]}).encode(),
    "questions": json.dumps({"id": [], "context": "a", "question": 3, "answers": 5}).encode(),
    "choices": json.dumps([[["a"], [{"question": 1}], 2], [["a"], [5], 2]]).encode(),
    "blanks": json.dumps({"content": ["#idiom1#"], "candidates": ["a", 3], "answer": []}).encode(),
    "spans": json.dumps({"text": "a", "label": {"x": 3}, "target": {"span1_text": 3}}).encode(),
    "lists": json.dumps({"tokens": ["a", 1], "tags": [[]], "text": ["a"], "label": ["X"]}).encode(),
    "table": "甲\t乙\t丙\n丁\n戊\t\t\t\t\t\n".encode(),
    "header": b"text\tlabel\ttext_a\ttext_b\tsentence1\tsentence2\n",
    "quotes": b'"a,"b"\n"c\n',
    "columns": "甲 O\n乙 B-\n丙\n O O O\n\t\n".encode(),
    "GB18030": "这是一个用来测试的句子，我们看看。\n".encode("gb18030") * 30,
    "UTF-16": "这是一个用来测试的句子，我们看看。\n".encode("utf-16") * 3,
    "Big5": "這是一個用來測試的句子，我們看看。\n".encode("big5") * 30,
    "xml": b"<?xml version='1.0'?>\n<doc>\n<a>1</a>\n</doc>\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(range(100)),
    "zip": b"PK\x03\x04" + bytes(range(100)),
    "surrogates": rb'{"text": "\ud83d", "sentence": "\ud83d", "content": ["\udc00"]}',
    "controls": "甲\0乙\x01\x02\t丙\x7f\n".encode(),
}


@functools.cache
def task_of(reader: str) -> TaskConfig:
    """A shipped task with this reader, or one of our own."""
    for name in registry.task_names():
        (task,) = registry.load([name])
        if task.reader == reader:
            return task
    if issubclass(READERS[reader].example_type, TaggedExample):
        return TaskConfig("own", "tagging", reader, "f1")
    return TaskConfig("own", "classification", reader, "accuracy", fields={"text_a": "text"})


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("content", CONTENTS)
def test_anything_else_is_a_clear_error(tmp_path: Path, reader: str, content: str) -> None:
    path = tmp_path / "data.x"
    path.write_bytes(CONTENTS[content])
    for split, skip in (("train", False), ("test", True), ("new", True)):
        found = READERS[reader](str(path), task_of(reader), split=split)
        message = ""
        try:
            json.dumps([example.id for example in found.read(BadExamples(skip=skip))])
        except UserError as error:
            message = str(error)
        assert "\n" not in message
        assert not message or "data.x" in message or "task" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("GB18030", "it looks like GB18030; convert it: iconv -f GB18030 -t UTF-8 .*data.x > NEW"),
        ("Big5", "iconv -f Big5"),
        ("UTF-16", "iconv -f UTF-16"),
        ("random", "is not text: it has binary data"),
        ("zip", "is not text: it is a zip archive, as Excel's are: save it as CSV in UTF-8"),
        ("empty", "is empty"),
    ],
)
@pytest.mark.parametrize("reader", sorted(READERS))
def test_other_encodings_are_named_by_every_reader(
    tmp_path: Path, reader: str, content: str, message: str
) -> None:
    path = tmp_path / "data.x"
    path.write_bytes(CONTENTS[content])
    found = READERS[reader](str(path), task_of(reader), split="train")
    with pytest.raises(UserError, match=rf"data\.x .*{message}"):
        list(found.read(BadExamples(skip=True)))
