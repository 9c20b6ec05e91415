"""A BERT with whole word masking by the real commands, from its data to its conversion."""

from __future__ import annotations

import importlib.resources
import json
import shutil
from pathlib import Path

import pytest

from electra_zh.training import checkpoints
from support.runner import Job, done, electra, interrupted, refused, with_changes

BERT = [
    *("pretrain", "--config", "nano", "--data", "words", "--eval-data", "words/heldout"),
    *("electra_objective=false", "masking=whole_word", "optimizer=lamb", "learning_rate=3e-2"),
    *("mask_keep_prob=0.1", "mask_random_prob=0.1", "hidden_size=32", "embedding_size=32"),
    *("intermediate_size=64", "train_batch_size=8", "eval_batch_size=8", "num_train_steps=30"),
    *("num_warmup_steps=3", "log_steps=10", "save_checkpoints_steps=10"),
    *("initializer_range=0.02", "iterations_per_loop=5"),
]


@pytest.fixture(scope="module")
def place(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of words, and a run on it."""
    folder = tmp_path_factory.mktemp("masking")
    words = ["--output", "words", "--max-seq-length", "64", "--words", "jieba"]
    vocab = ["--vocab", str(job.vocab), "--holdout-every", "10"]
    done(electra("build-data", str(job.corpus), *vocab, *words, cwd=folder))
    shutil.copytree(job.data, folder / "data")
    done(electra(*BERT, "--output", "run", cwd=folder))
    return folder


def _metrics(run: Path, kind: str) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def _weights(run: Path) -> dict[str, bytes]:
    found = checkpoints.read(checkpoints.find(str(run / "checkpoints")))
    return {name: value.tobytes() for name, value in (found.model | found.optimizer).items()}


def test_it_learns(place: Path) -> None:
    losses = [line["masked_lm_loss"] for line in _metrics(place / "run", "eval")]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.1


def test_an_interrupted_run_is_the_same_bit_for_bit(place: Path) -> None:
    log = place / "stopped" / "metrics.jsonl"

    def has_metrics() -> bool:
        return log.exists() and log.stat().st_size > 0

    stopped = interrupted(*BERT, "--output", "stopped", cwd=place, when=has_metrics)
    assert stopped.returncode == 130
    done(electra(*BERT, "--output", "stopped", cwd=place))
    assert _weights(place / "stopped") == _weights(place / "run")


def test_evaluation_repeats(place: Path) -> None:
    found = json.loads(
        done(electra("evaluate", "run", "--data", "words/heldout", "--json", cwd=place))
    )
    last = _metrics(place / "run", "eval")[-1]
    assert found == {name: last[name] for name in found}


@pytest.mark.parametrize(
    "words",
    [
        with_changes([*BERT, "--output", "refused"], "--data", "data"),
        with_changes([*BERT, "--output", "refused"], "--eval-data", "data/heldout"),
        ["evaluate", "run", "--data", "data/heldout"],
    ],
    ids=["training", "held out", "evaluate"],
)
def test_data_without_words_is_refused_before_anything_is_written(
    place: Path, words: list[str]
) -> None:
    message = refused(electra(*words, cwd=place))
    assert "has no words (word_starts), which the run needs" in message
    assert not (place / "refused").exists()


def test_its_first_layer_starts_a_run_with_ngrams(place: Path) -> None:
    words = ["--init", "run", "--init-layers", "first:1", "masking=ngram", "num_train_steps=10"]
    result = electra(*with_changes(BERT, *words), "--output", "cut", cwd=place)
    done(result)
    assert "starts fresh" not in result.stderr
    saved = json.loads((place / "cut" / "config.json").read_text())
    assert saved["pretrain"]["model"]["num_hidden_layers"] == 1
    assert (saved["pretrain"]["masking"], saved["init"]["layers"]) == ("ngram", [0])


def test_it_is_fine_tuned_and_converted(place: Path) -> None:
    for name in ("topics.yaml", "topics_train.tsv", "topics_dev.tsv"):
        text = importlib.resources.files("electra_zh.sample").joinpath(name).read_bytes()
        (place / name).write_bytes(text)
    words = ["finetune", "--model", "run", "--task", "topics.yaml", "--data", "."]
    printed = done(electra(*words, "--output", "tuned", "num_train_epochs=1", cwd=place))
    assert "topics" in printed
    shown = done(electra("convert", "run", "--to", "huggingface", "--output", "hf", cwd=place))
    assert "hf: BertForMaskedLM" in shown
    assert json.loads((place / "hf" / "config.json").read_text())["model_type"] == "bert"
