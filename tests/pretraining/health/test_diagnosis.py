"""Causes of plateaus and collapses, on figures of healthy and of failed runs."""

from __future__ import annotations

import pytest
from absl import logging

from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.health.diagnosis import HealthCheck, find_causes
from support.networks import tiny

# A masked LM of 2 layers x 128 after 800 steps, of 4.55 nats at a unigram entropy of 6.47.
HEALTHY = {
    "unigram_entropy": 6.47,
    "copy_accuracy": 0.97,
    "masked_lm_gain": 1.4,
    "effective_rank": 62.0,
    "neighbour_attention": 0.6,
}
DETECTS = HEALTHY | {
    "disc_auc_tokens": 0.72,
    "generator_effective_rank": 40.0,
    "generator_neighbour_attention": 0.5,
}
# The same network after 50 steps of warm-up: it has learnt nothing yet.
FIRST = HEALTHY | {
    "copy_accuracy": 0.03,
    "masked_lm_gain": -0.22,
    "effective_rank": 38.0,
    "neighbour_attention": 0.13,
}
PLATEAU = HEALTHY | {"masked_lm_gain": -0.15, "neighbour_attention": 0.12}
DEAD = FIRST | {"effective_rank": 3.0}
COLLAPSED = DETECTS | {"effective_rank": 1.6, "disc_auc_tokens": 0.6}


def _config(**changes: object) -> PretrainConfig:
    return tiny(model={"hidden_size": 128, "num_attention_heads": 4}, **changes)


def _causes(measures: dict[str, float], *, rates: float, **changes: object) -> list[str]:
    return [finding.cause for finding in find_causes(measures, _config(**changes), rates=rates)]


@pytest.mark.parametrize(
    ("measures", "rates"),
    [
        (FIRST, 0.025),
        (COLLAPSED, 0.05),
        (HEALTHY, 0.8),
        (DETECTS, 0.8),
        # On the plateau and blind, but early: any network is so at first.
        (PLATEAU, 0.2),
        (DETECTS | {"masked_lm_gain": -0.1, "disc_auc_tokens": 0.51}, 0.2),
        # The generator has only begun to learn: fakes are easy, and the discriminator lags.
        (DETECTS | {"masked_lm_gain": 0.3, "disc_auc_tokens": 0.53}, 0.35),
        # A masked LM has no discriminator to collapse.
        (HEALTHY | {"effective_rank": 5.0}, 0.8),
        # Without tokens that are shown, there is nothing to copy.
        ({k: v for k, v in HEALTHY.items() if k != "copy_accuracy"}, 0.8),
    ],
)
def test_healthy_runs_have_no_cause(measures: dict[str, float], rates: float) -> None:
    assert _causes(measures, rates=rates) == []


@pytest.mark.parametrize(
    ("measures", "rates", "causes"),
    [
        (DEAD, 0.14, ["first steps"]),
        # A dead network is not told that it is on a plateau, nor that its encoder collapsed.
        (COLLAPSED | {"copy_accuracy": 0.04, "masked_lm_gain": -0.2}, 0.5, ["first steps"]),
        (PLATEAU, 0.35, ["plateau"]),
        (COLLAPSED, 0.1, ["collapse"]),
        (COLLAPSED | {"masked_lm_gain": 0.0}, 0.5, ["plateau", "collapse"]),
        (DETECTS | {"disc_auc_tokens": 0.51}, 0.5, ["fakes"]),
    ],
)
def test_failed_runs_have_their_cause(
    measures: dict[str, float], rates: float, causes: list[str]
) -> None:
    assert _causes(measures, rates=rates) == causes


@pytest.mark.parametrize(
    ("before", "causes"), [(1.2, []), (1.5, ["collapse"]), (3.0, ["collapse"])]
)
def test_a_rank_that_rises_is_not_collapsed(before: float, causes: list[str]) -> None:
    found = find_causes(
        COLLAPSED, _config(), rates=0.5, before=COLLAPSED | {"effective_rank": before}
    )
    assert [finding.cause for finding in found] == causes


def test_a_cause_names_its_cures() -> None:
    def text(measures: dict[str, float], **changes: object) -> str:
        return next(find_causes(measures, _config(**changes), rates=0.5)).text

    assert "it needs a masked LM loss, or to start" in text(COLLAPSED)
    assert "it needs to start from a masked LM" in text(COLLAPSED, clm_weight=1.0)
    assert "num_warmup_steps=500" in text(DEAD, num_warmup_steps=200)
    assert "gains -0.15 nats over their entropy of 6.47" in text(PLATEAU)
    assert "generator_hidden_size=1" in text(DETECTS | {"masked_lm_gain": 0.0})
    assert "generator_hidden_size=1" not in text(
        DETECTS | {"masked_lm_gain": 0.0}, generator_hidden_size=1.0
    )
    assert "rank of its last layer is 1.6 of 128, AUC 0.600" in text(COLLAPSED)
    assert "a higher temperature" in text(DETECTS | {"disc_auc_tokens": 0.51})


def _warnings(monkeypatch: pytest.MonkeyPatch, found: list[dict[str, float]]) -> list[str]:
    """Returns the warnings of a run that measures these figures every 100 steps."""
    shown: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: shown.append(text % args))
    figures = iter(found)
    check = HealthCheck(_config(log_steps=100), lambda: next(figures), lambda _: 1e-3)
    for index in range(len(found)):
        check.measure(100 * index + 100)
        check.measure(100 * index + 100)  # An evaluation at the same step measures nothing anew.
    return shown


def test_a_cause_is_warned_of_once_when_found_twice_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (warning,) = _warnings(monkeypatch, [COLLAPSED, DETECTS, COLLAPSED, COLLAPSED, COLLAPSED])
    assert warning.startswith("Step 400: The discriminator has collapsed")
    assert _warnings(monkeypatch, [HEALTHY] * 20) == []
    # A discriminator with a masked LM loss of its own starts low and rises.
    ranks = (1.7, 2.1, 3.0, 3.8, 6.0, 9.0)
    rising = [COLLAPSED | {"effective_rank": rank} for rank in ranks]
    assert _warnings(monkeypatch, rising) == []


def test_early_lines_are_measured_and_not_every_one() -> None:
    def due(rate: float, log_steps: int, last: int) -> list[int]:
        check = HealthCheck(_config(log_steps=log_steps), lambda: HEALTHY, lambda _: rate)
        return [step for step in range(log_steps, last + 1, log_steps) if check.is_due(step)]

    assert due(1e-3, 10, 160) == [50, 100, 150]
    assert due(1e-3, 400, 2000) == [400, 800]
    # A long warm-up with low rates: the first steps of learning come later.
    assert due(1e-5, 400, 2000) == [400, 800, 1200, 1600, 2000]
