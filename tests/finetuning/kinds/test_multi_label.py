"""Several labels per text: targets, predictions, scores, and fine-tuning to the end."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.finetuning import model as models
from electra_zh.finetuning.dataset import load
from electra_zh.finetuning.examples import BadExamples, LabelsExample, TextExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.multi_label import LabelsPrediction, MultiLabel
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.predict import predict
from electra_zh.finetuning.request import PredictionRequest, Request
from electra_zh.finetuning.run import finetune
from electra_zh.finetuning.tasks import Split
from support.converting import make_run
from support.tuning import make_start, make_task

NAMES = ("甲", "乙", "丙")
TOKENIZER = make_start().make_tokenizer()


def example(*labels: str, number: int = 0) -> LabelsExample:
    label = json.dumps(labels, ensure_ascii=False)
    return LabelsExample(number, "天地", None, label, "dev.json, line 3")


def make_kind(**changes: Any) -> MultiLabel:
    task = make_task(kind="multi_label", metric="f1", labels=list(NAMES), **changes)
    return MultiLabel(task, max_seq_length=32)


def predictions(kind: MultiLabel, values: Sequence[Sequence[float]]) -> list[LabelsPrediction]:
    examples = [example() for _ in values]
    rows = kind.encode(examples, TOKENIZER, training=False)
    return kind.predictions({"probabilities": np.array(values, np.float32)}, rows, examples)


def test_each_label_is_a_target() -> None:
    examples = [example("丙", "甲"), example(), TextExample(2, "玄", None, "乙", "x")]
    rows = make_kind().encode(examples, TOKENIZER, training=True)
    assert rows.per_group["labels"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    pairs = [LabelsExample(0, "天", "地", '["乙"]', "x")]
    both = make_kind(double_unordered=True).encode(pairs, TOKENIZER, training=True)
    assert both.per_group["labels"].tolist() == [[0, 1, 0]] * 2


def test_the_loss_is_the_mean_of_the_labels() -> None:
    kind, start = make_kind(), make_start()
    head = kind.make_head(start.model, "heads/t", seed=0)
    hidden = Hidden(tf.random.normal([2, 16], seed=1), 2, 1, None)
    labels = tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    p = kind.outputs(head, hidden, {})["probabilities"].numpy()
    each = -np.log(np.where(labels.numpy() > 0, p, 1 - p)).mean(-1)
    np.testing.assert_allclose(kind.losses(head, hidden, {"labels": labels}), each, rtol=1e-5)


def test_labels_are_predicted_from_one_half_on() -> None:
    found = predictions(make_kind(), [[0.5, 0.49, 0.9], [0.1, 0.2, 0.3]])
    assert [each.labels for each in found] == [("甲", "丙"), ()]
    kind = make_kind()
    assert kind.one_answer(found[0]) == '"甲", "丙"'
    assert kind.one_answer(found[1]) == "without labels"
    line = kind.to_json(example("丙"), found[0], probabilities=True)
    assert line["labels"] == ["甲", "丙"]
    assert line["gold"] == ["丙"]
    assert line["probabilities"] == pytest.approx({"甲": 0.5, "乙": 0.49, "丙": 0.9})
    unknown = TextExample(1, "天", None, None, "x")
    assert kind.to_json(unknown, found[1]) == {"id": 1, "labels": []}
    assert kind.to_json(unknown, None) == {"id": 1, "labels": None}


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    generator = np.random.default_rng(0)
    gold = generator.random([50, 3]) < 0.4
    values = generator.random([50, 3])
    kind = make_kind()
    examples = [example(*np.array(NAMES)[row]) for row in gold]
    found = kind.scores(examples, predictions(kind, values.tolist()))
    predicted = values >= 0.5
    assert found == pytest.approx(
        {
            "f1": 100 * f1_score(gold, predicted, average="micro"),
            "macro_f1": 100 * f1_score(gold, predicted, average="macro"),
            "precision": 100 * precision_score(gold, predicted, average="micro"),
            "recall": 100 * recall_score(gold, predicted, average="micro"),
            "accuracy": 100 * accuracy_score(gold, predicted),
        }
    )
    table = kind.table(examples, predictions(kind, values.tolist()))
    assert [row[0] for row in table.rows] == sorted(NAMES)
    assert [int(row[4]) for row in table.rows] == [
        int(gold[:, NAMES.index(row[0])].sum()) for row in table.rows
    ]


def test_unknown_labels_are_problems() -> None:
    kept = make_kind().check([example("甲"), example()], BadExamples(skip=False))
    assert len(kept) == 2
    with pytest.raises(UserError, match='label not in the list: "丁"; allowed: 甲, 乙, 丙'):
        make_kind().check([example("甲", "丁")], BadExamples(skip=False))
    with pytest.raises(UserError, match="no training example has a label"):
        MultiLabel.labels_from(make_task(), [])


def _write(folder: Path, split: str, count: int, *, seed: int) -> None:
    """Texts whose first character says which of two labels they have: none, one or both."""
    generator = random.Random(seed)
    lines = []
    for _ in range(count):
        first, labels = generator.choice([("玄", ""), ("天", "天"), ("地", "地"), ("黄", "天地")])
        text = first + generator.choice("宇宙洪荒")
        lines.append(json.dumps({"text": text, "labels": list(labels)}))
    (folder / f"{split}.json").write_text("\n".join(lines))


TASK = """
kind: multi_label
reader: label_lists
metric: f1
files: {train: train.json, dev: dev.json, test: test.json}
fields: {text_a: text, label: labels}
max_seq_length: 16
training: {train_batch_size: 8, num_train_epochs: 3, learning_rate: 0.003, precision: float32}
"""


def test_fine_tuning_to_the_predictions(tmp_path: Path) -> None:
    size = {"hidden_size": 64, "embedding_size": 64, "intermediate_size": 64}
    run, _ = make_run(tmp_path / "run", model=size)
    _write(tmp_path, "train", 160, seed=0)
    _write(tmp_path, "dev", 60, seed=1)
    (tmp_path / "test.json").write_text(
        '{"text": "天", "labels": []}\n{"text": "地", "labels": []}'
    )
    (tmp_path / "parts.yaml").write_text(TASK)
    tasks, output = (str(tmp_path / "parts.yaml"),), tmp_path / "out"
    finetune(Request(run.folder, tasks, str(tmp_path), str(output), from_scratch=True))
    result = json.loads((output / "parts" / "trial-0" / "result.json").read_text())
    assert result["dev_score"] > 90
    (note,) = result["tasks"]["parts"]["notes"]
    assert note == "all 2 test labels are empty: not a label of the task, so not scored"
    assert (output / "parts" / "trial-0" / "types.dev.tsv").read_text().startswith("type\tprec")
    saved = models.load(str(output / "parts" / "model")).kinds["parts"].task
    assert saved.labels.names == ("地", "天")

    (tmp_path / "new.txt").write_text("天宇\n黄宙\n\n")
    request = PredictionRequest(str(output), str(tmp_path / "new.txt"), str(tmp_path / "new.jsonl"))
    assert predict(request).predictions == 3
    lines = [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()]
    assert [line["labels"] for line in lines] == [["天"], ["地", "天"], None]


def test_other_separators_are_said(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("text\tlabel\n天\t甲\n地\t乙\n玄\t甲;乙\n")
    task = make_task(
        kind="multi_label", reader="label_lists", metric="f1", labels={}, fields={"text_a": "text"}
    )
    file = (str(tmp_path / "train.tsv"),)
    paths: dict[Split, tuple[str, ...]] = {"train": file, "dev": file}
    data = load(task, Found(str(tmp_path), paths, ""), max_position_embeddings=64, skip_bad=False)
    assert '1 of 3 labels join others, as "甲;乙"' in " ".join(data.lines())
