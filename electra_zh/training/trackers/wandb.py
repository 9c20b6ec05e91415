"""Weights & Biases; WANDB_PROJECT, WANDB_MODE=offline and its other variables apply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from electra_zh import files
from electra_zh.training.trackers import PROJECT, Tracked


class WandbTracker:
    """A run of Weights & Biases, which a resumed run continues."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the values."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finishes the run."""
        self._run.finish()


def start(tracked: Tracked) -> WandbTracker:
    """Starts or continues the run."""
    import wandb

    return WandbTracker(
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=tracked.name,
            id=tracked.identity,
            resume="allow",
            dir=None if files.is_remote(tracked.folder) else tracked.folder,
            config=dict(tracked.settings),
            # Some settings may change when a run is resumed.
            allow_val_change=True,
        )
    )
