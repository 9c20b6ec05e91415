"""Pretraining on devices of JAX: the same run as on TensorFlow's CPU, resumed both ways."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from support.runner import PRETRAIN, Job, done, electra, refused, with_changes


def _losses(run: Path) -> tuple[dict[int, float], dict[int, float]]:
    """Training losses of the generator, and evaluation losses of both networks.

    Where rounding changes one sampled token, the discriminator's training loss jumps.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = {line["step"]: line["gen_loss"] for line in lines if line["kind"] == "train"}
    return trained, {line["step"]: line["loss"] for line in lines if line["kind"] == "eval"}


def _assert_losses(run: Path, expected: tuple[dict[int, float], dict[int, float]]) -> None:
    trained, evaluated = _losses(run)
    assert trained == pytest.approx(expected[0], rel=1e-3)
    assert evaluated == pytest.approx(expected[1], rel=5e-3)


def _evaluations(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    names = ("step", "loss", "masked_lm_loss", "disc_loss", "disc_auc_real")
    found = [line for line in lines if line["kind"] == "eval"]
    return [{name: line[name] for name in names if name in line} for line in found]


def _generator(run: Path) -> dict[str, np.ndarray]:
    """Returns the weights of the newest generator of a run."""
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name[5:]))
    weights = load_file(newest / "model.safetensors")
    names = ("generator/", "masked_lm_head/")
    return {name: value for name, value in weights.items() if name.startswith(names)}


def _forget(run: Path, *steps: int) -> None:
    for step in steps:
        shutil.rmtree(run / "checkpoints" / f"ckpt-{step}")


def test_a_run_moves_between_tensorflow_and_devices(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(job.run, run)
    expected = _losses(run)
    _forget(run, 20, 30)
    words = ["pretrain", "--data", str(job.data), "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
        resumed = electra(*words, "--device", "pjrt:cpu", "--devices", "2", fork=False)
    done(resumed)
    assert "Resuming from step 10" in resumed.stderr
    assert "Device: 2 x cpu (cpu, JAX)." in resumed.stderr
    _assert_losses(run, expected)
    on_devices = _losses(run)
    _forget(run, 30)
    done(electra(*words, "--device", "cpu"))
    _assert_losses(run, on_devices)


@pytest.mark.slow
def test_200_steps_on_tensorflow_devices_and_tensorflow_again(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    # In bfloat16, the default on some CPUs, TensorFlow and devices drift apart in 200 steps.
    steps = ("num_train_steps=200", "keep_checkpoint_max=20", "precision=float32")
    settings = with_changes(PRETRAIN, *steps)
    done(electra(*settings, "--output", str(whole), cwd=job.folder))
    shutil.copytree(whole, run)
    _forget(run, *range(70, 201, 10))
    words = ["pretrain", "--data", str(job.data), "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
        resumed = electra(*words, "--device", "pjrt:cpu", fork=False)
    done(resumed)
    assert "Resuming from step 60" in resumed.stderr
    _forget(run, *range(140, 201, 10))
    assert "Resuming from step 130" in electra(*words, "--device", "cpu").stderr
    ours, theirs = (
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
        for each in (run, whole)
    )
    names = ("step", "kind", "tokens", "learning_rate")
    assert [[line[name] for name in names] for line in ours] == [
        [line[name] for name in names] for line in theirs
    ]
    for mine, other in zip(ours, theirs, strict=True):
        # Roundings differ, and a sampled token at a boundary with them.
        assert mine["loss"] == pytest.approx(other["loss"], rel=5e-3), mine["step"]


# The command line of a machine on which TensorFlow is not installed.
WITHOUT_TENSORFLOW = "import sys; sys.modules['tensorflow'] = None; from electra_zh import cli; "
WITHOUT_TENSORFLOW += "cli.main()"


def _without_tensorflow(*words: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_an_exported_step_trains_without_tensorflow(job: Job, tmp_path: Path) -> None:
    program, run, expected = str(tmp_path / "program"), tmp_path / "run", tmp_path / "expected"
    # The job's own run is in bfloat16 on some CPUs.
    for command, output in (("export-step", program), ("pretrain", str(expected))):
        words = [command, *PRETRAIN[1:], "precision=float32", "--output", output]
        done(electra(*words, cwd=job.folder))
    words = ["pretrain", "--program", program, "--data", str(job.data), "--output", str(run)]
    # What a run leaves that ended before its first checkpoint.
    run.mkdir()
    shutil.copy(f"{program}/config.json", run)
    _without_tensorflow(*words)
    _assert_losses(run, _losses(expected))
    _forget(run, 30)
    assert "Resuming from step 20" in _without_tensorflow(*words)
    _assert_losses(run, _losses(expected))
    for ours, theirs in zip(_evaluations(run), _evaluations(expected), strict=True):
        assert ours == pytest.approx(theirs, rel=5e-3)
    # The same weights: only a token that is sampled at a boundary may differ.
    evaluate = ["evaluate", str(run), "--data", str(job.heldout), "--json"]
    found = json.loads(done(electra(*evaluate, "--device", "cpu")))
    last = _evaluations(run)[-1]
    assert last["masked_lm_loss"] == pytest.approx(found["masked_lm_loss"], rel=1e-5)
    assert last["loss"] == pytest.approx(found["loss"], rel=1e-3)
    on_device = json.loads(done(electra(*evaluate, "--device", "pjrt:cpu", fork=False)))
    assert on_device["loss"] == pytest.approx(last["loss"], rel=1e-6)
    assert "--init and --program exclude" in refused(electra(*words, "--init", "x"), code=2)


@pytest.mark.slow
@pytest.mark.parametrize("has_generator", [False, True])
def test_exported_phases_train_without_tensorflow(
    job: Job, tmp_path: Path, has_generator: bool
) -> None:
    """Also with a generator of another model from the second phase on, whose files are gone."""
    recipe, program, run = tmp_path / "recipe.yaml", str(tmp_path / "program"), tmp_path / "run"
    recipe.write_text(
        "include: nano\nphases:\n"
        "  - {name: short, num_train_steps: 10, max_seq_length: 32, objective: masked_lm}\n"
        "  - {name: long, num_train_steps: 10, num_warmup_steps: 0}\n"
    )
    words = with_changes(PRETRAIN[1:], "--config", str(recipe), "--output", program)
    words = [word for word in words if "max_seq_length" not in word and "steps=30" not in word]
    source = tmp_path / "generator"
    if has_generator:
        shutil.copytree(job.run, source)
        words += ["--generator", str(source)]
    done(electra("export-step", *words, "precision=float32", cwd=job.folder))
    shutil.rmtree(source, ignore_errors=True)
    told = _without_tensorflow(
        *("pretrain", "--program", program, "--data", str(job.data), "--output", str(run))
    )
    assert "phase long begins with the weights of step 10:" in told
    assert (f"generator: {source}, pretraining run" in told) == has_generator
    found, expected = (_generator(each) for each in (run, job.run))
    for name in expected if has_generator else ():
        np.testing.assert_array_equal(found[name], expected[name])
    assert [line["step"] for line in _evaluations(run)] == [10, 20]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["ckpt-10", "ckpt-20"]


def test_devices_that_are_missing_are_refused(job: Job, tmp_path: Path) -> None:
    words = ["pretrain", "--data", str(job.data), "--output", str(tmp_path / "run")]
    words += ["--config", "nano"]
    for flags, code, message in (
        (["--device", "cpu", "--devices", "2"], 1, "--devices is 2, but there is no accelerator"),
        (["--tpu", "--device", "gpu"], 2, "--tpu and --device gpu exclude each other"),
        (["--tpu"], 1, "JAX finds no tpu"),
    ):
        assert message in refused(electra(*words, *flags), code=code)
    assert not (tmp_path / "run").exists()


SETTINGS = [word for word in PRETRAIN if "=" in word]


def test_a_compiled_step_is_kept_and_used(job: Job, tmp_path: Path) -> None:
    kept, run = str(tmp_path / "kept"), tmp_path / "run"
    words = ["--config", "nano", "--data", str(job.data), *SETTINGS]
    text = done(electra("compile", "--for", "cpu:1", *words, "--output", kept, fork=False))
    assert "compiled in" in text
    words += ["--output", str(run), "--device", "pjrt:cpu", "--compiled", kept]
    first = electra("pretrain", *words, fork=False)
    done(first)
    assert f"Using the compiled step in {kept}." in first.stderr
    assert "Compiling the step." not in first.stderr
    assert _losses(run)[0] == pytest.approx(_losses(job.run)[0], rel=1e-3)  # without evaluations
    _forget(run, 30)
    changed = electra("pretrain", *words, "recompute=layers", fork=False)
    done(changed)
    assert f"The compiled step in {kept} is not used: it is another step" in changed.stderr
    assert "Compiling the step." in changed.stderr
    assert _losses(run)[0] == pytest.approx(_losses(job.run)[0], rel=1e-3)  # without evaluations
    _forget(run, 30)
    # It is code: others must not have written it.
    Path(kept, "step.executable").chmod(0o646)
    assert "all may write to it" in refused(electra("pretrain", *words, fork=False))
    Path(kept, "step.executable").chmod(0o644)
    Path(kept, "step.executable").write_bytes(b"x")
    assert "does not match its checksum" in refused(electra("pretrain", *words, fork=False))


def test_the_batch_that_fits_is_chosen_and_kept(job: Job, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["pretrain", "--config", "nano", "--data", str(job.data), "--output", str(run)]
    words += with_changes(SETTINGS, "train_batch_size=auto", "num_train_steps=2")
    auto = [*words, "--device", "pjrt:cpu"]
    result = electra(*auto, "device_memory_gb=0.04", fork=False)
    done(result)
    tried = dict(re.findall(r"auto: (\d+) sequences: ([\d.]+) GB", result.stderr))
    chosen = json.loads((run / "config.json").read_text())["pretrain"]["train_batch_size"]
    assert float(tried[str(chosen)]) <= 0.038 < float(tried.get(str(2 * chosen), "inf"))
    assert f"train_batch_size=auto is {chosen}" in result.stderr
    # Another memory does not change the run.
    again = electra(*auto, "device_memory_gb=0.5", "--dry-run")
    assert f"2 steps of {chosen} sequences" in done(again)
    message = "train_batch_size=auto is for devices of JAX"
    assert message in refused(electra(*with_changes(words, f"--output={run}2")), code=2)
