"""The training step of every kind of task adds in a fixed order, so it repeats bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.finetuning.encoding.batches import make_batch
from electra_zh.finetuning.examples import (
    Answer,
    Blank,
    ChoiceExample,
    ClozeExample,
    Entity,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.tasks import TaskConfig, Training, kind_names
from electra_zh.finetuning.trainer import TaskTrainer
from support.converting import make_start
from support.repeatable import wide_sums

PLACE = "file, line 1"
TEXT = TextExample(0, "天地玄黄", "宇宙", "1", PLACE)
QUESTION = QuestionExample("Q", "洪荒", "天地玄黄宇宙", (Answer("玄黄", 2),), "", PLACE)
HEADS = {"joint_prediction": True, "answerability": True}
# The settings of a task, and an example.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "classification": ({"metric": "accuracy", "labels": ["0", "1"]}, TEXT),
    "regression": ({"metric": "pearson", "labels": ["0", "5"]}, TEXT),
    "tagging": (
        {"metric": "f1", "labels": ["A"]},
        TaggedExample(0, "天地玄黄", None, (Entity("A", 0, 2),), PLACE),
    ),
    "span": ({"metric": "f1"}, QUESTION),
    "span, all heads": (
        {"metric": "cjrc_f1", "labels": ["YES", "NO", "NONE"], "reading": HEADS},
        QUESTION,
    ),
    "choice": ({"metric": "accuracy"}, ChoiceExample(0, "天地", "玄", ("黄", "宇"), 1, PLACE)),
    "cloze": (
        {"metric": "accuracy"},
        ClozeExample(0, ("天#地",), (Blank("#", 0, 1, 2, 0),), ("日月", "盈昃"), PLACE),
    ),
}


def test_every_kind_is_tested() -> None:
    assert {name.partition(",")[0] for name in CASES} == set(kind_names())


@pytest.mark.parametrize("name", CASES)
def test_no_sum_of_three_or_more(name: str) -> None:
    changes, example = CASES[name]
    values = {"name": "t", "kind": name.partition(",")[0], "reader": "any", **changes}
    task = TaskConfig.from_dict({**values, "max_seq_length": 16}, where="test")
    kind, start = make_kind(task, max_position_embeddings=16), make_start()
    rows = kind.encode([example], start.make_tokenizer(), training=True)
    trainer = TaskTrainer(start, {"t": kind}, {"t": rows}, Training(train_batch_size=1), what="t")
    batch = make_batch(rows, np.arange(1), batch_size=1, lengths=(16,))
    features = {name: tf.constant(value) for name, value in batch.items()}
    assert wide_sums(trainer._steps["t"], features) == []
