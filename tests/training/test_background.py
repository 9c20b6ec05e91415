"""Checkpoints saved in a thread: complete after `wait`, from copies, errors are not lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from electra_zh.training import checkpoints
from electra_zh.training.background import BackgroundStore


def _save(store: BackgroundStore, step: int, weights: np.ndarray) -> None:
    store.save(step, model={"w": weights}, optimizer={}, state={"optimizer_step": step})


def test_a_checkpoint_is_that_of_its_step(tmp_path: Path) -> None:
    store, weights = BackgroundStore(str(tmp_path), keep=2), np.zeros(3, np.float32)
    for step in (1, 2, 3):
        _save(store, step, weights)
        weights += 1
    store.wait()
    assert sorted(path.name for path in tmp_path.glob("ckpt-*")) == ["ckpt-2", "ckpt-3"]
    assert checkpoints.read(store.path(3)).model["w"].tolist() == [2, 2, 2]


def test_an_error_is_raised_by_wait(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = BackgroundStore(str(tmp_path / "file"), keep=2)
    _save(store, 1, np.zeros(3, np.float32))
    with pytest.raises(OSError, match="file"):
        store.wait()
    store.wait()


def test_another_process_saves(tmp_path: Path) -> None:
    store = BackgroundStore(str(tmp_path), keep=2, writes=False)
    _save(store, 1, np.zeros(3, np.float32))
    store.wait()
    assert list(tmp_path.iterdir()) == []
