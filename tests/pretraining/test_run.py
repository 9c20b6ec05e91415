"""The reporter of a run: means over intervals, and the measures of early steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from electra_zh import progress
from electra_zh.pretraining import metrics
from electra_zh.pretraining.health.diagnosis import HealthCheck
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.running.reporter import (
    Reporter,
    evaluation_lines,
    with_first_call_shown,
)
from electra_zh.training.logs import MetricsLog
from support.networks import tiny

MEASURES = {"unigram_entropy": 6.0, "effective_rank": 50.0, "neighbour_attention": 0.5}


def _sums(steps: int, *, predicted: float, positives: int, negatives: int) -> StepSums:
    """Sums in which all replaced tokens have bucket `positives`, all others `negatives`."""
    one_at = (
        np.eye(metrics.zeros(metrics.TrainingSums).disc_positives.shape[0], dtype=np.float32) * 100
    )
    objective = metrics.TrainingSums(
        np.float32(steps),
        np.float32(26.0 * steps),
        np.float32(6.0 * steps),
        np.float32(0.4 * steps),
        clm_loss=np.float32(0.0),
        predicted_replaced=np.float32(predicted),
        disc_positives=one_at[positives],
        disc_negatives=one_at[negatives],
    )
    return StepSums(objective, np.float32(2.0 * steps), np.zeros(4, np.float32))


def _report(folder: Path, sums: list[StepSums]) -> list[dict[str, float]]:
    """Returns the lines of metrics of sums of ten steps each."""
    config = tiny(log_steps=10)
    log = MetricsLog(str(folder), resume_step=0, context=lambda step: {"tokens": step * 64})
    health = HealthCheck(config, lambda: MEASURES, lambda step: 1e-3 * step)
    with progress.silent("pretrain", total=100, unit="step") as bar:
        reporter = Reporter(config, log, bar, health)
        for index, each in enumerate(sums):
            reporter.add(index * 10 + 1, index * 10 + 10, each)
            reporter.log(index * 10 + 10)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_are_means_over_the_interval(tmp_path: Path) -> None:
    (line,) = _report(tmp_path, [_sums(10, predicted=5, positives=40, negatives=10)])
    expected = {"step": 10, "kind": "train", "tokens": 640, "gradient_norm": 2.0, "gen_loss": 6.0}
    assert {name: line[name] for name in expected} == expected
    assert 0 <= line["seconds"] < line["time"]


def test_lines_of_early_steps_have_measures(tmp_path: Path) -> None:
    lines = _report(tmp_path, [_sums(10, predicted=5, positives=40, negatives=10)] * 6)
    assert [line["step"] for line in lines if "effective_rank" in line] == [50]


def test_a_line_includes_the_steps_before_a_stop(tmp_path: Path) -> None:
    sums = [
        _sums(4, predicted=5, positives=40, negatives=10),
        _sums(6, predicted=7, positives=9, negatives=3),
    ]
    (tmp_path / "whole").mkdir()
    whole, _ = _report(tmp_path / "whole", [sums[0].added(sums[1]), sums[0]])
    config, log = tiny(log_steps=10), MetricsLog(str(tmp_path), resume_step=0)
    with progress.silent("pretrain", total=100, unit="step") as bar:
        stopped = Reporter(config, log, bar, None)
        assert stopped.pending() == {}
        stopped.add(1, 4, sums[0])
        saved = json.loads(json.dumps(stopped.pending()))
        resumed = Reporter(config, log, bar, None, pending=saved)
        resumed.add(5, 10, sums[1])
        resumed.log(10)
        assert resumed.pending() == {}
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    for name in ("loss", "disc_auc_real", "gradient_norm", "disc_predicted_replaced"):
        assert line[name] == whole[name]


def test_an_evaluation_is_a_line_per_network() -> None:
    results = {"loss": 26.0, "masked_lm_loss": 6.0, "copy_accuracy": 0.5, "disc_auc": 0.75}
    assert list(evaluation_lines(results)) == [
        "masked LM: masked_lm_loss 6.0000, copy_accuracy 0.5000",
        "discriminator: disc_auc 0.7500",
        "network: loss 26.0000",
    ]
    assert list(evaluation_lines({"masked_lm_loss": 6.0})) == ["masked LM: masked_lm_loss 6.0000"]


def test_compiling_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(logging, "info", lambda message, *args: lines.append(message % args))
    inner = with_first_call_shown(lambda count: _sums(count, predicted=1, positives=1, negatives=1))
    assert [inner(count).objective.steps for count in (1, 2, 3)] == [1, 2, 3]
    assert lines == ["Compiling the step.", "Compiled: the first step took 0 s."]


def test_tokens_per_second_follow_the_shown_speed(tmp_path: Path) -> None:
    figures: list[Mapping[str, float | str]] = []

    class Bar:
        speed = 0.0

        def update(self, amount: int, shown: Mapping[str, float | str] | None = None) -> None:
            figures.append(shown or {})
            self.speed = 2.5

    reporter = Reporter(tiny(), MetricsLog(str(tmp_path), resume_step=0), Bar(), None)
    for first in (1, 2):
        reporter.add(first, first, _sums(1, predicted=1, positives=1, negatives=1))
    tokens = tiny().train_batch_size * tiny().max_seq_length
    assert [each.get("tokens/s") for each in figures] == [None, f"{2.5 * tokens:,.0f}"]


def test_the_call_that_compiles_counts_for_logged_speeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def steps(count: int) -> StepSums:
        now[0] += 40
        return _sums(count, predicted=1, positives=1, negatives=1)

    with progress.show("training", total=20, unit="step") as bar:
        reporter = Reporter(tiny(), MetricsLog(str(tmp_path), resume_step=0), bar, None)
        reporter.add(1, 10, with_first_call_shown(steps)(10))
        assert not bar.speed
        reporter.log(10)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["steps_per_second"] == 0.25


def test_evaluations_do_not_count_for_logged_speeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = MetricsLog(str(tmp_path), resume_step=0)
    with progress.silent("training", total=20, unit="step") as bar:
        reporter = Reporter(tiny(), log, bar, None)
        reporter.add(1, 10, _sums(10, predicted=1, positives=1, negatives=1))
        now[0] += 5
        with progress.activity("evaluating"):
            now[0] += 60
        reporter.log(10)
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["steps_per_second"] == 2.0
