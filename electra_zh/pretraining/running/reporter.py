"""Metrics of training: summed over calls, shown and logged as means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging

from electra_zh import progress
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.health.diagnosis import HealthCheck
from electra_zh.pretraining.health.skipped import SkippedSteps
from electra_zh.pretraining.metrics import StepSums
from electra_zh.training.logs import MetricsLog


def with_first_call_shown(
    inner: Callable[[int], StepSums], *, is_compiled: bool = False
) -> Callable[[int], StepSums]:
    """Returns the function that runs steps, with its first call shown if that compiles the step."""
    is_first = not is_compiled

    def call(count: int) -> StepSums:
        nonlocal is_first
        if not is_first:
            return inner(count)
        is_first = False
        logging.info("Compiling the step.")
        start = time.monotonic()
        with progress.activity("compiling", is_timed=True):
            sums = inner(count)
        logging.info("Compiled: the first step took %.0f s.", time.monotonic() - start)
        return sums

    return call


def evaluation_lines(results: Mapping[str, float]) -> Iterator[str]:
    """Yields the results of an evaluation as a line for each network."""
    groups: dict[str, list[str]] = {"masked LM": [], "discriminator": [], "network": []}
    for name, value in results.items():
        is_masked_lm = "masked_lm" in name or name == "copy_accuracy"
        group = "discriminator" if name.startswith("disc_") else "network"
        groups["masked LM" if is_masked_lm else group].append(f"{name} {value:.4f}")
    return (f"{group}: {', '.join(parts)}" for group, parts in groups.items() if parts)


class Reporter:
    """Adds up the sums of the calls, shows them and writes them at their steps."""

    def __init__(
        self,
        config: PretrainConfig,
        log: MetricsLog,
        bar: progress.Bar,
        health: HealthCheck | None,
        skipped: SkippedSteps | None = None,
        *,
        pending: Mapping[str, Any] | None = None,
    ) -> None:
        """Begins with the sums that `pending` gave before the run was stopped."""
        self._config = config
        self._log = log
        self._bar = bar
        self._health = health
        self._skipped = skipped or SkippedSteps(config.max_skipped_steps)
        self._since = progress.clock()
        self._total: StepSums | None = None
        values = (pending or {}).get("sums", [])
        if len(values) == StepSums.number_of_values():
            self._total = StepSums.of_values([np.array(value) for value in values])
            self._since -= float((pending or {})["seconds"])

    def pending(self) -> dict[str, Any]:
        """Returns the sums since the last line, to be saved as JSON; empty without any.

        With them, the next line of a resumed run is that of the run that was never stopped.
        """
        if self._total is None:
            return {}
        values = [np.asarray(value).tolist() for value in self._total.values()]
        return {"seconds": progress.clock() - self._since, "sums": values}

    def add(self, first: int, last: int, sums: StepSums) -> None:
        """Takes the sums of one call.

        Raises:
          UserError: too many steps in a row were skipped.
        """
        steps = last - first + 1
        self._bar.update(steps, self._figures(sums))
        self._total = sums.added(self._total)
        self._skipped.check(first, last, sums)

    def _figures(self, sums: StepSums) -> dict[str, str]:
        results = metrics.training_results(sums.objective)
        names = ("loss", "gen_loss", "disc_loss")
        tokens = self._config.train_batch_size * self._config.max_seq_length
        shown = {name: f"{results[name]:.3f}" for name in names if name in results}
        speed = self._bar.speed
        return {**shown, "tokens/s": f"{speed * tokens:,.0f}"} if speed else shown

    def log(self, step: int) -> None:
        """Writes the means since the last line, after `step`."""
        assert self._total is not None
        total, config = self._total, self._config
        used = float(total.objective.steps)
        steps = used + total.skipped
        seconds = progress.clock() - self._since
        results = metrics.training_results(total.objective)
        if used:
            results["gradient_norm"] = float(total.gradient_norm) / used
        if total.skipped:
            results["skipped_steps"] = total.skipped
        results["steps_per_second"] = steps / seconds
        results["tokens_per_second"] = (
            steps * config.train_batch_size * config.max_seq_length / seconds
        )
        if self._health is not None and self._health.is_due(step):
            results |= self._health.measure(step)
        self._log.write(step, "train", results)
        self._total, self._since = None, progress.clock()
