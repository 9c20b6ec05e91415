"""Checkpoints restore everything or say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.training import checkpoints


def _state(value: float, *, size: int = 2) -> tf.Module:
    state = tf.Module()
    state.weights = [tf.Variable(tf.fill([size], value)) for _ in range(3)]
    return state


def test_latest_is_restored_and_old_ones_go(tmp_path: Path) -> None:
    state = _state(0)
    store = checkpoints.CheckpointStore(str(tmp_path), state, keep=2)
    assert store.restore_latest() is None
    for step in (10, 20, 30):
        state.weights[2].assign([step, step])
        store.save(step)
    other = _state(-1)
    assert checkpoints.CheckpointStore(str(tmp_path), other, keep=2).restore_latest() == 30
    assert other.weights[2].numpy().tolist() == [30, 30]
    assert checkpoints.step_of(checkpoints.find(str(tmp_path), step=20)) == 20
    with pytest.raises(UserError, match=r"no checkpoint of step 10 .* Kept: 20, 30"):
        checkpoints.find(str(tmp_path), step=10)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    checkpoints.CheckpointStore(str(tmp_path), _state(1), keep=1).save(5)
    store = checkpoints.CheckpointStore(str(tmp_path), _state(0, size=3), keep=1)
    with pytest.raises(UserError, match=r"ckpt-5 cannot be restored"):
        store.restore_latest()


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    checkpoints.CheckpointStore(str(tmp_path), _state(1), keep=1).save(5)
    next(tmp_path.glob("*.data-*")).write_bytes(b"xx")
    store = checkpoints.CheckpointStore(str(tmp_path), _state(0), keep=1)
    with pytest.raises(UserError, match=r"ckpt-5 cannot be restored"):
        store.restore_latest()


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint in"):
        checkpoints.find(str(tmp_path))
