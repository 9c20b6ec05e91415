"""One small job, run once by the real commands, that the end-to-end tests look at."""

from __future__ import annotations

import importlib.resources

import pytest

from support.runner import PRETRAIN, Job, done, electra


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Vocabulary, data, held-out data and a run of 30 steps from the sample corpus."""
    folder = tmp_path_factory.mktemp("job")
    names = ("corpus.txt", "vocab.txt", "data", "data/heldout", "run")
    made = Job(folder, *(folder / name for name in names))
    sample = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    made.corpus.write_bytes(sample.read_bytes())

    def run(*words: str) -> None:
        done(electra(*words, cwd=folder, fork=False))

    run("build-vocab", "corpus.txt", "--output", "vocab.txt", "--size", "2000")
    build = ["--vocab", "vocab.txt", "--output", "data", "--max-seq-length", "64"]
    run("build-data", "corpus.txt", *build, "--holdout-every", "10")
    run(*PRETRAIN, "--output", "run")
    return made
