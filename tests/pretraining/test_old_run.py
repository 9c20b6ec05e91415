"""A run that version 0.1.0 began, with checkpoints of the object-based form, is resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import order
from electra_zh.pretraining import folder
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.run import prepare, pretrain
from electra_zh.pretraining.state import TrainState
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import Checkpoint, CheckpointStore
from support.networks import GOLDEN

OLD = GOLDEN / "old_run"


def _resume(run: Path) -> Checkpoint:
    prepared = prepare(PretrainRequest(str(run), (str(OLD / "data"),)), {})
    pretrain(prepared)
    return checkpoints.read(checkpoints.find(str(run / "checkpoints")))


def _losses(run: Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines}


def _old_runs(counts: Sequence[int], *, seed: int, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """The order of examples of version 0.1.0."""
    epoch, skip = divmod(start, sum(counts))
    while True:
        generator = np.random.Generator(np.random.PCG64([seed, epoch]))
        for shard in generator.permutation(len(counts)).tolist():
            seeds = generator.integers(0, 2**31 - 1, size=2, dtype=np.int32)
            rows = tf.range(counts[shard])
            rows = tf.random.experimental.stateless_shuffle(rows, seeds).numpy()[skip:]
            skip = max(0, skip - counts[shard])
            yield shard, rows
        epoch += 1


def test_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "shuffled_runs", _old_runs)
    run = shutil.copytree(OLD / "run", tmp_path / "run")
    same = shutil.copytree(OLD / "run", tmp_path / "same")
    resumed = _resume(run)
    assert resumed.step == 20
    # The file has the losses of the version that began the run. They are means of floats that
    # another kind of CPU adds in another order, so the last digits may differ.
    assert _losses(run) == pytest.approx(_losses(OLD / "run"), rel=1e-5)
    # Its checkpoint in the new form continues to the same bits.
    saved = folder.load(str(same))
    state = TrainState(saved.config, saved.vocabulary)
    store = CheckpointStore(saved.checkpoints, keep=1)
    found = store.latest()
    assert found is not None
    assert found.step == 10
    state.assign(found, where="")
    shutil.rmtree(saved.checkpoints)
    state.save(store, 10, state={})
    again = _resume(same)
    for name, value in (resumed.model | resumed.optimizer).items():
        assert value.tobytes() == (again.model | again.optimizer)[name].tobytes(), name
