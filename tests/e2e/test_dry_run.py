"""--dry-run by the real commands: the plan is printed, mistakes are found, nothing is written."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest

from support.runner import PRETRAIN, Job, done, electra


@pytest.fixture
def folder(job: Job, tmp_path: Path) -> Path:
    """A folder with the corpus, a task, and links to the data and the run of the job."""
    sample = importlib.resources.files("electra_zh.sample")
    for name in ("topics.yaml", "topics_train.tsv", "topics_dev.tsv"):
        (tmp_path / name).write_bytes(sample.joinpath(name).read_bytes())
    for name, path in (("data", job.data), ("run", job.run), ("vocab.txt", job.vocab)):
        (tmp_path / name).symlink_to(path)
    (tmp_path / "corpus.txt").write_bytes(job.corpus.read_bytes())
    return tmp_path


FINETUNE = ["finetune", "--model", "run", "--task", "topics.yaml", "--data", "."]


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        (["clean", "corpus.txt", "--output", "new"], "remove: lines under 5 characters"),
        (["build-data", "corpus.txt", "--vocab", "vocab.txt", "--output", "new"], "output: new"),
        ([*PRETRAIN, "--output", "new"], "training: 30 steps of 8 sequences"),
        ([*PRETRAIN, "--output", "run"], "run: run, resumes from"),
        ([*FINETUNE, "--output", "new", "--trials", "2"], "topics: 2 trials"),
    ],
)
def test_the_plan_is_printed_and_nothing_written(words: list[str], plan: str, folder: Path) -> None:
    before = _files(folder)
    printed = done(electra(*words, "--dry-run", cwd=folder))
    assert plan in printed
    assert printed.endswith("Dry run: nothing was written.\n")
    assert _files(folder) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clean", "missing.txt", "--output", "new"], "missing.txt"),
        (["build-data", "corpus.txt", "--vocab", "corpus.txt", "--output", "new"], "vocab"),
        ([*PRETRAIN, "--output", "new", "max_position_embeddings=32"], "max_seq_length must be at"),
        ([*FINETUNE, "--output", "new", "train_file=missing.tsv"], "missing.tsv"),
    ],
)
def test_mistakes_are_found(words: list[str], message: str, folder: Path) -> None:
    result = electra(*words, "--dry-run", cwd=folder)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert not (folder / "new").exists()


def _files(folder: Path) -> dict[str, int]:
    found = {}
    for start in (folder, folder / "data", folder / "run"):
        for path in start.rglob("*"):
            found[str(path.relative_to(folder))] = path.stat().st_mtime_ns
    return found
