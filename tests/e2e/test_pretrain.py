"""Pretraining by the real command: its files, resuming and continuing, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from electra_zh.pretraining import folder
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.running import driver
from electra_zh.training import checkpoints
from support.runner import PRETRAIN, Job, done, electra, interrupted, refused, with_changes


def _newest(run: Path) -> str:
    return checkpoints.find(str(run / "checkpoints"))


def _weights(run: Path) -> dict[str, np.ndarray]:
    """Returns every tensor of a run's newest checkpoint."""
    found = checkpoints.read(_newest(run))
    return {**found.model, **found.optimizer}


def _metrics(run: Path, kind: str) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def test_the_files_of_a_run(job: Job) -> None:
    names = {path.name for path in job.run.iterdir()}
    assert names == {"config.json", "vocab.txt", "checkpoints", "metrics.jsonl", "tensorboard"} | {
        ".lock"
    }
    assert [line["step"] for line in _metrics(job.run, "train")] == [10, 20, 30]
    assert [line["step"] for line in _metrics(job.run, "eval")] == [10, 20, 30]
    assert [line["tokens"] for line in _metrics(job.run, "train")] == [5120, 10240, 15360]
    assert _metrics(job.run, "train")[0]["learning_rate"] == pytest.approx(1e-3 * 2 / 3)
    assert (job.run / "vocab.txt").read_bytes() == (job.data / "vocab.txt").read_bytes()
    kept = sorted(path.name for path in (job.run / "checkpoints").iterdir())
    assert kept == ["ckpt-10", "ckpt-20", "ckpt-30"]
    state = json.loads((job.run / "checkpoints" / "ckpt-20" / "state.json").read_text())
    assert (state["step"], state["optimizer_step"]) == (20, 20)
    assert state["data"]["examples_read"] == 160
    assert state["data"]["epoch"] * state["data"]["examples"] < 160
    assert state["settings"]["train_batch_size"] == 8


def test_the_loss_falls(job: Job) -> None:
    losses = [line["gen_loss"] for line in _metrics(job.run, "train")]
    assert losses[-1] < losses[0] - 0.1


def _interrupted(job: Job, run: str) -> int:
    """Starts or resumes a run, interrupts it at its first metrics and returns its exit code."""
    log = job.folder / run / "metrics.jsonl"
    before = log.read_text() if log.exists() else ""

    def has_metrics() -> bool:
        return log.exists() and log.read_text() != before

    result = interrupted(*PRETRAIN, "--output", run, cwd=job.folder, when=has_metrics)
    if result.returncode == 130:
        assert "Interrupted. Saved at step" in result.stderr
    return result.returncode


def test_an_interrupted_run_is_the_same_bit_for_bit(job: Job) -> None:
    codes = [_interrupted(job, "stopped"), _interrupted(job, "stopped")]
    assert codes[0] == 130
    result = electra(*PRETRAIN, "--output", "stopped", cwd=job.folder)
    done(result)
    whole, stopped = _weights(job.run), _weights(job.folder / "stopped")
    assert whole.keys() == stopped.keys()
    different = [name for name in whole if whole[name].tobytes() != stopped[name].tobytes()]
    assert different == []
    whole_lines, lines = (
        [{key: line[key] for key in line.keys() - {"time", "seconds"}} for line in each]
        for each in (_metrics(job.run, "eval"), _metrics(job.folder / "stopped", "eval"))
    )
    assert whole_lines == lines


def test_a_finished_run_says_so(job: Job) -> None:
    before = _weights(job.run)
    result = electra("pretrain", "--data", "data", "--output", "run", cwd=job.folder)
    done(result)
    assert "is finished: it has done its 30 steps" in result.stderr
    assert _weights(job.run).keys() == before.keys()


def test_a_finished_run_says_so_without_tensorflow(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: lines.append(text % values))
    output = tmp_path / "run"
    shutil.copytree(job.run, output)
    request = PretrainRequest(str(output), (str(job.data),))
    found = folder.load(str(output))
    assert driver.is_finished(found, request)
    assert lines == [f"The run in {output} is finished: it has done its 30 steps."]
    last, log = output / "checkpoints" / "ckpt-30", output / "metrics.jsonl"
    kept = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in kept if not ('"step": 30' in line and "eval" in line)))
    assert not driver.is_finished(found, request)  # a signal ended its last evaluation
    log.write_text("".join(kept))
    (last / "model.safetensors").write_bytes(b"damaged")
    assert not driver.is_finished(found, request)
    shutil.rmtree(last)
    assert not driver.is_finished(found, request)
    assert len(lines) == 1


def test_a_run_continues_with_the_optimizer_of_another(job: Job) -> None:
    changes = ["--output", "longer", "num_train_steps=40", "learning_rate=5e-4"]
    words = with_changes([*PRETRAIN, "--init", "run", "--keep-optimizer"], *changes)
    result = electra(*words, cwd=job.folder)
    done(result)
    assert "optimizer: the source's moments of the gradients" in result.stderr
    saved = job.folder / "longer" / "checkpoints"
    first, source = (checkpoints.read(str(each)) for each in (saved / "ckpt-0", _newest(job.run)))
    for kind in ("model", "optimizer"):
        old, new = getattr(source, kind), getattr(first, kind)
        assert old.keys() == new.keys()
        assert [name for name in old if old[name].tobytes() != new[name].tobytes()] == []
    state = json.loads((saved / "ckpt-40" / "state.json").read_text())
    assert (state["step"], state["optimizer_step"]) == (40, 40)
    assert json.loads((job.folder / "longer" / "config.json").read_text())["init"]["keep_optimizer"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "No such data folder: nowhere"),
        (["max_seq_length=128"], "sequences of length 64, the run asks for 128"),
        (["vocab_size=99"], "vocab_size is 99 but the data's vocabulary has"),
        (["--output", "run", "learning_rate=1"], "was started with learning_rate 0.001 (now 1.0)"),
        (["--output", "run", "num_train_steps=40"], "--init run --keep-optimizer continues"),
        (["--output", "data"], "data exists and is not a run's folder"),
        (["--eval-data", "nowhere"], "No such data folder: nowhere"),
    ],
)
def test_a_misfit_is_refused_before_anything_is_written(
    job: Job, words: list[str], message: str
) -> None:
    before = sorted(job.folder.rglob("*"))
    command = with_changes([*PRETRAIN, "--output", "refused"], *words)
    result = electra(*command, cwd=job.folder)
    assert message in refused(result)
    assert sorted(job.folder.rglob("*")) == before


def test_damaged_shards_are_named(job: Job, tmp_path: Path) -> None:
    shutil.copytree(job.data, tmp_path / "data")
    shard = next((tmp_path / "data").glob("pretrain_data*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    result = electra(*PRETRAIN, "--output", "run", cwd=tmp_path)
    assert "it was truncated or replaced" in refused(result)


def test_damaged_records_are_skipped_and_counted_when_asked(job: Job, tmp_path: Path) -> None:
    shutil.copytree(job.data, tmp_path / "data")
    shard = min((tmp_path / "data").glob("pretrain_data*"))
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    words = with_changes(PRETRAIN, "--output", "run", "num_train_steps=4")
    assert f"Damaged data: record 0 (byte 0) of {Path('data', shard.name)}" in refused(
        electra(*words, cwd=tmp_path)
    )
    result = electra(*words, "--skip-corrupt", cwd=tmp_path)
    done(result)
    assert "1 damaged record skipped, in 1 shard" in result.stderr


def test_evaluate_repeats_the_last_evaluation_of_the_run(job: Job) -> None:
    words = ["evaluate", "run", "--data", "data/heldout", "--json"]
    found = json.loads(done(electra(*words, cwd=job.folder, fork=False)))
    last = _metrics(job.run, "eval")[-1]
    assert found == {name: last[name] for name in found}
    assert set(found) == {
        *("disc_accuracy", "disc_auc", "disc_auc_real", "disc_loss", "disc_precision"),
        *("disc_recall", "loss", "masked_lm_accuracy", "masked_lm_loss"),
        *("sampled_masked_lm_accuracy", "unigram_entropy", "masked_lm_gain", "copy_accuracy"),
        *("disc_auc_tokens", "effective_rank", "neighbour_attention"),
        *("generator_effective_rank", "generator_neighbour_attention"),
    }


def test_fill_mask_and_detect(job: Job) -> None:
    words = ["fill-mask", "run", "--json", "--top", "3", "他把[MASK]放在[MASK]上。", "[MASK]"]
    shown = done(electra(*words, cwd=job.folder, fork=False))
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [len(line["fills"]) for line in lines] == [2, 1]
    for slot in lines[0]["fills"]:
        probabilities = [fill["probability"] for fill in slot]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
    text = "今天天气很好。\n\n明天呢？\n".encode()
    shown = done(electra("detect", "run", "--json", cwd=job.folder, stdin=text))
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line["text"] for line in lines] == ["今天天气很好。", "明天呢？"]
    for line in lines:
        assert len(line["tokens"]) == len(line["probabilities"])
        assert all(0 <= probability <= 1 for probability in line["probabilities"])
    result = electra("detect", "run", "一。", "长" * 200, "长" * 300, cwd=job.folder)
    done(result)
    (line,) = (line for line in result.stderr.splitlines() if "positions are untrained" in line)
    assert "A sentence has 202 tokens, the run was trained with at most" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fill-mask", "run", "没有"], 'There is no [MASK] in "没有"'),
        (["fill-mask", "run", "--top", "0", "[MASK]"], "top must be at least 1; received 0"),
        (["fill-mask", "data", "[MASK]"], "data is not the folder of a pretraining run"),
        (["detect", "run", "--checkpoint", "7", "一"], "Available: 10, 20, 30"),
        (["detect", "run", "长" * 600], "A sentence has 602 tokens; at most 512 are possible"),
        (["evaluate", "run", "--data", "nowhere"], "No such data folder: nowhere"),
        (["evaluate", "run", "--data", "data", "--batches", "-1"], "batches must be at least 0"),
    ],
)
def test_a_wrong_call_is_refused(job: Job, words: list[str], message: str) -> None:
    code = 2 if "must be at least" in message else 1
    assert message in refused(electra(*words, cwd=job.folder), code=code)
