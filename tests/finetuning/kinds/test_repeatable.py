"""The training step of every kind of task: it repeats bit for bit, and is the same on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh import machine
from electra_zh.finetuning.encoding.batches import make_batch
from electra_zh.finetuning.examples import (
    Answer,
    Blank,
    ChoiceExample,
    ClozeExample,
    Entity,
    LabelsExample,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.predict import Predictor
from electra_zh.finetuning.programs.trials import DeviceTrainer
from electra_zh.finetuning.tasks import TaskConfig, Training, kind_names
from electra_zh.finetuning.trainer import TaskTrainer
from electra_zh.runtime.device import CPU, choose
from support.converting import make_start
from support.repeatable import wide_sums

PLACE = "file, line 1"
TEXT = TextExample(0, "天地玄黄", "宇宙", "1", PLACE)
QUESTION = QuestionExample("Q", "洪荒", "天地玄黄宇宙", (Answer("玄黄", 2),), "", PLACE)
HEADS = {"joint_prediction": True, "answerability": True}
# The settings of a task, and an example.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "classification": ({"metric": "accuracy", "labels": ["0", "1"]}, TEXT),
    "multi_label": (
        {"metric": "f1", "labels": ["A", "B", "C"]},
        LabelsExample(0, "天地玄黄", None, '["A", "C"]', PLACE),
    ),
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


def _trainer(name: str, *, examples: int = 1) -> TaskTrainer:
    changes, example = CASES[name]
    values = {"name": "t", "kind": name.partition(",")[0], "reader": "any", **changes}
    task = TaskConfig.from_dict({**values, "max_seq_length": 16}, where="test")
    kind, start = make_kind(task, max_position_embeddings=16), make_start()
    rows = kind.encode([example] * examples, start.make_tokenizer(), training=True)
    training = Training(train_batch_size=examples, precision="float32")
    return TaskTrainer(start, {"t": kind}, {"t": rows}, training, what="t")


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_no_sum_of_three_or_more(name: str, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "side_by_side", lambda: parts)
    trainer = _trainer(name, examples=parts)
    batch = make_batch(
        trainer.rows["t"], np.arange(1), batch_size=parts, lengths=(16,), part=(0, parts)
    )
    features = {name: tf.constant(value) for name, value in batch.items()}
    assert wide_sums(trainer._steps["t"], [features] * parts) == []


@pytest.mark.parametrize("name", CASES)
def test_parts_side_by_side_give_the_step_of_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(parts: int) -> tuple[np.ndarray, TaskTrainer]:
        monkeypatch.setattr(machine, "side_by_side", lambda: parts)
        trainer = _trainer(name, examples=6)
        trainer.reset(seed=3)
        # The last batch has a part without an example of its own.
        groups = np.arange(trainer.rows["t"].groups)
        return trainer.train_steps([("t", groups), ("t", groups[:1])]), trainer

    losses, whole = train(1)
    assert len(np.unique(losses)) == 2
    for parts in (2, 3):
        found, split = train(parts)
        np.testing.assert_allclose(found, losses, rtol=1e-5)
        for key, value in whole.variables().items():
            np.testing.assert_allclose(split.variables()[key], value, atol=1e-6, err_msg=key)


# tests/finetuning/test_programs.py has the others.
@pytest.mark.parametrize(
    "name",
    [
        *("regression", "cloze", "multi_label"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("span, all heads", "choice")),
    ],
)
def test_steps_and_outputs_on_a_device_are_those_of_tensorflow(name: str) -> None:
    trainer, device = _trainer(name), choose("pjrt:cpu", most=1)
    trainer.lengths = {"t": (16,)}
    on_device = DeviceTrainer(
        *(trainer.lower, trainer.rows, trainer.lengths, trainer.variables()),
        batch_size=1,
        device=device,
    )
    trainer.reset(seed=3)
    plan = [("t", np.arange(1))] * 2
    losses = on_device.run(plan)
    np.testing.assert_allclose(losses, trainer.train_steps(plan), rtol=1e-5)
    wanted = {name: variable.numpy() for name, variable in trainer.variables().items()}
    on_device.sync()
    for key, variable in trainer.variables().items():
        np.testing.assert_allclose(variable.numpy(), wanted[key], atol=2e-5, err_msg=key)
    kind = trainer._kinds["t"]
    rows = kind.encode([CASES[name][1]], make_start().make_tokenizer(), training=False)
    found, expected = (
        Predictor(trainer.model, kind, batch_size=1, lengths=(16,), device=each).outputs(rows)
        for each in (device, CPU)
    )
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)
