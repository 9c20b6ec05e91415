"""Folders of finished tasks with test predictions that fit CLUE's test files."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import registry
from electra_zh.finetuning.request import SubmissionRequest
from electra_zh.finetuning.submission import SubmissionReport, submission
from support.task_files import TASKS, copy_tasks, read_rows, write_json, write_json_lines

EncodedSplit = list[dict[str, Any]]
SIZE = 6
NLI_LABELS = ("contradiction", "entailment", "neutral")
TNEWS_LABELS = tuple(row["label"] for row in read_rows(TASKS / "tnews" / "labels.json"))
IFLYTEK_LABELS = tuple(row["label"] for row in read_rows(TASKS / "iflytek" / "labels.json"))
CLUENER_TYPES = (
    *("address", "book", "company", "game", "government", "movie", "name", "organization"),
    *("position", "scene"),
)


class Plan(NamedTuple):
    """The facts of a task's folder."""

    file: str
    form: str
    labels: tuple[str, ...] = ()
    test_file: str = "test.json"


PLANS = {
    "afqmc": Plan("afqmc_predict.json", "labels", ("0", "1")),
    "tnews": Plan("tnews11_predict.json", "labels", TNEWS_LABELS),
    "iflytek": Plan("iflytek_predict.json", "labels", IFLYTEK_LABELS),
    "cmnli": Plan("cmnli_predict.json", "labels", NLI_LABELS, "cmnli_public/test.json"),
    "ocnli": Plan("ocnli_50k_predict.json", "labels", NLI_LABELS),
    "cluewsc2020": Plan("cluewsc11_predict.json", "labels", ("false", "true")),
    "csl": Plan("csl_predict.json", "labels", ("0", "1")),
    "cmrc2018": Plan("cmrc2018_predict.json", "answers"),
    "chid": Plan("chid11_predict.json", "idioms", test_file="test1.1.json"),
    "c3": Plan("c311_predict.json", "choices", test_file="test1.1.json"),
    "cluener": Plan("cluener_predict.json", "entities", CLUENER_TYPES),
}


def predict_labels(path: Path, labels: tuple[str, ...]) -> EncodedSplit:
    return [
        {"id": row["id"], "label": labels[index % len(labels)], "probability": 0.5}
        for index, row in enumerate(read_rows(path))
    ]


def predict_choices(path: Path, labels: tuple[str, ...]) -> EncodedSplit:
    questions = [question for item in json.loads(path.read_text()) for question in item[1]]
    return [{"id": each["id"], "label": len(each["choice"]) - 1} for each in questions]


def predict_answers(path: Path, labels: tuple[str, ...]) -> EncodedSplit:
    paragraphs = [
        part for each in json.loads(path.read_text())["data"] for part in each["paragraphs"]
    ]
    return [
        {"id": question["id"], "answer": part["context"][3:7], "nbest": []}
        for part in paragraphs
        for question in part["qas"]
    ]


def predict_idioms(path: Path, labels: tuple[str, ...]) -> EncodedSplit:
    found = []
    for number, row in enumerate(read_rows(path)):
        marks = re.findall(r"#idiom\d+#", " ".join(row["content"]))
        found.append({"id": number, "answers": {mark: 9 - at for at, mark in enumerate(marks)}})
    return found


def predict_entities(path: Path, labels: tuple[str, ...]) -> EncodedSplit:
    found = []
    for row in read_rows(path):
        spans = [("name", 0, 2), ("name", 1, 3), ("address", 0, 2)]
        entities = [
            {"type": kind, "start": start, "end": end, "mention": row["text"][start:end]}
            for kind, start, end in spans
        ]
        found.append({"id": row["id"], "text": row["text"], "entities": entities})
    return found


PREDICT: dict[str, Callable[[Path, tuple[str, ...]], EncodedSplit]] = {
    "labels": predict_labels,
    "choices": predict_choices,
    "answers": predict_answers,
    "idioms": predict_idioms,
    "entities": predict_entities,
}


def settings_of(name: str, plan: Plan) -> dict[str, Any]:
    """The settings of a shipped task as a fine-tuned model has them."""
    (task,) = registry.load(["cluener2020" if name == "cluener" else name])
    return {**task.to_dict(), "name": name, "labels": {"names": list(plan.labels)}}


class Folder:
    """A folder of finished tasks with predictions that fit their test files."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root, self.output = root, root / "out"
        self.results: dict[str, Any] = {}
        for name in names:
            copy_tasks(root / "data", name)
            self.add(name, PLANS[name])

    def add(self, name: str, plan: Plan, *, unit: str = "", key: str = "") -> None:
        """Writes a task's folder; in a joint `unit` its predictions are one folder further down."""
        test_file = self.root / "data" / name / plan.test_file
        best = f"{unit}/trial-0/{name}" if unit else f"{name}/trial-0"
        settings = settings_of(name, plan)
        model = {"finetuned": {"tasks": [settings]}}
        write_json(self.output / (unit or name) / "model" / "config.json", model)
        self.results[key or name] = {
            "best_trial": best,
            "test_files": [str(test_file)],
            "submission": {"file": plan.file, "form": plan.form},
        }
        rows = PREDICT[plan.form](test_file, plan.labels)
        write_json_lines(self.output / best / "predictions.test.jsonl", rows)
        self.save()

    def save(self) -> None:
        write_json(self.output / "results.json", {"tasks": self.results})

    def predictions(self, name: str) -> Path:
        return self.output / self.results[name]["best_trial"] / "predictions.test.jsonl"

    def change(self, name: str, number: int, **values: Any) -> None:
        """Replaces values of one line of predictions."""
        rows = read_rows(self.predictions(name))
        rows[number] |= values
        write_json_lines(self.predictions(name), rows)

    def pack(self, **options: Any) -> SubmissionReport:
        request = SubmissionRequest(str(self.output), "team-1", **options)
        return submission(request, date=datetime.date(2024, 1, 31))

    def refused(self, message: str, **options: Any) -> None:
        """Packing fails with this message, and there is no zip."""
        with pytest.raises(UserError, match=message) as caught:
            self.pack(**options)
        assert "\n" not in str(caught.value)
        assert not list(self.output.glob("*.zip*"))

    def test_file(self, name: str) -> Path:
        return Path(self.results[name]["test_files"][0])
