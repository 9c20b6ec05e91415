"""Checkpoints of earlier versions: a run and a fine-tuned model written by version 0.1.0."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from electra_zh.errors import UserError
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import CheckpointStore

OLD = Path(__file__).parent.parent / "golden" / "old_run"
# Of the names and values, as the version that wrote the files read them.
DIGESTS = {
    "run": "a79a9d18c3f096af380de17cf136f02bd1622b46097134ce3dd3cd466fb22538",
    "run's optimizer": "50a82ee56302c43ec3d5ac624d192c9a12b96b2b8095a93941a47741a2dc5576",
    "fine-tuned model": "49368536d93a6a55d767e6b1d641a471ee8f225dfaa4c55369baebaab9b5adb2",
}


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()


def test_a_run() -> None:
    found = checkpoints.read(checkpoints.find(str(OLD / "run" / "checkpoints")))
    assert (found.step, found.state["optimizer_step"]) == (10, 10)
    assert _digest(found.model) == DIGESTS["run"]
    assert _digest(found.optimizer) == DIGESTS["run's optimizer"]
    assert set(found.optimizer) == {f"{slot}/{name}" for slot in "mv" for name in found.model}


def test_a_fine_tuned_model() -> None:
    path = checkpoints.find(str(OLD / "tuned" / "checkpoints"), step=1)
    found = checkpoints.read(path, optimizer=False)
    assert _digest(found.model) == DIGESTS["fine-tuned model"]
    assert found.optimizer == {}
    assert found.model["heads/topics/output/bias"].shape == (4,)


def test_it_counts_among_the_checkpoints_to_keep(tmp_path: Path) -> None:
    folder = shutil.copytree(OLD / "run" / "checkpoints", tmp_path / "checkpoints")
    store = CheckpointStore(str(folder), keep=2)
    for step in (20, 30):
        store.save(step, model={"a": np.zeros(1)}, optimizer={}, state={})
        names = {path.name.partition(".")[0] for path in folder.iterdir()}
        assert names == ({"ckpt-10", "ckpt-20"} if step == 20 else {"ckpt-20", "ckpt-30"})


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(OLD / "run" / "checkpoints", tmp_path / "checkpoints")
    next(folder.glob("*.data-*")).write_bytes(b"xx")
    with pytest.raises(UserError, match="ckpt-10 cannot be read"):
        checkpoints.read(checkpoints.find(str(folder)))
