"""MLflow; MLFLOW_TRACKING_URI and its other variables apply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from electra_zh.training.trackers import PROJECT, Tracked


class MlflowTracker:
    """A run of MLflow; each start of a run is one."""

    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the values."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()


def start(tracked: Tracked) -> MlflowTracker:
    """Starts a run with the settings as parameters."""
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    mlflow.start_run(run_name=tracked.name, tags={"folder": tracked.folder})
    mlflow.log_params(dict(tracked.settings))
    return MlflowTracker(mlflow)
