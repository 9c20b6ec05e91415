"""Experiment trackers: each gets a run's settings once, and then its lines of metrics.

A tracker is one module here with a function `start`; none is used by default. The package of a
tracker is an extra of the same name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from electra_zh import files
from electra_zh.errors import UserError, install_line
from electra_zh.modules import load_module, module_names
from electra_zh.settings import flat

PROJECT = "electra-zh"
# File of a run's folder with its identity, so that a resumed run continues in the tracker.
_IDENTITY = "tracking_id.txt"


class Tracked(NamedTuple):
    """The run that a tracker follows."""

    folder: str  # where it is
    name: str  # the folder's last part
    identity: str  # 21 letters and digits, the same for every start of the run
    settings: Mapping[str, Any]  # plain values; those of sections as `model.hidden_size`


class Tracker(NamedTuple):
    """A started tracker: the functions of its package."""

    # takes the values of a line of metrics, by names as in TensorBoard (`train/loss`), and `step`
    log: Callable[..., object]
    close: Callable[[], object]  # called at the end and at interruptions


def start(
    names: Sequence[str], folder: str, settings: Mapping[str, Any], *, name: str = ""
) -> Trackers | None:
    """Starts trackers of a run, with its plain settings; None without names.

    It writes the identity of the run to its folder. The run's name is that of the folder if it does
    not have another one.
    """
    if not names:
        return None
    path = files.join(folder, _IDENTITY)
    if not files.exists(path):
        files.write_text(path, uuid.uuid4().hex[:21] + "\n")
    where = files.absolute(folder)
    identity = files.read_text(path).strip()
    name = name or where.rstrip("/").rpartition("/")[2]
    return Trackers(names, Tracked(where, name, identity, flat(settings)))


def tracker_names() -> tuple[str, ...]:
    """Returns the names of all trackers."""
    return module_names(__name__)


def check_installed(names: Sequence[str]) -> None:
    """Raises a UserError if the package of a tracker is missing."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}: {install_line(name)}")


class Trackers:
    """Several trackers as one. An error of a tracker stops it, and never the training."""

    def __init__(self, names: Sequence[str], tracked: Tracked) -> None:
        """Starts the trackers."""
        self._trackers: dict[str, Tracker] = {}
        for name in names:
            with self._stopped_by_errors(name):
                self._trackers[name] = load_module(__name__, name).start(tracked)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Passes a line of metrics to each tracker."""
        for name, tracker in list(self._trackers.items()):
            with self._stopped_by_errors(name):
                tracker.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the tracking."""
        for name, tracker in list(self._trackers.items()):
            with self._stopped_by_errors(name):
                tracker.close()

    @contextlib.contextmanager
    def _stopped_by_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._trackers.pop(name, None)
            text = " ".join(str(error).split()) or type(error).__name__
            logging.warning("%s is no longer used: %s. The run continues without it.", name, text)
