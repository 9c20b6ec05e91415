"""Progress of long jobs: a bar on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

_LINE_SECONDS = 10.0
BYTES = "B"


class Bar(Protocol):
    """One job's progress."""

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        """Adds to the progress.

        Args:
          amount: units done since the last call.
          figures: to show after the bar, such as the loss; shown until the next ones.
        """


class Show(Protocol):
    """A way to show progress: `show` or `silent`."""

    def __call__(
        self, what: str, *, total: int, unit: str, initial: int = 0
    ) -> AbstractContextManager[Bar]:
        """Starts showing a job; the job ends with the `with` block."""


@contextlib.contextmanager
def show(what: str, *, total: int, unit: str, initial: int = 0) -> Iterator[Bar]:
    """Shows a job on standard error: its progress, speed and remaining time.

    Args:
      what: name of the job.
      total: number of units; 0 if it is not known, as of a stream.
      unit: name of the unit, such as "step"; `BYTES` is shown in kB, MB and so on.
      initial: units that were done before.
    """
    if sys.stderr.isatty():
        with _terminal_bar(what, total, unit, initial) as terminal:
            yield terminal
    else:
        lines = _Lines(what, total, unit, initial)
        yield lines
        lines.end()


@contextlib.contextmanager
def silent(what: str, *, total: int, unit: str, initial: int = 0) -> Iterator[Bar]:
    """Shows nothing."""
    del what, total, unit, initial
    yield _Silent()


class _Silent:
    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        pass


@contextlib.contextmanager
def _terminal_bar(what: str, total: int, unit: str, initial: int) -> Iterator[Bar]:
    from tqdm.std import tqdm

    class NoMonitor(tqdm):  # type: ignore[type-arg]
        # tqdm's monitor thread would still run when worker processes are forked.
        monitor_interval = 0

    with NoMonitor(
        desc=what,
        total=total or None,
        initial=initial,
        unit=unit if unit == BYTES else f" {unit}",
        unit_scale=unit == BYTES,
        dynamic_ncols=True,
        file=sys.stderr,
        smoothing=0.1,
    ) as bar:
        yield _Terminal(bar)


class _Terminal:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        if figures:
            self._bar.set_postfix(figures, refresh=False)
        self._bar.update(amount)


class _Lines:
    """Progress as lines of the log, for files and pipes."""

    def __init__(self, what: str, total: int, unit: str, initial: int) -> None:
        self._what = what
        self._total = total
        self._unit = unit
        self._done = initial
        self._figures: Mapping[str, float | str] = {}
        self._last = time.monotonic()
        self._done_at_last = initial
        self._rate = 0.0
        self._shown = False

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        self._done += amount
        self._figures = figures or self._figures
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS:
            self._log(now)

    def end(self) -> None:
        if self._shown and self._done != self._done_at_last:
            self._log(time.monotonic())

    def _log(self, now: float) -> None:
        from absl import logging

        self._shown = True
        # The rate since the last line: the start of a job (compiling) is not typical of the rest.
        seconds, amount = now - self._last, self._done - self._done_at_last
        if seconds >= 1.0 or not self._rate:
            self._rate = amount / max(seconds, 1e-9)
        self._last, self._done_at_last = now, self._done
        left = max(self._total - self._done, 0) / self._rate if self._rate else float("inf")
        figures = "".join(f", {name} {_number(value)}" for name, value in self._figures.items())
        if not self._total:
            done, rate = self._amount(self._done), self._amount(self._rate)
            name = self._unit_name()
            logging.info("%s: %s, %s/s%s", self._what, done + name, rate + name, figures)
            return
        logging.info(
            "%s: %.0f %% (%s of %s), %s/s, %s left%s",
            self._what,
            100 * self._done / max(self._total, 1),
            self._amount(self._done),
            self._amount(self._total) + self._unit_name(),
            self._amount(self._rate) + self._unit_name(),
            _duration(left),
            figures,
        )

    def _amount(self, amount: float) -> str:
        if self._unit == BYTES:
            return f"{amount / 1e6:,.1f}"
        return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"

    def _unit_name(self) -> str:
        return " MB" if self._unit == BYTES else f" {self._unit}s"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
