"""SwanLab; SWANLAB_MODE and its other variables apply."""

from __future__ import annotations

import os

from electra_zh.training.trackers import PROJECT, Tracked, Tracker


def start(tracked: Tracked) -> Tracker:
    """Starts the experiment, or continues that of a resumed run."""
    import swanlab

    swanlab.init(
        project=os.environ.get("SWANLAB_PROJECT", PROJECT),
        experiment_name=tracked.name,
        id=tracked.identity,
        resume="allow",
        config=dict(tracked.settings),
    )
    return Tracker(swanlab.log, swanlab.finish)
