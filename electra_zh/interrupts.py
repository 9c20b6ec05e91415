"""Being stopped by Ctrl-C or SIGTERM, in one way for all commands.

Both signals raise KeyboardInterrupt where the process is (`raise_on_signals`). Work that must reach
the end of a step first holds them in a `StopRequest`, and asks it between steps. `explained` turns
the exception into an error that says what is kept, and the command line ends with exit code 130.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from electra_zh.errors import UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# As the shell's for Ctrl-C.
EXIT_CODE = 130
RESUME = "run the same command again to resume."


class InterruptError(UserError):
    """The work was interrupted by Ctrl-C or SIGTERM; exit code 130."""

    def __init__(self, advice: str = "") -> None:
        super().__init__(f"Interrupted. {advice}".rstrip())


class EvaluationStoppedError(Exception):
    """A request to stop came between two batches of an evaluation, which is given up."""


class StopRequest:
    """A request to stop at the next step's end, made by a signal inside the `with` block.

    A second signal stops at once (as KeyboardInterrupt).
    """

    def __init__(self, agree: Callable[[bool], bool] = bool) -> None:
        """Makes a request; `agree` returns whether any of several processes was asked to stop."""
        self._has_signal = self._is_agreed = False
        self._agree = agree
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def is_set(self) -> bool:
        """True if a signal has come. Several processes ask at the same places of their work."""
        if not self._is_agreed:
            self._is_agreed = self._agree(self._has_signal)
        return self._is_agreed

    def check(self) -> None:
        """Raises EvaluationStoppedError if a signal has come."""
        if self.is_set:
            raise EvaluationStoppedError

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._has_signal:
            _interrupt(number, frame)
        self.request()

    def request(self) -> None:
        """Asks to stop, as a signal does."""
        self._has_signal = True


_has_come = False  # A signal has raised KeyboardInterrupt.


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _has_come
    _has_come = True
    raise KeyboardInterrupt


def raise_on_signals() -> None:
    """Makes SIGTERM raise KeyboardInterrupt, as Ctrl-C does, from the start of a command on."""
    global _has_come
    _has_come = False
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell starts its background jobs with Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def has_come() -> bool:
    """Returns whether a signal has raised KeyboardInterrupt in this command.

    Code in C may turn that into any other exception.
    """
    return _has_come


@contextlib.contextmanager
def explained(advice: str = "") -> Iterator[None]:
    """Turns a KeyboardInterrupt into an InterruptError with advice to the user."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptError(advice) from None


@contextlib.contextmanager
def blocked(*signals: signal.Signals) -> Iterator[None]:
    """Blocks signals, for processes and threads that are started in the block and inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
