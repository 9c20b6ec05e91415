"""A new kind of task is one file: with it in the package, every command works."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from electra_zh.commands.command import Call
from electra_zh.commands.conversion import Convert, convert
from electra_zh.finetuning import kinds
from electra_zh.finetuning.predict import predict
from electra_zh.finetuning.request import PredictionRequest, Request
from electra_zh.finetuning.run import finetune
from electra_zh.finetuning.tasks import kind_names
from support.converting import SENTENCES, make_run

KIND = '''
import dataclasses

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.finetuning.examples import TextExample
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.kinds.classification import PooledHead, text_rows


class Length(TaskKind[TextExample, float]):
    """The number of characters of a text."""

    example_type = TextExample
    metric_names = ("error",)
    plain_reader = "plain_texts"
    head_form = HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("length",),
        takes_text=True,
    )

    def check_example(self, example):
        pass

    def encode(self, examples, tokenizer, *, training):
        rows = text_rows(examples, tokenizer, self.max_seq_length)
        if not training:
            return rows
        lengths = np.array([len(example.text_a) for example in examples], np.float32)
        return dataclasses.replace(rows, per_group={"length": lengths})

    def make_head(self, model, path, *, seed):
        return PooledHead(model, path, 1, seed=seed, reference=False)

    def losses(self, head, hidden, features):
        return tf.square(head(hidden)[:, 0] - features["length"])

    def outputs(self, head, hidden, features):
        return {"length": head(hidden)[:, 0]}

    def predictions(self, outputs, rows, examples):
        return outputs["length"].tolist()

    def scores(self, examples, predictions):
        lengths = [len(example.text_a) for example in examples]
        return {"error": -float(np.abs(np.subtract(lengths, predictions)).mean())}

    def describe(self, example, prediction):
        return {"length": prediction}
'''
TASK = """
kind: length
reader: json_lines
metric: error
folders: [lengths]
files: {train: train.json, dev: train.json}
fields: {text_a: text, label: label}
training: {train_batch_size: 2, num_train_epochs: 1}
"""


@pytest.fixture(scope="module")
def length_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kind's file in a folder that belongs to the package."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "length.py").write_text(KIND)
    kinds.__path__.append(str(folder))
    yield
    kinds.__path__.remove(str(folder))
    sys.modules.pop("electra_zh.finetuning.kinds.length", None)


@pytest.fixture(scope="module")
def tuned(length_kind: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of fine-tuning a task of the new kind."""
    assert "length" in kind_names()
    folder = tmp_path_factory.mktemp("tuned")
    run, _ = make_run(folder / "run")
    data = folder / "data" / "lengths"
    data.mkdir(parents=True)
    lines = [json.dumps({"text": text, "label": "x"}) for text in SENTENCES]
    (data / "train.json").write_text("\n".join(lines) + "\n")
    (folder / "lengths.yaml").write_text(TASK)
    output = str(folder / "out")
    tasks = (str(folder / "lengths.yaml"),)
    precision = {"precision": "float32"}  # that of exported models
    finetune(Request(run.folder, tasks, str(folder / "data"), output, overrides=precision))
    return folder / "out"


def test_a_new_kind_predicts(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("\n".join(SENTENCES) + "\n")
    request = PredictionRequest(str(tuned), str(tmp_path / "new.txt"), str(tmp_path / "new.jsonl"))
    assert predict(request).predictions == len(SENTENCES)
    again = [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()]
    dev = (tuned / "lengths/trial-0/predictions.dev.jsonl").read_text().splitlines()
    assert [each["length"] for each in again] == pytest.approx(
        [json.loads(line)["length"] for line in dev], abs=1e-5
    )


def test_a_new_kind_is_exported(tuned: Path, tmp_path: Path) -> None:
    for name in ("saved-model", "huggingface"):
        settings = Convert(str(tuned / "lengths" / "model"), name, str(tmp_path / name))
        assert convert(Call(settings, {}, dry_run=False)) == 0
    served = tf.saved_model.load(str(tmp_path / "saved-model")).signatures
    found = served["texts"](texts=tf.constant(SENTENCES))["length"].numpy()
    dev = (tuned / "lengths/trial-0/predictions.dev.jsonl").read_text().splitlines()
    assert found == pytest.approx([json.loads(line)["length"] for line in dev], abs=1e-5)
    written = json.loads((tmp_path / "huggingface" / "config.json").read_text())
    assert written["architectures"] == ["ElectraForSequenceClassification"]
