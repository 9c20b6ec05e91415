"""Estimates of a run: numbers of weights, the measured step, and the command's lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from electra_zh.commands.command import Call
from electra_zh.commands.pretraining import Estimate
from electra_zh.commands.pretraining import estimate as command
from electra_zh.errors import UsageError
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.planning import estimate, speed
from electra_zh.pretraining.planning.ahead import AheadEstimate
from electra_zh.pretraining.planning.speed import Speed
from electra_zh.pretraining.programs.compiling import CompiledPhase
from electra_zh.runtime.ahead import Compiled
from electra_zh.runtime.targets import Target
from support.networks import SPECIAL, tiny

SMALL = {
    "hidden_size": "32",
    "embedding_size": "16",
    "num_hidden_layers": "1",
    "intermediate_size": "64",
    "train_batch_size": "8",
    "vocab_size": "64",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"untied_generator_embeddings": True},
        {"objective": "masked_lm"},
        {"objective": "electric"},
        {"uniform_generator": True},
        {"gdes": True},
        {"generator_frozen": True, "untied_generator_embeddings": True},
    ],
)
def test_parameters_are_those_of_the_networks(changes: dict[str, Any]) -> None:
    config = tiny(**changes)
    objective = build_objective(config, SPECIAL)
    found = estimate.count_parameters(config)
    assert found.total == sum(each.shape.num_elements() for each in objective.variables)
    trained = objective.trainable_variables
    assert found.trained == sum(each.shape.num_elements() for each in trained)


def test_parameters_by_network() -> None:
    shared = estimate.count_parameters(tiny())
    separate = estimate.count_parameters(tiny(untied_generator_embeddings=True))
    alone = estimate.count_parameters(tiny(objective="masked_lm"))
    assert shared.shared > 0
    assert separate.shared == 0
    assert separate.discriminator == shared.discriminator + shared.shared
    assert (alone.generator, alone.shared) == (0, 0)


def test_a_run_has_the_weights_of_its_largest_phase() -> None:
    generator_alone, both = tiny(discriminator_frozen=True), tiny()
    wanted = estimate.count_parameters(both)
    assert estimate.count_parameters(generator_alone) != wanted
    assert estimate.most_parameters([generator_alone, both]) == wanted


def _run(monkeypatch: pytest.MonkeyPatch, *, seconds: float, **settings: Any) -> list[Any]:
    """Runs the command with a measurement that takes no time; returns the measured sizes."""
    measured = []

    def measure(prepared: Any, part: Any, *, seconds: float) -> Speed:
        measured.append(part.phase.config.train_batch_size)
        return Speed(found, 4, 1.0, 10, int(1e9))

    found = seconds
    monkeypatch.setattr(speed, "measure", measure)
    call = Call(Estimate(config="nano", device="cpu", **settings), SMALL, dry_run=False)
    assert command(call) == 0
    return measured


def test_the_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, seconds=3.6) == [8]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "step         3.6 s (scaled from 4 of 8 sequences), 142 tokens/s" in lines
    assert "training     2,500 steps, 1.3 million tokens" in lines
    assert "             2.5 hours, without evaluations" in lines
    assert any(line.endswith("(an estimate, from the measured peak)") for line in lines)


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _run(monkeypatch, seconds=3.6, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["hours"] == pytest.approx(2.5)
    counts = found["parameters"]
    assert found["checkpoint_bytes"] == 4 * (counts["total"] + 2 * counts["trained"])
    assert found["memory_bytes"]["activations"] > 1e9  # Twice the measured rest.


def test_the_real_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Estimate(config="nano", device="cpu", seconds=0.2, json=True)
    assert command(Call(settings, SMALL, dry_run=False)) == 0
    (phase,) = json.loads(capsys.readouterr().out)["phases"]
    assert 0 < phase["speed"]["seconds"] < 60
    assert phase["speed"]["sequences"] == 8
    assert phase["epochs"] is None
    assert phase["hours"] == pytest.approx(2500 * phase["speed"]["seconds"] / 3600)


def test_hours_on_devices_follow_from_the_peak() -> None:
    config = tiny(num_train_steps=3600, precision="bfloat16")
    # A tenth of a second at the peak of an H100.
    compiled = Compiled(1.0, 2, int(2e9), int(40e9), 0, 98.9e12, {})
    phase = CompiledPhase(Phase("", config), Target.parse("gpu:h100:2"), compiled)
    found = AheadEstimate((phase,))
    hours = {"0.2": pytest.approx(0.5), "0.4": pytest.approx(0.25), "0.6": pytest.approx(1 / 6)}
    assert found.to_dict()["hours"] == hours
    text = "\n".join(found.lines())
    assert "device       2 x gpu:h100, compiled for, precision=bfloat16" in text
    assert "memory       42.00 GB of 85.00 GB of a device" in text
    assert "98.9 TFLOP of a device, 100 ms at its peak of 989 TFLOP/s" in text
    assert "time         30.0 minutes at 20%, 15.0 minutes at 40%" in text
    assert "does not fit" not in text
    too_large = phase._replace(compiled=compiled._replace(temporary=int(90e9)))
    assert "does not fit" in "\n".join(AheadEstimate((too_large,)).lines())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "cpu:4"}, "--for cpu has no known peak"),
        ({"target": "gpu:h100", "device": "cpu"}, "--for and --device exclude each other"),
    ],
)
def test_devices_that_cannot_be_estimated_are_refused(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Estimate(config="nano", **settings)  # type: ignore[arg-type]
