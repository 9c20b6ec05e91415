"""SwanLab; SWANLAB_MODE and its other variables apply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from electra_zh.training.trackers import PROJECT, Tracked


class SwanlabTracker:
    """An experiment of SwanLab, which a resumed run continues."""

    def __init__(self, swanlab: Any) -> None:
        self._swanlab = swanlab

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the values."""
        self._swanlab.log(dict(values), step=step)

    def close(self) -> None:
        """Finishes the experiment."""
        self._swanlab.finish()


def start(tracked: Tracked) -> SwanlabTracker:
    """Starts or continues the experiment."""
    import swanlab

    swanlab.init(
        project=os.environ.get("SWANLAB_PROJECT", PROJECT),
        experiment_name=tracked.name,
        id=tracked.identity,
        resume="allow",
        config=dict(tracked.settings),
    )
    return SwanlabTracker(swanlab)
