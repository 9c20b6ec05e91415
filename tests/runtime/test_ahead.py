"""Steps compiled ahead of time: targets by name, the figures of a compiled step."""

from __future__ import annotations

import json

import jax
import pytest

from electra_zh.errors import UsageError, install_line
from electra_zh.pretraining.config import resolve
from electra_zh.pretraining.programs.compiling import made_up
from electra_zh.pretraining.programs.lower import lower_step
from electra_zh.pretraining.state import TrainState
from electra_zh.runtime import kernels
from electra_zh.runtime.ahead import Collectives, compile_for, find_collectives
from electra_zh.runtime.targets import CHIPS, Target
from support.runner import done, electra, with_changes

SMALL = (
    *("num_hidden_layers=1", "hidden_size=32", "embedding_size=16", "intermediate_size=64"),
    *("vocab_size=300", "train_batch_size=8", "max_seq_length=32"),
)


@pytest.mark.parametrize(
    ("text", "name", "shape"),
    [
        ("cpu", "cpu", (1,)),
        ("cpu:4", "cpu", (4,)),
        ("gpu:h100", "gpu:h100", (1,)),
        ("gpu:a100:8", "gpu:a100", (8,)),
        ("tpu:v5e", "tpu:v5e", (1, 1)),
        ("tpu:v5e:2x2", "tpu:v5e", (2, 2)),
        ("tpu:v4:2x2x1", "tpu:v4", (2, 2, 1)),
    ],
)
def test_a_target_is_named(text: str, name: str, shape: tuple[int, ...]) -> None:
    assert Target.parse(text) == (name, CHIPS[name], shape)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "--for gpu is unknown; allowed: cpu, gpu:h100"),
        ("gpu:h100:2x2", "write the devices of gpu:h100 as gpu:h100:8"),
        ("tpu:v5e:4", "write the devices of tpu:v5e as tpu:v5e:2x2"),
        ("cpu:0", "write the devices of cpu as cpu:8"),
        ("tpu:v5e:2x", "--for tpu:v5e:2x is unknown"),
    ],
)
def test_another_target_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Target.parse(text)


@pytest.mark.parametrize(
    "start", ["f32[8]{0}", "((f32[8]{0}), f32[8]{0})"], ids=["jax 0.10", "jax 0.11"]
)
def test_collectives_are_counted_with_their_bytes(start: str) -> None:
    text = f"""
      %a = (f32[2,3]{{1,0}}, f32[]) all-reduce(%x, %y), channel_id=1
      %b = (bf16[2]{{0}}, bf16[4]{{0}}) all-gather-start(%z), dimensions={{0}}
      %b.1 = bf16[4]{{0}} all-gather-done(%b)
      %c = {start} all-reduce-start(%w), channel_id=2
      %c.1 = f32[8]{{0}} all-reduce-done(%c)
      %d = f32[8]{{0}} add(%c.1, %c.1)
    """
    assert find_collectives(text) == {
        "all-reduce": Collectives(2, 4 * (6 + 1 + 8)),
        "all-gather": Collectives(1, 8),
    }


def _compile(target: str, *changes: str) -> dict[str, object]:
    words = ["compile", "--config", "nano", "--for", target, "--json", *SMALL]
    result = electra(*with_changes(words, *changes), fork=False)
    found: dict[str, object] = json.loads(done(result))
    return {**found, "log": result.stderr}


def _need_compiler(target: str) -> None:
    """Skips the test without the compiler of a target: one line of the report for all of them."""
    platform = target.partition(":")[0]
    module = {"gpu": "jax_plugins.xla_cuda13", "tpu": "libtpu"}[platform]
    pytest.importorskip(module, reason=f"needs the extra `{platform}`: {install_line(platform)}")


def test_a_recipe_is_compiled_for_cpu_devices() -> None:
    found = _compile("cpu:4")
    assert found["devices"] == 4
    assert set(found["collectives"]) == {"all-reduce"}  # type: ignore[call-overload]
    assert all(found[name] > 0 for name in ("state", "temporary", "flops"))  # type: ignore[operator]


def test_operations_are_divided_among_the_devices() -> None:
    """The update and the masks are on all devices; the networks are split."""
    config = resolve("nano", dict(word.split("=") for word in SMALL), vocab_size=300).settings
    program = lower_step(TrainState(config, made_up(300)))
    one, two, four = (
        compile_for("cpu", jax.devices("cpu")[:count], program).flops for count in (1, 2, 4)
    )
    assert 0.5 < two / one < 0.55
    assert 0.25 < four / one < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("target", ["gpu:h100", "gpu:h100:4", "tpu:v5e:2x2"])
def test_a_recipe_is_compiled_for_devices_that_are_not_there(target: str) -> None:
    _need_compiler(target)
    found = _compile(target)
    assert 0 < float(str(found["temporary"])) < float(str(found["capacity"]))
    assert float(str(found["flops"])) > 1e6
    assert "TPU" not in str(found["log"])  # libtpu looks for no hardware
    assert set(found["collectives"]) <= {"all-reduce"}  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["gpu:h100", "gpu:h100:2"])
@pytest.mark.parametrize("rate", [0, 0.1])
def test_kernels_are_compiled_for_devices_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, target: str, rate: float
) -> None:
    """Several devices exchange sums alone."""
    _need_compiler(target)
    monkeypatch.setenv(kernels.SWITCH, "1")
    rates = (f"{name}_dropout_prob={rate}" for name in ("hidden", "attention_probs"))
    found = _compile(target, "max_seq_length=64", "hidden_size=64", "num_hidden_layers=2", *rates)
    log = " ".join(str(found["log"]).split())
    assert "Kernels of the step: attention, attention_gradient, norm, norm_gradient." in log
    assert set(found["collectives"]) <= {"all-reduce"}  # type: ignore[call-overload]
