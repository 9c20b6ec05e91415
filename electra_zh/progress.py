"""Progress of long jobs: a bar on a terminal, a log line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from electra_zh import messages

_LINE_SECONDS = 10.0
# Speeds are those of the last minute.
_SPEED_SECONDS = 60.0
_WIDEST_BAR = 20
BYTES = "B"


class Bar(Protocol):
    """One job's progress."""

    @property
    def speed(self) -> float:
        """Units per second in the last minute, without activities; 0 if it is not known yet."""

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
    if messages.style().quiet:
        yield _Silent()
        return
    job = _Job(what, total, unit, initial)
    is_bar = sys.stderr.isatty() and not messages.style().as_json
    _running.append(job)
    try:
        with _terminal_bar(job) if is_bar else contextlib.nullcontext(_Lines(job)) as shown:
            job.redraw = shown.redraw
            yield shown
            shown.end()
    finally:
        _running.remove(job)


@contextlib.contextmanager
def silent(what: str, *, total: int, unit: str, initial: int = 0) -> Iterator[Bar]:
    """Shows nothing."""
    del what, total, unit, initial
    yield _Silent()


@contextlib.contextmanager
def activity(name: str, *, is_timed: bool = False) -> Iterator[None]:
    """Shows what the running job does between its units, such as "evaluating".

    `clock` skips the time, so it does not count for the job's speed and remaining time. With
    `is_timed` it does not, as units are done too, and the speed is measured anew after them.
    """
    global _in_activities
    start, jobs = clock(), list(_running)
    for job in jobs:
        job.activity = name
        job.redraw()
    try:
        yield
    finally:
        for job in jobs:
            job.activity = ""
            if is_timed:
                job.forget_speed()
        if not is_timed:
            _in_activities += clock() - start


def clock() -> float:
    """Returns seconds from an unknown start, without those of activities that have ended."""
    return time.monotonic() - _in_activities


class _Silent:
    speed = 0.0

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        pass


class _Job:
    """State of a job, and its parts as text.

    The first update does not count for the speed: compiling is not typical of the rest.
    """

    def __init__(self, what: str, total: int, unit: str, initial: int) -> None:
        self.what, self.total, self.done = what, total, initial
        self.figures: Mapping[str, float | str] = {}
        self.activity = ""
        self.redraw = lambda: None
        self._unit = unit
        self._points: deque[tuple[float, int]] = deque()

    def update(self, amount: int, figures: Mapping[str, float | str] | None) -> None:
        """Counts units."""
        self.done += amount
        self.figures = figures or self.figures
        now, points = clock(), self._points
        if len(points) > 1 and now - points[-2][0] < 0.5:
            points.pop()
        points.append((now, self.done))
        while len(points) > 2 and now - points[0][0] > _SPEED_SECONDS:
            points.popleft()

    def forget_speed(self) -> None:
        """Makes the next update the first one for the speed."""
        self._points.clear()

    @property
    def speed(self) -> float:
        """Units per second; 0 if it is not known yet."""
        if len(self._points) < 2:
            return 0.0
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / max(end - start, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end; None if they are not known yet."""
        speed = self.speed
        return max(self.total - self.done, 0) / speed if speed and self.total else None

    def amount(self, amount: float) -> str:
        """Returns a number of units."""
        if self._unit == BYTES:
            return f"{amount / 1e6:,.1f}"
        return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"

    @property
    def unit(self) -> str:
        """The name of the units after a number."""
        return " MB" if self._unit == BYTES else f" {self._unit}s"

    def line(self, width: int) -> str:
        """Returns the job as one line of a terminal; figures that do not fit are not shown."""
        count = self.amount(self.done)
        if self.total:
            head = f"{self.what} {100 * self.done / self.total:3.0f}% "
            count += f"/{self.amount(self.total)}"
        else:
            head = f"{self.what} "
        parts = [count + (self.unit if self._unit == BYTES or not self.total else "")]
        left = self.seconds_left
        if self.activity:
            parts.append(self.activity)
        elif left is not None:
            parts.append(f"{_duration(left)} left")
        elif self.speed:
            parts.append(f"{self.amount(self.speed)}{self.unit}/s")
        for name, value in self.figures.items():
            part = f"{name.removesuffix('_loss')} {_number(value)}"
            if len(head) + len(", ".join([*parts, part])) > width:
                break
            parts.append(part)
        text = ", ".join(parts)
        room = min(_WIDEST_BAR, width - len(head) - len(text) - 1)
        if self.total and room >= 6:
            full = min(room, round(room * self.done / self.total))
            head += "█" * full + "·" * (room - full) + " "
        return (head + text)[:width]


@contextlib.contextmanager
def _terminal_bar(job: _Job) -> Iterator[_Terminal]:
    from tqdm.std import tqdm

    class JobBar(tqdm):  # type: ignore[type-arg]
        # tqdm's monitor thread would still run when worker processes are forked.
        monitor_interval = 0

        def __str__(self) -> str:
            return job.line(shutil.get_terminal_size().columns - 1)

    with JobBar(total=job.total or None, initial=job.done, file=sys.stderr) as bar:
        yield _Terminal(bar, job)


class _Terminal:
    """A bar, drawn by tqdm at most ten times per second."""

    def __init__(self, bar: Any, job: _Job) -> None:
        self._bar, self._job = bar, job

    @property
    def speed(self) -> float:
        return self._job.speed

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        self._job.update(amount, figures)
        self._bar.update(amount)

    def redraw(self) -> None:
        self._bar.refresh()

    end = redraw


class _Lines:
    """Progress as lines of the log, for files and pipes."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._last = time.monotonic()
        self._done_at_last = job.done
        self._shown = False

    @property
    def speed(self) -> float:
        return self._job.speed

    def update(self, amount: int, figures: Mapping[str, float | str] | None = None) -> None:
        self._job.update(amount, figures)
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._log()

    def redraw(self) -> None:
        pass

    def end(self) -> None:
        if self._shown and self._job.done != self._done_at_last:
            self._log()

    def _log(self) -> None:
        from absl import logging

        job = self._job
        self._shown, self._last, self._done_at_last = True, time.monotonic(), job.done
        parts = []
        if job.speed:
            parts.append(f"{job.amount(job.speed)}{job.unit}/s")
        left = job.seconds_left
        if left is not None:
            parts.append(f"{_duration(left)} left")
        parts += [f"{name} {_number(value)}" for name, value in job.figures.items()]
        if job.total:
            done = f"{100 * job.done / job.total:.0f} % ({job.amount(job.done)} of "
            done += f"{job.amount(job.total)}{job.unit})"
        else:
            done = f"{job.amount(job.done)}{job.unit}"
        figures = {"done": job.done, "total": job.total, "unit": job.unit.strip()}
        values = {"what": job.what, **figures, "per_second": job.speed, "seconds_left": left}
        logging.info(
            "%s: %s",
            job.what,
            ", ".join([done, *parts]),
            extra={"progress": {**values, "figures": dict(job.figures)}},
        )


# Jobs that are shown now, the innermost last.
_running: list[_Job] = []
# Seconds of all activities that have ended.
_in_activities = 0.0


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.1f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
