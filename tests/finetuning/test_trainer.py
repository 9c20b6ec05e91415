"""A trial: it learns, repeats, stops and resumes, keeps its best epoch."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh import machine, progress
from electra_zh.errors import UserError
from electra_zh.finetuning.dataset import TaskData
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.examples import Answer, QuestionExample, TaggedExample
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.predict import Predictor, choose_precision
from electra_zh.finetuning.request import PredictionRequest
from electra_zh.finetuning.tasks import Training
from electra_zh.finetuning.trainer import TaskTrainer, Trial, TrialResult, fill_defaults
from electra_zh.finetuning.trials import Trials
from electra_zh.interrupts import StopRequest
from electra_zh.models.config import ModelConfig
from electra_zh.models.random import RandomKey
from support.tuning import make_classification, make_start, make_task, make_texts

START = make_start()
KIND = make_classification()
TOKENIZER = START.make_tokenizer()
TRAIN, DEV = make_texts(96), make_texts(40, seed=1)
ROWS = KIND.encode(TRAIN, TOKENIZER, training=True)
DEV_ROWS = KIND.encode(DEV, TOKENIZER, training=False)


class Fixture:
    """A trainer and its evaluation on the development set."""

    def __init__(self, **changes: object) -> None:
        training = dataclasses.replace(KIND.task.training, **changes)  # type: ignore[arg-type]
        self.trainer = TaskTrainer(START, {"texts": KIND}, {"texts": ROWS}, training, what="texts")
        self.predictor = Predictor(self.trainer.model, KIND, batch_size=16)
        self.scripted: list[float] = []
        self.lines: list[dict[str, object]] = []  # of metrics
        self.stop = StopRequest()  # of the last trial
        self.stop_in_evaluation = 0  # number of the evaluation that a signal ends

    def evaluate(self) -> dict[str, float]:
        if self.scripted:
            return {"texts": self.scripted.pop(0)}
        begun = itertools.count()

        def before_batch() -> None:
            # A signal during the first batch.
            if next(begun) == 1 and self.stop_in_evaluation == 1:
                self.stop.request()
            self.stop.check()

        try:
            scores = self.predictor.evaluate(
                DEV_ROWS, DEV, labelled=True, before_batch=before_batch
            ).scores
        finally:
            self.stop_in_evaluation -= 1
        return {"texts": scores["accuracy"]}

    def run(self, folder: Path, *, seed: int = 0, stop_after: int | None = None) -> TrialResult:
        folder.mkdir(exist_ok=True)
        self.stop, plain = StopRequest(), self.trainer.train_step
        if stop_after is not None:
            self._stop_after(self.stop, stop_after)
        trial = Trial(
            self.trainer,
            seed=seed,
            folder=str(folder),
            evaluate=self.evaluate,
            steps_per_call=0 if stop_after is None else 1,
        )
        result = trial.run(self.stop, show=progress.silent)
        self.trainer.train_step = plain  # type: ignore[method-assign]
        return result

    def _stop_after(self, stop: StopRequest, steps: int) -> None:
        """Lets a signal come during the step after `steps`."""
        step, count = self.trainer.train_step, itertools.count()

        def train_step(task: str, groups: np.ndarray, lengths: Sequence[int] = ()) -> tf.Tensor:
            if next(count) == steps:
                stop.request()
            return step(task, groups, lengths)

        self.trainer.train_step = train_step  # type: ignore[method-assign]

    def weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.trainer.model.trainable_variables]


Uninterrupted = tuple[Fixture, TrialResult, list[np.ndarray]]


def lines_of(folder: Path) -> list[dict[str, object]]:
    """Returns the lines of metrics, without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("time", "seconds")} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Uninterrupted:
    """A trial without interruption, and its weights."""
    fixture = Fixture(num_train_epochs=3)
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = fixture.run(folder)
    fixture.lines = lines_of(folder)
    return fixture, result, fixture.weights()


@pytest.fixture(scope="module")
def second() -> Fixture:
    """Another trainer of the same trial. A run resets it; what takes time is to compile it."""
    return Fixture(num_train_epochs=3)


def test_it_learns(tmp_path: Path) -> None:
    # Slow enough that it does not hang on the seed: five of five learn by the fifth epoch.
    result = Fixture(num_train_epochs=8, learning_rate=3e-3).run(tmp_path)
    assert result.finished
    assert len(result.dev) == 8
    assert max(result.dev) > 90


def test_a_second_trial_of_the_same_seed_is_the_same(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    fixture, result, weights = uninterrupted
    other = fixture.run(tmp_path / "other", seed=1)
    assert any((a != b).any() for a, b in zip(weights, fixture.weights(), strict=True))
    again = fixture.run(tmp_path / "again")
    assert again.dev == result.dev
    assert other.dev != result.dev or other.best_epoch == result.best_epoch
    for first, second in zip(weights, fixture.weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_compiling_side_by_side_changes_no_number(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    fixture, result, weights = uninterrupted
    calls = fixture.trainer.warm_up()
    assert len(calls) == len(fixture.trainer.lengths["texts"])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda call: call(), calls))
    assert fixture.run(tmp_path / "again").dev == result.dev
    for first, second in zip(weights, fixture.weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_without_buckets_batches_are_random_and_of_one_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "side_by_side", lambda: 1)
    trainer = Fixture(train_batch_size=16, bucket_by_length=False).trainer
    expected = batches.training_plan(ROWS, batch_size=16, seed=0, epoch=0, by_length=False)
    plan = trainer.plan(0, 0)
    assert [groups.tolist() for _, groups in plan] == [groups.tolist() for groups in expected]

    shapes: list[tuple[int, ...]] = []

    def take(parts: list[Mapping[str, tf.Tensor]]) -> float:
        shapes.extend(tuple(features["input_ids"].shape) for features in parts)
        return 0.0

    monkeypatch.setattr(trainer, "_steps", {"texts": take})
    for task, groups in plan:
        trainer.train_step(task, groups)
    assert shapes == [(16, KIND.max_seq_length)] * len(expected)


# An epoch has 12 steps: in the middle, and at the ends of the first, second and last epoch.
@pytest.mark.parametrize("steps", [5, 11, 12, 20, 23, 35])
def test_a_resumed_trial_repeats_the_uninterrupted_one(
    uninterrupted: Uninterrupted, second: Fixture, tmp_path: Path, steps: int
) -> None:
    stopped, result, weights = uninterrupted
    before = stopped.run(tmp_path, stop_after=steps)
    assert not before.finished
    # A signal in the last step of an epoch ends the evaluation, too.
    assert before.dev == result.dev[: steps // 12]
    again = second.run(tmp_path)
    assert again.finished
    assert again.dev == result.dev
    assert again.best_epoch == result.best_epoch
    assert lines_of(tmp_path) == stopped.lines
    for first, other in zip(weights, second.weights(), strict=True):
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("evaluation", [1, 3])
def test_a_signal_ends_an_evaluation_that_is_done_later(
    uninterrupted: Uninterrupted, second: Fixture, tmp_path: Path, evaluation: int
) -> None:
    stopped, result, weights = uninterrupted
    stopped.stop_in_evaluation = evaluation
    before = stopped.run(tmp_path)
    assert (before.finished, before.dev) == (False, result.dev[: evaluation - 1])
    shutil.copytree(tmp_path / "state", tmp_path / "killed")
    for _ in range(2):
        again = second.run(tmp_path)
        assert (again.finished, again.dev) == (True, result.dev)
        assert again.best_epoch == result.best_epoch
        assert lines_of(tmp_path) == stopped.lines
        for first, other in zip(weights, second.weights(), strict=True):
            np.testing.assert_array_equal(first, other)
        # Then as if it had been killed after the evaluation, before another checkpoint.
        shutil.rmtree(tmp_path / "state")
        shutil.move(tmp_path / "killed", tmp_path / "state")
        shutil.copytree(tmp_path / "state", tmp_path / "killed")


def test_a_trial_that_an_earlier_version_stopped_is_resumed(
    uninterrupted: Uninterrupted, second: Fixture, tmp_path: Path
) -> None:
    stopped, result, weights = uninterrupted
    stopped.run(tmp_path, stop_after=20)
    shutil.rmtree(tmp_path / "state")
    state, old = stopped.trainer.state, tf.Module()
    old.model, old.optimizer, old.best = state.model, state.optimizer, list(state.best.values())
    tf.train.Checkpoint(state=old).write(str(tmp_path / "state" / "ckpt-21"))
    assert second.run(tmp_path).dev == result.dev
    for first, other in zip(weights, second.weights(), strict=True):
        np.testing.assert_array_equal(first, other)


def test_the_best_epoch_is_kept(
    second: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = second
    seen: list[list[np.ndarray]] = []
    fixture.scripted = [50.0, 70.0, 60.0]
    plain = fixture.evaluate

    def evaluate() -> dict[str, float]:
        seen.append(fixture.weights())
        return plain()

    monkeypatch.setattr(fixture, "evaluate", evaluate)
    assert fixture.run(tmp_path).best_epoch == 2
    for kept, second_epoch in zip(fixture.weights(), seen[1], strict=True):
        np.testing.assert_array_equal(kept, second_epoch)


def test_early_stopping_has_patience(tmp_path: Path) -> None:
    fixture = Fixture(num_train_epochs=6, early_stopping=2)
    fixture.scripted = [50.0, 70.0, 60.0, 65.0, 99.0, 99.0]
    assert fixture.run(tmp_path).dev == [50.0, 70.0, 60.0, 65.0]


def test_several_tasks_share_one_encoder(tmp_path: Path) -> None:
    other = make_classification(name="other")
    kinds = {"texts": KIND, "other": other}
    training = dataclasses.replace(KIND.task.training, num_train_epochs=1)
    rows = {"texts": ROWS, "other": other.encode(TRAIN[:24], TOKENIZER, training=True)}
    trainer = TaskTrainer(START, kinds, rows, training, what="both")
    assert trainer.num_train_steps == 12 + 3
    mixed = [task for task, _ in trainer.plan(0, 0)]
    assert mixed.count("other") == 3
    assert mixed != sorted(mixed)
    before = [variable.numpy() for variable in trainer.model.trainable_variables]
    scores = {"texts": 1.0, "other": 2.0}
    trial = Trial(trainer, seed=0, folder=str(tmp_path), evaluate=lambda: scores)
    result = trial.run(StopRequest(), show=progress.silent)
    assert result.dev == [1.5]
    names = [variable.name for variable in trainer.model.trainable_variables]
    for name, old, variable in zip(names, before, trainer.model.trainable_variables, strict=True):
        if name.endswith("kernel:0"):
            assert (old != variable.numpy()).any(), name


def test_a_loss_that_is_not_finite_stops_training(
    second: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = second
    reset = fixture.trainer.reset

    def broken(seed: int) -> None:
        reset(seed)
        head = fixture.trainer.model.heads["texts"]
        head.output.bias.assign([np.nan, 0.0])

    monkeypatch.setattr(fixture.trainer, "reset", broken)
    with pytest.raises(UserError, match="loss became NaN or infinite in step 1"):
        fixture.run(tmp_path)


def test_metrics_are_written_for_every_epoch(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    fixture, _, _ = uninterrupted
    fixture.run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "eval"] * 3
    assert [line["step"] for line in lines[::2]] == [12, 24, 36]


@pytest.mark.parametrize(
    ("width", "rate", "decay"), [(256, 3e-4, 0.8), (768, 1e-4, 0.8), (1024, 5e-5, 0.9)]
)
def test_defaults_depend_on_the_size(width: int, rate: float, decay: float) -> None:
    size = ModelConfig(100, 128, width, 12, 4, 4 * width)
    assert fill_defaults(Training(), size) == (rate, decay)
    assert fill_defaults(Training(learning_rate=1.0, layerwise_lr_decay=0.5), size) == (1.0, 0.5)


@pytest.mark.parametrize(("rate", "same"), [(0.0, True), (0.5, False), (None, False)])
def test_dropout_is_the_given_rate_or_the_models_own(rate: float | None, same: bool) -> None:
    training = dataclasses.replace(KIND.task.training, dropout=rate)
    task = dataclasses.replace(KIND.task, training=training)
    data = TaskData(task, KIND, {"train": TRAIN, "dev": DEV}, False, {}, ())
    model = Trials(START, "texts", {"texts": data}).trainer.model
    batch = batches.make_batch(ROWS, np.arange(2), batch_size=2, lengths=(32,))
    features = {name: tf.constant(values) for name, values in batch.items()}
    states = [
        model.hidden(features, dtype=tf.float32, key=RandomKey(0, tf.constant(step, tf.int64)))
        for step in (1, 2)
    ]
    assert np.array_equal(states[0].sequence, states[1].sequence) == same


@pytest.mark.parametrize(
    ("wanted", "tuned", "sets", "expected"),
    [
        ("auto", "bfloat16", ("avx512_bf16",), "bfloat16"),
        ("auto", "bfloat16", ("avx2",), "float32"),
        ("auto", "float32", ("avx512_bf16",), "float32"),
        ("bfloat16", "float32", ("avx2",), "bfloat16"),
    ],
)
def test_predictions_have_the_precision_of_the_fine_tuning(
    monkeypatch: pytest.MonkeyPatch, wanted: str, tuned: str, sets: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: machine.Cpu("Some CPU", sets))
    training = dataclasses.replace(KIND.task.training, precision=tuned)  # type: ignore[arg-type]
    kind = copy.copy(KIND)
    kind.task = dataclasses.replace(KIND.task, training=training)
    request = PredictionRequest("model", "-", "-", precision=wanted)  # type: ignore[arg-type]
    assert choose_precision(request, kind) == expected


def test_predictions_do_not_depend_on_the_batch() -> None:
    fixture = Fixture()
    one = Predictor(fixture.trainer.model, KIND, batch_size=1)
    many = Predictor(fixture.trainer.model, KIND, batch_size=64, lengths=(KIND.max_seq_length,))
    first, second = one.outputs(DEV_ROWS), many.outputs(DEV_ROWS)
    tf.debugging.assert_near(first["probabilities"], second["probabilities"], atol=1e-6)


def test_a_head_that_reads_cls_alone_is_predicted_by_one_graph_for_all_lengths() -> None:
    predictor = Fixture().predictor
    predictor.outputs(DEV_ROWS)
    plan = batches.evaluation_plan(DEV_ROWS, batch_size=16)
    assert len(set(batches.longest_rows(DEV_ROWS, plan).tolist())) > 1
    assert predictor._step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(("trained", "notes"), [(16, 1), (32, 0), (0, 0)])
def test_untrained_positions_and_equal_predictions_are_reported(
    tmp_path: Path, trained: int, notes: int
) -> None:
    start = dataclasses.replace(START, trained_length=trained)
    data = TaskData(KIND.task, KIND, {"train": TRAIN, "dev": DEV}, False, {}, ())
    trials = Trials(start, "texts", {"texts": data})
    trials.trainer.model.heads["texts"].output.bias.assign([9.0, 0.0])
    result = trials.finish("texts", str(tmp_path))
    line = 'dev: all 40 predictions are "100": the model may have learnt nothing'
    assert result["warnings"] == [line]
    longer = int((ROWS.ends - ROWS.starts > 16).sum())
    assert len(result["notes"]) == notes
    if notes:
        assert f"{longer} of 96 training rows are longer than the 16 tokens" in result["notes"][0]


def test_a_length_beyond_the_models_positions_is_reported(tmp_path: Path) -> None:
    task = dataclasses.replace(KIND.task, max_seq_length=512)
    data = TaskData(task, KIND, {"train": TRAIN, "dev": DEV}, False, {}, ())
    notes = Trials(START, "texts", {"texts": data}).finish("texts", str(tmp_path))["notes"]
    assert notes == ["max_seq_length 512 is cut to the 32 positions of the model"]


@pytest.mark.parametrize(
    ("kind", "example", "message"),
    [
        (
            "tagging",
            TaggedExample(0, "\u200b", None, (), "line 1"),
            r"texts: no example to train on: the texts have no tokens$",
        ),
        (
            "span",
            QuestionExample("0", "天", "地", (Answer("日", 0),), "", "line 1"),
            r"no example to train on: 1 answer not found .* 1 missing in the text and skipped$",
        ),
    ],
)
def test_training_data_without_rows_is_refused(kind: str, example: Any, message: str) -> None:
    metric, labels = {"tagging": ("f1", ["PER"]), "span": ("em", [])}[kind]
    task = make_task(kind=kind, metric=metric, labels=labels)
    made = make_kind(task, max_position_embeddings=64)
    data = TaskData(task, made, {"train": [example], "dev": [example]}, False, {}, ())
    with pytest.raises(UserError, match=message):
        Trials(START, "texts", {"texts": data})


def test_texts_that_are_cut_are_reported(tmp_path: Path) -> None:
    kind = copy.copy(KIND)
    kind.max_seq_length = 8
    data = TaskData(KIND.task, kind, {"train": TRAIN, "dev": DEV[:1]}, False, {}, ())
    notes = Trials(START, "texts", {"texts": data}).finish("texts", str(tmp_path))["notes"]
    longer = int((ROWS.ends - ROWS.starts > 8).sum())
    assert f"train: {longer} of 96 texts are cut to 8 tokens (max_seq_length)" in notes


def test_a_trial_is_a_run_of_its_own_of_a_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((step, set(values))),
        finish=lambda: calls.append("finish"),
    )

    def init(**settings: Any) -> SimpleNamespace:
        calls.append(settings)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    data = TaskData(KIND.task, KIND, {"train": TRAIN, "dev": DEV}, False, {}, ())
    folder = tmp_path / "texts" / "trial-1"
    folder.mkdir(parents=True)
    trials = Trials(START, "texts", {"texts": data}, track=["wandb"])
    assert trials.run(1, str(folder), StopRequest(), setting={}, number="trial 1 of 1")
    started, *logged, finished = calls
    assert started["name"] == "texts/trial-1"
    assert (started["config"]["seed"], started["config"]["tasks.texts.metric"]) == (1, "accuracy")
    assert logged[:2] == [(12, {"train/loss"}), (12, {"eval/score", "eval/texts"})]
    assert finished == "finish"
