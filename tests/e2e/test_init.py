"""`pretrain --init` by the real command: another vocabulary, fewer layers, resuming without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert.source import open_source
from support.converting import make_run, make_vocabulary
from support.runner import Job, done, electra, interrupted, refused, with_changes

# Takes the size and the generator of a source of 2 layers, without its second layer.
WORDS = [
    *("pretrain", "--config", "nano", "--data", "data", "--init", "old"),
    *("--init-layers", "first:1", "model=source", "max_position_embeddings=64"),
    *("train_batch_size=4", "num_train_steps=40", "num_warmup_steps=5", "log_steps=10"),
    *("save_checkpoints_steps=20", "iterations_per_loop=10"),
]


@pytest.fixture(scope="module")
def place(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a source of another vocabulary, and the run that starts from it."""
    folder = tmp_path_factory.mktemp("init")
    shutil.copytree(job.data, folder / "data")
    make_run(folder / "old", generator_layers=1.0)
    result = electra(*WORDS, "--output", "new", cwd=folder)
    done(result)
    (folder / "new.log").write_text(result.stderr)
    return folder


def test_the_log_names_the_source_and_its_layers(place: Path) -> None:
    log = (place / "new.log").read_text()
    rows = [line.split()[-4:] for line in log.splitlines() if "layers  " in line]
    assert rows == [["layers", "16", "0", "0"]]
    for line in (
        "old: pretraining run, 1 layer of 16",
        "layers: 0 of the source's",
        "positions: 16 are the source's; the other 48 start as copies of them",
        "suggested (not applied): learning_rate=",
        "New run: ",
    ):
        assert line in log
    assert "starts fresh" not in log
    saved = json.loads((place / "new" / "config.json").read_text())
    assert saved["init"]["source"] == "old"
    assert saved["init"]["layers"] == [0]
    assert saved["init"]["step"] == 7
    assert saved["pretrain"]["model"]["hidden_size"] == 16
    assert saved["pretrain"]["model"]["num_hidden_layers"] == 1


def test_the_run_starts_with_the_weights_of_the_source(place: Path) -> None:
    old, new = open_source(str(place / "old")), open_source(str(place / "new"), checkpoint=0)
    assert old.vocabulary is not None
    assert new.vocabulary is not None
    name = "encoder/layers/0/attention/query/kernel"
    assert np.array_equal(old.tensors[name], new.tensors[name])
    shared = [token for token in make_vocabulary().tokens if token in new.vocabulary.ids]
    assert 20 < len(shared) < old.vocabulary.size
    for name in ("encoder/embeddings/word_embeddings", "masked_lm_head/output_bias"):
        found = new.tensors[name][[new.vocabulary.ids[token] for token in shared]]
        expected = old.tensors[name][[old.vocabulary.ids[token] for token in shared]]
        assert np.array_equal(found, expected)
    assert open_source(str(place / "new")).step == 40


def test_an_interrupted_run_resumes_without_the_source_bit_for_bit(place: Path) -> None:
    # The first weights are saved before the first step.
    saved = place / "stopped" / "checkpoints" / "ckpt-0"
    stopped = interrupted(*WORDS, "--output", "stopped", cwd=place, when=saved.exists)
    assert stopped.returncode == 130
    (place / "old").rename(place / "gone")
    try:
        result = electra(*WORDS, "--output", "stopped", cwd=place)
    finally:
        (place / "gone").rename(place / "old")
    done(result)
    whole, resumed = (open_source(str(place / name)) for name in ("new", "stopped"))
    assert (whole.step, resumed.step) == (40, 40)
    different = [
        name
        for name, value in whole.tensors.items()
        if value.tobytes() != resumed.tensors[name].tobytes()
    ]
    assert different == []


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--output", "new", "--init", "data"], "was started with --init old --init-layers 0", 1),
        (["--output", "x", "--init", "nowhere"], "--init nowhere does not exist", 1),
        (["--output", "x", "--init-layers", "0,2"], "layers 0 to 1; there is no layer 2", 1),
        (["--output", "x", "--init-layers", "top"], "allowed: first:3, or numbers", 2),
        (["--output", "x", "hidden_size=32"], "is [8, 16] in old and [8, 32] in this run", 1),
    ],
)
def test_a_misfit_is_refused_before_anything_is_written(
    place: Path, words: list[str], message: str, code: int
) -> None:
    before = sorted(place.rglob("*"))
    assert message in refused(electra(*with_changes(WORDS, *words), cwd=place), code=code)
    assert sorted(place.rglob("*")) == before
