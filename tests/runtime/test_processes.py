"""Processes are connected only where flags or a cluster's step of several tasks ask for it."""

from __future__ import annotations

import pytest

from electra_zh.runtime.processes import Group


@pytest.mark.parametrize(
    ("environment", "is_given"),
    [
        ({}, False),
        # A job of several nodes whose command is one process.
        ({"SLURM_JOB_NUM_NODES": "4", "SLURM_NTASKS": "8"}, False),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "x"}, False),
        ({"SLURM_STEP_NUM_TASKS": "8"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, False),
    ],
)
def test_a_cluster_is_joined_by_its_processes_alone(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_given: bool
) -> None:
    for name in ("SLURM_STEP_NUM_TASKS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Group().is_given == is_given
    assert Group("a:1", 2, 0).is_given
