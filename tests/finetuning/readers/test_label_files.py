"""Files of labels: lists and maps in every usual form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning.readers.label_files import LabelList, read_labels


def read(folder: Path, content: str) -> LabelList:
    path = folder / "labels.json"
    path.write_bytes(content.encode())
    return read_labels(str(path), "label")


NAMES = ("财经", "体育 新闻", "社会")


@pytest.mark.parametrize(
    "content",
    [
        '{"label": "财经"}\n{"label": "体育 新闻"}\n{"label": "社会"}\n',
        '[{"label": "财经"}, {"label": "体育 新闻"}, {"label": "社会"}]',
        json.dumps(NAMES),
        json.dumps(NAMES, ensure_ascii=False, indent=2),
        "财经\n体育 新闻\n\n社会",
        "\ufeff财经\r\n体育 新闻\r\n社会\r\n",
    ],
)
def test_a_list_of_labels(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == LabelList(NAMES)


@pytest.mark.parametrize(
    "content",
    [
        {"体育 新闻": 1, "社会": 2, "财经": 0},
        {"2": "社会", "0": "财经", "1": "体育 新闻"},
        {"label2id": {"体育 新闻": 1, "社会": 2, "财经": 0}},
        {"model_type": "x", "id2label": {"0": "财经", "1": "体育 新闻", "2": "社会"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_map_is_ordered_by_its_numbers(
    tmp_path: Path, content: dict[str, Any], indent: int | None
) -> None:
    found = read(tmp_path, json.dumps(content, indent=indent))
    assert found.for_data({"财经", "社会"}) == LabelList(NAMES, (), has_numbers=True)
    # Data may have the numbers: the names describe them.
    assert found.for_data({"0", "2"}) == LabelList(("0", "1", "2"), NAMES)


def test_data_may_have_the_numbers_of_lines(tmp_path: Path) -> None:
    found = read(tmp_path, "\n".join(NAMES))
    assert found.for_data({"0", "2"}) == LabelList(("0", "1", "2"), NAMES)
    assert found.for_data(set(NAMES)) == found == found.for_data({"1", "3"})
    numbers = read(tmp_path, "1\n2\n3")
    assert numbers.for_data({"0", "1"}) == numbers


def test_the_other_text_of_an_object_describes_its_label(tmp_path: Path) -> None:
    lines = [json.dumps({"label": str(n), "label_desc": name}) for n, name in enumerate(NAMES)]
    assert read(tmp_path, "\n".join(lines)) == LabelList(("0", "1", "2"), NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("体育\n体育", r'labels.json, line 2: duplicate label "体育"'),
        ('["a", "b", "a"]', r'item 3: duplicate label "a"'),
        (
            '{"name": "a"}\n{"name": "b"}',
            r'line 1: no label in the field "label"; the fields are',
        ),
        ('["a", ["b"]]', 'item 2: no label in the field "label"'),
        ('{"a": 0, "b": 0}', "two labels have the same number"),
        ('{"0": "a", "1": "a"}', "a label has two numbers"),
        ("[]", "contains no labels"),
        ('{"label": "a"}\n{"label', r"line 2: not valid JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)
