"""Weights & Biases; WANDB_PROJECT, WANDB_MODE=offline and its other variables apply."""

from __future__ import annotations

import os

from electra_zh import files
from electra_zh.training.trackers import PROJECT, Tracked, Tracker


def start(tracked: Tracked) -> Tracker:
    """Starts the run, or continues that of a resumed one."""
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=tracked.name,
        id=tracked.identity,
        resume="allow",
        dir=None if files.is_remote(tracked.folder) else tracked.folder,
        config=dict(tracked.settings),
        # Some settings may change when a run is resumed.
        allow_val_change=True,
    )
    return Tracker(run.log, run.finish)
