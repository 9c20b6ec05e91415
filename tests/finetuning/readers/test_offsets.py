"""Texts with spans: doccano's form, Label Studio's simple export, and others by the usual names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples, TaggedExample
from electra_zh.finetuning.tasks import TaskConfig

TEXT = "王五在北京工作"
LABEL_STUDIO = [
    {"start": 0, "end": 2, "text": "王五", "labels": ["PER"]},
    {"start": 3, "end": 5, "text": "北京", "labels": ["LOC"]},
]
DOCCANO = [[3, 5, "LOC"], [0, 2, "PER"]]
FULL = [{"type": "labels", "value": span} for span in LABEL_STUDIO] + [{"type": "choices"}]
CBLUE = [  # ends are inclusive
    {"start_idx": 3, "end_idx": 4, "type": "LOC", "entity": "北京"},
    {"start_idx": 0, "end_idx": 1, "type": "PER", "entity": "王五"},
]
RELATIONS = [
    {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 2},
    {"id": 2, "label": "LOC", "start_offset": 3, "end_offset": 5},
]


def read(folder: Path, content: str, *, reader: str = "spans") -> list[TaggedExample]:
    path = folder / "data.json"
    path.write_bytes(content.encode())
    task = TaskConfig("made", "tagging", reader, "f1")
    return list(readers.read(str(path), task, split="train", bad=BadExamples(skip=False)))


def line(label: Any, *, key: str = "label", text: str = TEXT) -> str:
    return json.dumps({"text": text, key: label}, ensure_ascii=False)


@pytest.mark.parametrize("reader", ["spans", "cluener", "columns"])
@pytest.mark.parametrize(
    "content",
    [
        *(line(DOCCANO, key=key) for key in ("label", "labels", "entities")),
        line(RELATIONS, key="entities"),
        f"[{line(LABEL_STUDIO)}]",
        json.dumps([{"id": 1, "text": TEXT, "label": LABEL_STUDIO, "annotator": 1}], indent=2),
        line({"PER": {"王五": [[0, 1]]}, "LOC": {"北京": [[3, 4]]}}),
        json.dumps({"text": TEXT, "label": [], "entities": DOCCANO}),
        json.dumps(
            [{"id": 1, "data": {"text": TEXT}, "annotations": [{"result": FULL}], "meta": {}}]
        ),
        json.dumps(
            {
                "data": {"text": TEXT},
                "annotations": [{"was_cancelled": True, "result": []}, {"result": FULL}],
            }
        ),
        line(CBLUE, key="entities"),
    ],
)
def test_every_form_of_spans(tmp_path: Path, reader: str, content: str) -> None:
    (example,) = read(tmp_path, content, reader=reader)
    assert example.entities is not None
    found = [(each.type, example.text[each.start : each.end]) for each in example.entities]
    assert found == [("PER", "王五"), ("LOC", "北京")]


def test_no_spans_are_a_label(tmp_path: Path) -> None:
    assert read(tmp_path, line([]))[0].entities == ()
    with pytest.raises(UserError, match=r"line 1: no label: is this a test file\?"):
        read(tmp_path, json.dumps({"text": TEXT}))


def test_offsets_of_browsers_are_converted(tmp_path: Path) -> None:
    span = {"start": 2, "end": 4, "text": "王五", "labels": ["PER"]}
    (example,) = read(tmp_path, line([span], text=f"😀{TEXT}"))
    assert example.entities is not None
    assert (example.entities[0].start, example.entities[0].end) == (1, 3)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ([6, 8, "PER"], r"span outside the text: PER at \[6, 8\] of 7 characters"),
        ([2, 2, "PER"], "span outside the text"),
        ([-1, 2, "PER"], "span outside the text"),
        ([0, 2], r"malformed label: \[0, 2\]; it must be .*list of \[start, end, type\]"),
        ([0, "2", "PER"], "malformed label"),
        ([0, 2, 3], "malformed label"),
        ([0, 2.0, "PER"], "malformed label"),
        ("PER", "malformed label"),
        ({"start": 0, "end": 2}, "malformed label"),
        ({**LABEL_STUDIO[0], "end": 3}, r'not its mention: "王五" at \[0, 3\].*"王五在"'),
    ],
)
def test_a_wrong_span_is_named(tmp_path: Path, span: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"data.json, line 2: .*{message}"):
        read(tmp_path, f"{line(DOCCANO)}\n{line([span])}\n")
