"""Preparation of a run: the held-out data of a run to resume."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from absl import logging

from electra_zh.data.build.run import build
from electra_zh.pretraining import run
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LENGTH, LETTERS, make_settings, make_text


def _request(folder: Path) -> PretrainRequest:
    return PretrainRequest(data=str(folder / "data"), output=str(folder / "run"))


@pytest.fixture
def prepared(tmp_path: Path) -> run.PreparedRun:
    """A new run with held-out data, whose folder is written."""
    vocabulary = str(tmp_path / "vocab.txt")
    Vocabulary([*SPECIAL_TOKENS, "。", *LETTERS]).save(vocabulary)
    for index, name in enumerate(("data", "held_out")):
        text = tmp_path / f"{name}.txt"
        text.write_text(make_text(20, seed=index), encoding="utf-8")
        build(make_settings(text, vocabulary, tmp_path / name))
    request = dataclasses.replace(
        _request(tmp_path), config="nano", eval_data=str(tmp_path / "held_out")
    )
    prepared = run.prepare(request, {"max_seq_length": str(LENGTH)})
    prepared.run.save()
    return prepared


def test_a_resumed_run_keeps_its_held_out_data(prepared: run.PreparedRun, tmp_path: Path) -> None:
    resumed = run.prepare(_request(tmp_path), {})
    assert resumed.run == prepared.run
    assert resumed.run.eval_data == str(tmp_path / "held_out")
    assert resumed.phases == prepared.phases
    assert resumed.phases[0].eval_shards


def test_missing_held_out_data_is_a_warning(
    prepared: run.PreparedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: warnings.append(text % args))
    shutil.rmtree(tmp_path / "held_out")
    assert run.prepare(_request(tmp_path), {}).phases[0].eval_shards is None
    (warning,) = warnings
    assert f"held-out data in {tmp_path / 'held_out'} is missing" in warning
