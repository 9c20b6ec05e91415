"""A run whose data and folder are on a file system that keeps failing is that of local folders."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from absl import logging

from electra_zh import files
from electra_zh.data.build.run import build
from electra_zh.pretraining import run
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training import checkpoints
from support import faulty
from support.building import LENGTH, LETTERS, make_settings, make_text

_SETTINGS = {
    **{"max_seq_length": LENGTH, "hidden_size": 32, "embedding_size": 16, "num_hidden_layers": 1},
    **{"intermediate_size": 32, "train_batch_size": 4, "eval_batch_size": 4, "num_eval_steps": 1},
    **{"num_warmup_steps": 1, "save_checkpoints_steps": 2, "log_steps": 2},
    **{"iterations_per_loop": 1, "num_train_steps": 5},
}


def _train(data: str, output: str) -> None:
    request = PretrainRequest(data=(data,), output=output, config="nano", eval_data=(data,))
    overrides = {name: str(value) for name, value in _SETTINGS.items()}
    run.pretrain(run.prepare(request, overrides))


def _lines(output: str) -> list[dict[str, Any]]:
    lines = files.read_text(f"{output}/metrics.jsonl").splitlines()
    times = ("time", "seconds", "steps_per_second", "tokens_per_second")
    return [
        {key: value for key, value in json.loads(line).items() if key not in times}
        for line in lines
    ]


def test_a_run_on_a_failing_file_system_is_that_of_local_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, vocabulary = tmp_path / "corpus.txt", str(tmp_path / "vocab.txt")
    corpus.write_text(make_text(20), encoding="utf-8")
    Vocabulary([*SPECIAL_TOKENS, "。", *LETTERS]).save(vocabulary)
    faulty.start(every=5)
    said: list[str] = []
    monkeypatch.setattr(logging, "info", lambda line, *args, **_: said.append(line % args))
    with mock.patch.object(time, "sleep"):
        for root in (str(tmp_path), faulty.ROOT):
            settings = make_settings(corpus, vocabulary, tmp_path)
            build(dataclasses.replace(settings, output=f"{root}/data"))
            _train(f"{root}/data", f"{root}/run")
            # It resumes from the checkpoint before.
            files.remove_tree(f"{root}/run/checkpoints/ckpt-5")
            _train(f"{root}/data", f"{root}/run")
        local, remote = (
            checkpoints.read(checkpoints.find(f"{root}/run/checkpoints"))
            for root in (str(tmp_path), faulty.ROOT)
        )
        assert local.step == remote.step == 5
        for ours, theirs in ((local.model, remote.model), (local.optimizer, remote.optimizer)):
            assert {k: v.tobytes() for k, v in ours.items()} == {
                k: v.tobytes() for k, v in theirs.items()
            }
        assert _lines(f"{tmp_path}/run") == _lines(f"{faulty.ROOT}/run")
    assert (tmp_path / "run" / "tensorboard").exists()
    assert any("TensorFlow cannot write to faulty://" in line for line in said)
    failures = faulty.FaultyFileSystem.failures
    assert min(failures[name] for name in ("info", "write", "read", "cp_file")) > 0
