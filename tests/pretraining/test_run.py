"""The reporter of a run: means over intervals, and a warning if nothing is learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from absl import logging

from electra_zh import progress
from electra_zh.pretraining import metrics
from electra_zh.pretraining.reporter import Reporter, StepSums
from electra_zh.training.logs import MetricsLog
from support.networks import tiny


def _sums(steps: int, *, predicted: float, positives: int, negatives: int) -> StepSums:
    """Sums in which all replaced tokens have bucket `positives`, all others `negatives`."""
    one_at = np.eye(metrics.zero_training_sums().disc_positives.shape[0], dtype=np.float32) * 100
    objective = metrics.TrainingSums(
        np.float32(steps),
        np.float32(26.0 * steps),
        np.float32(6.0 * steps),
        np.float32(0.4 * steps),
        predicted_replaced=np.float32(predicted),
        disc_positives=one_at[positives],
        disc_negatives=one_at[negatives],
    )
    return StepSums(objective, np.float32(2.0 * steps))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: shown.append(text % args))
    return shown


def _report(folder: Path, sums: list[StepSums], *, warmup: int) -> None:
    config = tiny(num_warmup_steps=warmup)
    log = MetricsLog(str(folder), resume_step=0)
    with progress.silent("pretrain", total=100, unit="step") as bar:
        reporter = Reporter(config, log, bar)
        for index, each in enumerate(sums):
            reporter.add(index * 10 + 1, index * 10 + 10, each)
            reporter.log(index * 10 + 10)


def test_a_blind_discriminator_is_warned_about_once(tmp_path: Path, warnings: list[str]) -> None:
    blind = _sums(10, predicted=0, positives=30, negatives=30)
    _report(tmp_path, [blind, blind, blind], warmup=10)
    (warning,) = warnings
    assert "has learnt nothing by step 20" in warning
    assert "AUC is 0.500" in warning
    assert "Try a lower learning_rate" in warning


@pytest.mark.parametrize(
    ("sums", "warmup"),
    [
        (_sums(10, predicted=0, positives=30, negatives=30), 30),
        (_sums(10, predicted=3, positives=30, negatives=30), 0),
        (_sums(10, predicted=0, positives=31, negatives=30), 0),
    ],
    ids=["in warm-up", "predicts some", "ranks them"],
)
def test_others_are_not(tmp_path: Path, warnings: list[str], sums: StepSums, warmup: int) -> None:
    _report(tmp_path, [sums, sums], warmup=warmup)
    assert warnings == []


def test_lines_are_means_over_the_interval(tmp_path: Path, warnings: list[str]) -> None:
    _report(tmp_path, [_sums(10, predicted=5, positives=40, negatives=10)], warmup=0)
    line = (tmp_path / "metrics.jsonl").read_text()
    for expected in ('"step": 10', '"kind": "train"', '"gradient_norm": 2.0', '"gen_loss": 6.0'):
        assert expected in line
