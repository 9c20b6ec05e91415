"""MLflow; MLFLOW_TRACKING_URI and its other variables apply."""

from __future__ import annotations

import os

from electra_zh.training.trackers import PROJECT, Tracked, Tracker


def start(tracked: Tracked) -> Tracker:
    """Starts a run with the settings as parameters; each start of a run is one."""
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    mlflow.start_run(run_name=tracked.name, tags={"folder": tracked.folder})
    mlflow.log_params(dict(tracked.settings))
    return Tracker(mlflow.log_metrics, mlflow.end_run)
