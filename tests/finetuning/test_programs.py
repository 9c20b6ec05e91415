"""Steps and outputs of tasks as programs: on devices they have the numbers of TensorFlow's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from electra_zh import progress
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.examples import ChoiceExample
from electra_zh.finetuning.kinds.choice import Choice
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.predict import Predictor, predict
from electra_zh.finetuning.programs.steps import TaskPrograms
from electra_zh.finetuning.programs.trials import DeviceTrainer
from electra_zh.finetuning.request import PredictionRequest, Request
from electra_zh.finetuning.run import finetune
from electra_zh.finetuning.trainer import TaskTrainer, Trial
from electra_zh.interrupts import StopRequest
from electra_zh.runtime import compiling, kernels, lowering
from electra_zh.runtime.device import choose
from electra_zh.runtime.kernels import Kernels
from support.converting import make_run
from support.tuning import make_classification, make_start, make_task, make_texts

KIND, SIZE, LENGTHS = make_classification(), 8, (16, 32)


@pytest.fixture(scope="module")
def trainer() -> TaskTrainer:
    """A trainer of texts of several lengths, with dropout."""
    start = make_start()
    rows = KIND.encode(make_texts(60), start.make_tokenizer(), training=True)
    training = dataclasses.replace(KIND.task.training, precision="float32")
    trainer = TaskTrainer(start, {"texts": KIND}, {"texts": rows}, training, what="texts")
    # Dropout is drawn for the padding, too.
    trainer.lengths = {"texts": LENGTHS}
    return trainer


def test_steps_on_a_device_are_those_of_tensorflow(
    trainer: TaskTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device = DeviceTrainer(
        trainer.lower,
        trainer.rows,
        trainer.lengths,
        trainer.variables(),
        batch_size=SIZE,
        device=choose("pjrt:cpu"),
    )
    trainer.reset(seed=3)
    plan = trainer.plan(seed=3, epoch=0)
    # Both lengths are used, in turns, and a batch is filled up.
    longest = batches.longest_rows(trainer.rows["texts"], [groups for _, groups in plan])
    assert len(np.flatnonzero(np.diff(longest > LENGTHS[0]))) > 1
    assert min(len(groups) for _, groups in plan) < SIZE
    losses = [*on_device.run(plan[:3]), *on_device.run(plan[3:])]
    expected = trainer.train_steps(plan)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    wanted = {name: variable.numpy() for name, variable in trainer.variables().items()}
    on_device.sync()
    for name, variable in trainer.variables().items():
        np.testing.assert_allclose(variable.numpy(), wanted[name], atol=2e-5, err_msg=name)
    assert int(wanted["step"]) == len(plan)
    # It is kept, and not lowered again.
    monkeypatch.setattr(lowering, "lower", None)
    assert trainer.lower("texts", LENGTHS[0]).variables


def test_steps_with_kernels_have_the_losses_of_those_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kernels are interpreted on the CPU; the last layer computes one position, without any."""
    start = make_start(layers=2, width=64)
    rows = KIND.encode(make_texts(16), start.make_tokenizer(), training=True)
    training = dataclasses.replace(KIND.task.training, precision="bfloat16")
    trainer = TaskTrainer(start, {"texts": KIND}, {"texts": rows}, training, what="texts")
    losses, found = [], Kernels(choose("pjrt:cpu").found[:1], interpret=True)
    for has_kernels in (False, True):
        monkeypatch.setattr(kernels, "allowed_on", lambda _, switch=has_kernels: switch)
        monkeypatch.setattr(compiling, "Kernels", lambda _: found)
        on_device = DeviceTrainer(
            trainer.lower,
            trainer.rows,
            {"texts": [64]},
            trainer.variables(),
            batch_size=SIZE,
            device=choose("pjrt:cpu"),
        )
        trainer.reset(seed=3)
        losses.append(on_device.run(trainer.plan(seed=3, epoch=0)))
    assert found.used == {"attention", "attention_gradient", "norm", "norm_gradient"}
    np.testing.assert_allclose(losses[1], losses[0], rtol=5e-3)


def test_outputs_on_a_device_are_those_of_tensorflow(
    trainer: TaskTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = make_texts(21, seed=1)
    rows = KIND.encode(texts, make_start().make_tokenizer(), training=False)
    cpu, device = (
        Predictor(trainer.model, KIND, batch_size=SIZE, device=choose(name), fixed=True)
        for name in ("cpu", "pjrt:cpu")
    )
    found, expected = device.outputs(rows), cpu.outputs(rows)
    assert found.keys() == expected.keys() == {"probabilities"}
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-6)
    # The weights are on the device since the first block.
    monkeypatch.setattr(TaskPrograms, "put", None)
    np.testing.assert_array_equal(device.outputs(rows)["probabilities"], found["probabilities"])


def test_a_device_predicts_examples_of_more_choices_after_those_of_fewer() -> None:
    start, kind = make_start(), Choice(make_task(kind="choice"), max_seq_length=32)
    model = TaskModel(start, {"texts": kind}, seed=0)
    cpu, device = (
        Predictor(model, kind, batch_size=2, device=choose(name)) for name in ("cpu", "pjrt:cpu")
    )
    for choices in ("日月", "日月天"):
        examples = [ChoiceExample(0, "天地玄黄", "宇宙", tuple(choices), 0, "here")]
        rows = kind.encode(examples, start.make_tokenizer(), training=False)
        (found,), (expected,) = (each.predict(rows, examples) for each in (device, cpu))
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def _trial(trainer: TaskTrainer, folder: Path, *, epochs: int) -> int:
    """Runs a trial until `epochs` are evaluated, and returns its last step."""
    stop, left = StopRequest(), iter(range(epochs - 1, -1, -1))

    def evaluate() -> dict[str, float]:
        if not next(left):
            stop.request()
        return {"texts": 50.0}

    folder.mkdir(exist_ok=True)
    trial = Trial(trainer, seed=2, folder=str(folder), evaluate=evaluate)
    trial.run(stop, show=progress.silent)
    return trial.step


def test_a_trial_resumes_on_another_device(tmp_path: Path) -> None:
    start = make_start().with_dropout(0)
    rows = KIND.encode(make_texts(60), start.make_tokenizer(), training=True)
    training = dataclasses.replace(KIND.task.training, precision="float32", keep_best=False)
    cpu, device = (
        TaskTrainer(
            start, {"texts": KIND}, {"texts": rows}, training, what="texts", device=choose(name)
        )
        for name in ("cpu", "pjrt:cpu")
    )
    assert _trial(cpu, tmp_path / "moved", epochs=1) == 8
    assert _trial(device, tmp_path / "moved", epochs=1) == 16
    assert _trial(cpu, tmp_path / "stayed", epochs=2) == 16
    expected = cpu.variables()
    for name, variable in device.variables().items():
        np.testing.assert_allclose(variable, expected[name], atol=1e-4, err_msg=name)


TASK = """
kind: {kind}
reader: {reader}
folders: [{name}]
files: {{train: train.json, dev: dev.json}}
fields: {{{fields}: text}}
labels: {labels}
metric: {metric}
max_seq_length: 32
training: {{train_batch_size: 4, num_train_epochs: 1, precision: float32, dropout: 0}}
"""


def _write(folder: Path, name: str, lines: list[Any], values: Mapping[str, str]) -> str:
    (folder / name).mkdir(parents=True)
    for split in ("train", "dev"):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / name / f"{split}.json").write_text(text)
    path = folder / f"{name}.yaml"
    path.write_text(TASK.format(name=name, **values))
    return str(path)


def test_tasks_trained_jointly_on_a_device_predict_as_on_the_cpu(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    texts = [{"text": each.text_a, "label": each.label} for each in make_texts(10)]
    named = [{"text": "玄黄天地", "label": {"name": {"天地": [[2, 3]]}}}] * 6
    labels = {"kind": "classification", "reader": "json_lines", "metric": "accuracy"}
    labels |= {"fields": "text_a", "labels": '["100", "101"]'}
    names = {"kind": "tagging", "reader": "cluener", "metric": "f1"}
    names |= {"fields": "text", "labels": "[name]"}
    data = tmp_path / "data"
    tasks = (
        _write(data, "texts", texts, labels),
        _write(data, "names", named, names),
    )
    for name in ("cpu", "pjrt:cpu"):
        output = str(tmp_path / name)
        finetune(Request(run.folder, tasks, str(data), output, joint=True), choose(name))
        for task, content in (("texts", "天地玄黄\n宇宙\n"), ("names", "玄黄天地\n")):
            (tmp_path / "new.txt").write_text(content)
            new = PredictionRequest(
                output, str(tmp_path / "new.txt"), f"{output}/{task}.jsonl", task=task
            )
            predict(new, choose(name))
    written = sorted((tmp_path / "cpu").rglob("*.jsonl"))
    found = [path.relative_to(tmp_path / "cpu") for path in written if "metrics" not in path.name]
    assert len(found) == 4
    for path in found:
        cpu, device = (
            [json.loads(line) for line in (tmp_path / name / path).read_text().splitlines()]
            for name in ("cpu", "pjrt:cpu")
        )
        first, second = (
            [line.pop("probability", 0.0) for line in lines] for lines in (cpu, device)
        )
        np.testing.assert_allclose(first, second, atol=1e-4)
        assert device == cpu
