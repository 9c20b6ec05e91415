"""budget_hours: the steps that fit, as settings of the run, kept when it is resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from electra_zh import cli
from electra_zh.commands import load_command
from electra_zh.data.build.run import build
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import folder, run
from electra_zh.pretraining.planning import budget, speed
from electra_zh.pretraining.planning.speed import Speed
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.runtime.device import Device
from electra_zh.runtime.processes import Here
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LENGTH, LETTERS, make_settings, make_text

RECIPE = f"""
include: nano
max_seq_length: {LENGTH}
hidden_size: 32
embedding_size: 16
num_hidden_layers: 1
intermediate_size: 32
train_batch_size: 4
num_warmup_steps: 100
save_checkpoints_steps: 1000
"""
PHASES = """
phases:
  - {name: one, num_train_steps: 3000}
  - {name: two, num_train_steps: 1000, num_warmup_steps: 10}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of data and recipes."""
    vocabulary = str(tmp_path / "vocab.txt")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS]).save(vocabulary)
    (tmp_path / "text").write_text(make_text(20), encoding="utf-8")
    build(make_settings(tmp_path / "text", vocabulary, tmp_path / "data"))
    (tmp_path / "plain.yaml").write_text(RECIPE)
    (tmp_path / "phases.yaml").write_text(RECIPE + PHASES)
    return tmp_path


def _prepare(place: Path, recipe: str, **overrides: Any) -> run.PreparedRun:
    request = PretrainRequest(
        output=str(place / "run"), data=(str(place / "data"),), config=str(place / recipe)
    )
    return run.prepare(request, overrides)


def _with_speed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    found = Speed(seconds, 4, preparation=0.0, steps=1, peak_bytes=0)
    monkeypatch.setattr(speed, "measure", lambda *_, **__: found)


def test_steps_fill_the_hours(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_speed(monkeypatch, 1.0)
    config = budget.plan(_prepare(data, "plain.yaml", budget_hours=0.5)).run.config
    assert 1690 <= config.num_train_steps <= 1710  # 0.95 x 1800 s
    assert config.num_warmup_steps == round(100 * config.num_train_steps / 2500)
    longer = budget.plan(_prepare(data, "plain.yaml", budget_hours=5)).run.config
    assert 16900 <= longer.num_train_steps <= 17100
    assert longer.num_warmup_steps == 100


def test_all_phases_are_scaled(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_speed(monkeypatch, 1.0)
    planned = budget.plan(_prepare(data, "phases.yaml", budget_hours=0.5))
    one, two = (phase.config.num_train_steps for phase in planned.run.phases)
    assert abs(one - 3 * two) <= 3
    assert 1690 <= one + two <= 1710
    assert planned.run.phases[1].first_step == one
    assert [part.phase for part in planned.phases] == list(planned.run.phases)


def test_without_a_budget_nothing_is_measured(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_, **__: pytest.fail("measures"))
    prepared = _prepare(data, "plain.yaml")
    assert budget.plan(prepared) is prepared


def test_too_short_a_time_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_speed(monkeypatch, 1.0)
    with pytest.raises(UserError, match=r"budget_hours 0.0001 is too short: starting takes 0 s"):
        budget.plan(_prepare(data, "plain.yaml", budget_hours=0.0001))


@pytest.mark.parametrize("key", ["num_train_steps", "phases.one.num_train_steps"])
def test_steps_and_a_budget_exclude_each_other(key: str, data: Path) -> None:
    request = PretrainRequest(str(data / "run"), (str(data / "data"),), str(data / "phases.yaml"))
    with pytest.raises(UsageError, match="remove one of them"):
        folder.check_request(request, {"budget_hours": "1", key: "7"})


@pytest.mark.parametrize("recipe", ["plain.yaml", "phases.yaml"])
def test_a_resumed_run_keeps_its_plan(
    data: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    _with_speed(monkeypatch, 1.0)
    planned = budget.plan(_prepare(data, recipe, budget_hours=0.5))
    planned.run.save()
    resumed = _prepare(data, recipe, budget_hours="0.5")
    assert resumed.run.phases == folder.load(planned.run.folder).phases == planned.run.phases
    with pytest.raises(UserError, match=r"budget_hours 0.5 \(now 2.0\)"):
        _prepare(data, recipe, budget_hours=2)


def test_several_processes_would_plan_different_steps(data: Path) -> None:
    prepared = _prepare(data, "plain.yaml", budget_hours=1)
    several = prepared._replace(device=Device("cpu", here=Here(number=0, size=2)))
    with pytest.raises(UsageError, match="budget_hours is for one process"):
        budget.plan(several)


def test_a_step_in_parts_is_measured_on_few_sequences(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def steps_of_phase(prepared: Any, part: Any) -> Any:
        config = part.phase.config
        measured.append((config.train_batch_size, config.gradient_accumulation_steps))
        return lambda count: time.sleep(0.01)

    monkeypatch.setattr(speed, "steps_of_phase", steps_of_phase)
    monkeypatch.setattr(speed, "_TOKENS", 3 * LENGTH)
    prepared = _prepare(data, "plain.yaml", train_batch_size=8, gradient_accumulation_steps=4)
    speed.measure(prepared, prepared.phases[0], seconds=0.1)
    assert measured == [(3, 1), (8, 4)]


def test_a_phase_has_no_budget_of_its_own(data: Path) -> None:
    (data / "phases.yaml").write_text(RECIPE + PHASES.replace("}", ", budget_hours: 1}"))
    with pytest.raises(UserError, match="phase one: remove budget_hours: the run has one"):
        _prepare(data, "phases.yaml")


def test_the_command_measures_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--config", str(data / "plain.yaml"), "--data", str(data / "data"), "--output"]
    words += [str(data / "run"), "--budget-hours", "0.01", "--device", "cpu"]
    _with_speed(monkeypatch, 6.0)
    monkeypatch.setattr(run, "pretrain", lambda prepared: prepared.run.save())
    assert load_command("pretrain").run(cli.parse("pretrain", words)) == 0
    assert folder.load(str(data / "run")).last_step == 5
    monkeypatch.setattr(speed, "measure", lambda *_, **__: pytest.fail("measures"))
    assert load_command("pretrain").run(cli.parse("pretrain", words)) == 0
    with pytest.raises(UsageError, match="--budget-hours plans num_train_steps"):
        load_command("pretrain").run(cli.parse("pretrain", [*words, "num_train_steps=9"]))
