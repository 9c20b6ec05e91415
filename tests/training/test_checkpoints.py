"""Checkpoints are complete, verified, and readable by other tools."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from electra_zh import files, machine
from electra_zh.errors import UserError
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import CheckpointStore


def _save(folder: Path, step: int, *, keep: int = 2) -> Path:
    model = {
        "encoder/kernel": tf.Variable(tf.fill([2, 3], float(step))),
        "bias": np.arange(3, dtype=np.float32),
    }
    optimizer = {"m/bias": np.full(3, 0.5, np.float32), "count": np.array(2**40, np.int64)}
    store = CheckpointStore(str(folder), keep=keep)
    state = {"optimizer_step": step, "settings": {"seed": 1}}
    return Path(store.save(step, model=model, optimizer=optimizer, state=state))


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path: Path) -> None:
    path = _save(tmp_path / "checkpoints", 7)
    found = checkpoints.read(str(path))
    assert found.step == 7
    assert found.model["encoder/kernel"].tolist() == [[7.0] * 3] * 2
    assert found.model["bias"].tolist() == [0.0, 1.0, 2.0]
    assert found.optimizer["m/bias"].tolist() == [0.5] * 3
    assert found.optimizer["count"] == 2**40
    assert found.state["settings"] == {"seed": 1}
    assert checkpoints.read(str(path), optimizer=False).optimizer == {}


def test_other_tools_read_the_files(tmp_path: Path) -> None:
    path = _save(tmp_path, 7)
    model = safetensors.numpy.load_file(path / "model.safetensors")
    assert model["encoder/kernel"].tolist() == [[7.0] * 3] * 2
    assert safetensors.numpy.load_file(path / "optimizer.safetensors")["count"] == 2**40
    state = json.loads((path / "state.json").read_text())
    assert (state["step"], state["optimizer_step"], state["format"]) == (7, 7, 1)


def test_reading_does_not_import_tensorflow(tmp_path: Path) -> None:
    path = _save(tmp_path, 7)
    code = (
        "import sys; from electra_zh.training import checkpoints;"
        f"print(checkpoints.read({str(path)!r}).step, 'tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.split() == ["7", "False"]


def test_resuming_on_another_machine_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(machine, "cpu", lambda: machine.Cpu("Older", ("sse",)))
        _save(tmp_path, 10)
    store = CheckpointStore(str(tmp_path), keep=2)
    with mock.patch.object(checkpoints.logging, "warning") as warning:
        assert store.latest() is not None
        text, changed = warning.call_args.args
        assert f"cpu Older (now {machine.cpu().name}), instruction_sets sse (now" in changed
        assert "last bits" in text
        _save(tmp_path, 20)
        warning.reset_mock()
        assert store.latest() is not None
        warning.assert_not_called()


def test_old_checkpoints_are_removed(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        _save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt-20", "ckpt-30"]
    latest = CheckpointStore(str(tmp_path), keep=2).latest()
    assert latest is not None
    assert latest.step == 30
    assert checkpoints.step_of(checkpoints.find(str(tmp_path), step=20)) == 20
    with pytest.raises(UserError, match=r"no checkpoint of step 10 .* Available: 20, 30"):
        checkpoints.find(str(tmp_path), step=10)


def test_the_rest_of_a_checkpoint_is_removed_after_a_kill(tmp_path: Path) -> None:
    _save(tmp_path, 1, keep=1)
    killed = mock.patch.object(files, "remove_tree", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        _save(tmp_path, 2, keep=1)
    assert [path.name for path in (tmp_path / "ckpt-1").iterdir()] != []
    assert checkpoints.find(str(tmp_path)).endswith("ckpt-2")
    _save(tmp_path, 3, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-3"]


def test_an_unfinished_checkpoint_does_not_count(tmp_path: Path) -> None:
    path = _save(tmp_path, 10)
    unfinished = tmp_path / "ckpt-20.partial-0123"
    path.rename(unfinished)
    assert checkpoints.is_empty(str(tmp_path))
    (tmp_path / "ckpt-20").mkdir()
    assert checkpoints.is_empty(str(tmp_path))
    _save(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-20"]


def test_steps_are_compared_as_numbers(tmp_path: Path) -> None:
    for step in (90, 100):
        _save(tmp_path, step)
    assert checkpoints.step_of(checkpoints.find(str(tmp_path))) == 100


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def _cut(path: Path, place: int) -> None:
    path.write_bytes(path.read_bytes()[:place])


FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [_flip, _cut])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_is_read(
    name: str, damage: Callable[[Path, int], None], tmp_path: Path
) -> None:
    _save(tmp_path, 10)
    path = _save(tmp_path, 20) / name
    original = path.read_bytes()
    store = CheckpointStore(str(tmp_path), keep=2)
    for place in (0, 9, len(original) // 2, len(original) - 2):
        path.write_bytes(original)
        damage(path, place)
        with mock.patch.object(checkpoints.logging, "warning") as warning:
            found = store.latest()
        assert found is not None
        assert found.step == 10
        text, error, aside = warning.call_args.args
        assert "renamed" in text
        assert re.search("(is damaged|invalid).* before it is that of step 10", str(error))
        Path(aside).rename(tmp_path / "ckpt-20")


def test_the_only_checkpoint_is_not_set_aside(tmp_path: Path) -> None:
    path = _save(tmp_path, 20)
    (path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"No such file: .*model.* no earlier checkpoint"):
        CheckpointStore(str(tmp_path), keep=2).latest()
    assert path.exists()


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 10)
    path = _save(tmp_path, 20)
    broken = mock.Mock(side_effect=OSError(5, "Input/output error"))
    monkeypatch.setattr(checkpoints.tensor_file, "read", broken)
    with pytest.raises(UserError, match=r"ckpt-20 cannot be read: .*Input/output error"):
        CheckpointStore(str(tmp_path), keep=2).latest()
    assert path.exists()


def test_the_state_of_an_older_version_has_no_checksum(tmp_path: Path) -> None:
    path = _save(tmp_path, 10) / "state.json"
    state = json.loads(path.read_text())
    del state["sha256"]
    path.write_text(json.dumps(state))
    assert checkpoints.read(str(path.parent)).step == 10


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, 10) / "state.json"
    for text, message in (
        ("{", "is damaged: .* is not valid JSON"),
        ("[]", r"invalid state\.json"),
        ("{}", r"invalid state\.json"),
        ('{"format": 1, "step": 10, "files": []}', r"invalid state\.json"),
        ('{"format": 2}', "written by a newer version"),
        ('{"format": 1, "step": 10, "files": {"../x": {"sha256": ""}}}', r"invalid state\.json"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            checkpoints.read(str(path.parent))


def test_only_tensors_of_the_same_shape_are_assigned() -> None:
    variables = {"a": tf.Variable([1.0, 2.0]), "b": tf.Variable([3.0])}
    tensors = {"a": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)}
    checkpoints.assign(variables, {**tensors, "other": np.zeros(9)}, where="ckpt-5")
    assert variables["a"].numpy().tolist() == [0.0, 0.0]
    with pytest.raises(UserError, match="ckpt-5 cannot be restored: b is missing"):
        checkpoints.assign(variables, {"a": np.ones(2)}, where="ckpt-5")
    with pytest.raises(UserError, match=r"b is \[2\] there and \[1\] in this model"):
        checkpoints.assign(variables, {"a": np.ones(2), "b": np.ones(2)}, where="ckpt-5")
    assert variables["a"].numpy().tolist() == [0.0, 0.0]


def test_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(str(tmp_path / "none"), keep=1).latest() is None
    with pytest.raises(UserError, match="no checkpoint in"):
        checkpoints.find(str(tmp_path))
    with pytest.raises(UserError, match="its name must be ckpt-STEP"):
        checkpoints.step_of(str(tmp_path / "model"))
