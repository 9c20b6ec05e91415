"""Preparation of a run: the held-out data of a run to resume."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from absl import logging

from electra_zh.data.build.run import build
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import run
from electra_zh.pretraining.folder import load
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.state import TrainState
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training.checkpoints import CheckpointStore
from support.building import LENGTH, LETTERS, make_settings, make_text


def _request(folder: Path) -> PretrainRequest:
    return PretrainRequest(data=(str(folder / "data"),), output=str(folder / "run"))


@pytest.fixture
def prepared(tmp_path: Path) -> run.PreparedRun:
    """A new run with held-out data, whose folder is written."""
    vocabulary = str(tmp_path / "vocab.txt")
    Vocabulary([*SPECIAL_TOKENS, "。", *LETTERS]).save(vocabulary)
    for index, name in enumerate(("data", "held_out", "more")):
        text = tmp_path / f"{name}.txt"
        text.write_text(make_text(20, seed=index), encoding="utf-8")
        build(make_settings(text, vocabulary, tmp_path / name))
    request = dataclasses.replace(
        _request(tmp_path), config="nano", eval_data=(str(tmp_path / "held_out"),)
    )
    prepared = run.prepare(request, {"max_seq_length": str(LENGTH)})
    prepared.run.save()
    return prepared


def test_a_resumed_run_keeps_its_held_out_data(prepared: run.PreparedRun, tmp_path: Path) -> None:
    resumed = run.prepare(_request(tmp_path), {})
    assert resumed.run == prepared.run
    assert resumed.run.eval_data == (str(tmp_path / "held_out"),)
    assert [each.phase for each in resumed.phases] == [each.phase for each in prepared.phases]
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


def test_a_resumed_run_keeps_its_generator(prepared: run.PreparedRun, tmp_path: Path) -> None:
    data = prepared.run
    TrainState(data.config, data.vocabulary).save(
        CheckpointStore(data.checkpoints, keep=1), 1, state={}
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "include: nano\nphases:\n"
        "  - {name: masked, num_train_steps: 2, objective: masked_lm}\n"
        "  - {name: fakes, num_train_steps: 2, temperature_start: 2}\n",
        encoding="utf-8",
    )
    request = dataclasses.replace(
        _request(tmp_path),
        config=str(recipe),
        output=str(tmp_path / "new"),
        generator=data.folder,
    )
    words = {"max_seq_length": str(LENGTH)}
    new = run.prepare(request, words)
    # The first phase has no generator, and takes no weights.
    assert new.first_weights is None
    sizes = [phase.config.foreign_generator for phase in new.run.phases]
    assert sizes[0] is None
    assert sizes[1] is not None
    assert any("not trained" in line for line in new.plan())
    new.run.save()
    without = dataclasses.replace(request, generator=None)
    for resumed in (run.prepare(without, words), run.prepare(request, words)):
        assert resumed.run == new.run
    with pytest.raises(UserError, match=r"started with --generator .*, not with other\. Remove"):
        run.prepare(dataclasses.replace(request, generator="other"), words)


def test_a_run_records_its_folders(prepared: run.PreparedRun, tmp_path: Path) -> None:
    assert prepared.run.train_data == (str(tmp_path / "data"),)
    words = (f"{tmp_path / 'data'}:3", f"{tmp_path / 'more'}:1")
    held_out = (str(tmp_path / "held_out"), str(tmp_path / "more"))
    request = PretrainRequest(str(tmp_path / "new"), words, config="nano", eval_data=held_out)
    mixed = run.prepare(request, {"max_seq_length": str(LENGTH)})
    mixed.run.save()
    assert load(str(tmp_path / "new")) == mixed.run
    assert mixed.run.train_data == words
    assert mixed.run.eval_data == held_out
    assert mixed.phases[0].eval_shards is not None
    assert len(mixed.phases[0].eval_shards) == len(prepared.phases[0].eval_shards or ()) + 1
    assert f"data {tmp_path / 'data'}: 75.0% of the sequences" in "\n".join(mixed.plan())
    assert run.prepare(PretrainRequest(request.output), {}).run == mixed.run
    other = dataclasses.replace(request, data=(words[0], f"{tmp_path / 'more'}:2"))
    with pytest.raises(UserError, match="was started on other data"):
        run.prepare(other, {"max_seq_length": str(LENGTH)})


def test_a_recipe_may_name_its_data(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("include: nano\ndata:\n- a:3\n- b: 1\n- c:0.5\neval_data: d\n")
    request = PretrainRequest("run", config=str(recipe))
    assert request.folders() == (("a", 3.0), ("b", 1.0), ("c", 0.5))
    assert request.eval_folders() == ("d",)
    assert dataclasses.replace(request, data=("e",)).folders() == (("e", None),)
    with pytest.raises(UsageError, match="required settings are missing: --data"):
        PretrainRequest("run", config="nano")
    with pytest.raises(UsageError, match="--eval-data takes no weights"):
        PretrainRequest("run", ("a",), eval_data=("b:2",))
