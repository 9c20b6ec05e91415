"""A SentencePiece model through the whole job, by the real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.piece_models import make_text
from support.runner import PRETRAIN, done, electra, refused
from support.task_files import copy_tasks

LEARN = (
    *("build-vocab", "corpus.txt", "--kind", "sentencepiece", "--size", "150"),
    *("--character-coverage", "1"),
)
BUILD = ("build-data", "corpus.txt", "--vocab")
QUICK = [
    *("max_seq_length=48", "bucket_by_length=false", "num_train_epochs=1", "train_batch_size=8"),
    *("eval_batch_size=8", "max_query_length=12", "doc_stride=16"),
]


def _pretrain(data: str) -> list[str]:
    """The words of a run on other data, without evaluation."""
    start = PRETRAIN.index("--eval-data")
    words = [*PRETRAIN[:start], *PRETRAIN[start + 2 :]]
    words[words.index("data")] = data
    return words


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a model and data."""
    folder = tmp_path_factory.mktemp("pieces")
    lines = make_text().split("\n")
    documents = ("\n".join(lines[start : start + 4]) for start in range(0, len(lines), 4))
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    shown = electra(*LEARN, "--output", "pieces.model", cwd=folder)
    assert "pieces.model: 150 pieces" in done(shown)
    assert "training 150 pieces (unigram) on 300 of 300 sentences" in shown.stderr
    build = ["--vocab", "pieces.model", "--output", "data", "--max-seq-length", "64"]
    done(electra("build-data", "corpus.txt", *build, "--holdout-every", "10", cwd=folder))
    return folder


@pytest.fixture(scope="module")
def folder(built: Path) -> Path:
    """The same with a run of 30 steps."""
    done(electra(*PRETRAIN, "--output", "run", cwd=built))
    return built


def test_run_and_data_contain_the_model(folder: Path) -> None:
    model = (folder / "pieces.model").read_bytes()
    for place in ("data", "data/heldout", "run"):
        assert (folder / place / "spm.model").read_bytes() == model
        assert not (folder / place / "vocab.txt").exists()


def test_masks_are_filled_and_tokens_shown(folder: Path) -> None:
    text = "中华人民共和国[MASK]，我们"
    (line,) = done(electra("fill-mask", "run", "--json", text, cwd=folder)).strip().split("\n")
    assert len(json.loads(line)["fills"]) == 1
    (line,) = done(electra("detect", "run", "--json", "人工智能的研究", cwd=folder)).split("\n")[:1]
    assert json.loads(line)["tokens"] == ["人工智能", "的", "研究"]


def test_a_run_resumes_only_with_its_own_model(folder: Path) -> None:
    done(electra(*PRETRAIN, "--output", "run", cwd=folder))
    done(electra(*LEARN, "--model-type", "bpe", "--output", "bpe.model", cwd=folder))
    build = ["--vocab", "bpe.model", "--output", "other", "--max-seq-length", "64"]
    done(electra("build-data", "corpus.txt", *build, cwd=folder))
    line = refused(electra(*_pretrain("other"), "--output", "run", cwd=folder))
    assert "another vocabulary than that of the data" in line


def test_fine_tuning_predictions_and_transformers(folder: Path) -> None:
    copy_tasks(folder / "clue", "cluener", "cmrc2018")
    task = ["--task", "cluener2020,cmrc2018", "--data", "clue", "--output", "tuned"]
    done(electra("finetune", "--model", "run", *task, *QUICK, cwd=folder))
    predicted = ["--model", "tuned/cluener2020", "--input", "clue/cluener/test.json"]
    if not (folder / "clue" / "cluener").exists():
        predicted[3] = str(next(path for path in folder.glob("clue/clue*/test.json")))
    done(electra("predict", *predicted, "--output", "tags.jsonl", cwd=folder))
    assert len((folder / "tags.jsonl").read_text("utf-8").split("\n")) == 6 + 1
    convert = ["convert", "tuned/cluener2020/model", "--to", "huggingface", "--output", "hf"]
    done(electra(*convert, cwd=folder))
    names = {path.name for path in (folder / "hf").iterdir()}
    assert {"spm.model", "tokenizer.json", "tokenizer_config.json"} <= names
    assert "vocab.txt" not in names


def test_a_run_of_word_pieces_starts_from_one_of_sentencepiece(folder: Path) -> None:
    done(electra("build-vocab", "corpus.txt", "--size", "400", "--output", "v.txt", cwd=folder))
    build = ["--vocab", "v.txt", "--output", "words", "--max-seq-length", "64"]
    done(electra("build-data", "corpus.txt", *build, cwd=folder))
    result = electra(*_pretrain("words"), "--output", "from", "--init", "run", cwd=folder)
    done(result)
    assert "tokens: " in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([*LEARN, "--output", "pieces.model"], 1, "pieces.model exists; --overwrite"),
        ([*LEARN[:-3], "20", "--output", "x"], 1, "A model of 20 pieces is too small"),
        ([*LEARN[:-1], "0.5", "--output", "x"], 2, "must be at least 0.98 and at most 1"),
        (
            [*LEARN, "--sentences", "0", "--output", "x"],
            2,
            "sentences must be at least 1; received 0",
        ),
        ([*LEARN, "--model-type", "word", "--output", "x"], 2, 'model_type is "word"; allowed'),
        (["build-vocab", "corpus.txt", "--kind", "pieces", "--output", "x"], 2, "sentencepiece"),
        (
            ["build-vocab", "corpus.txt", "--byte-fallback", "--output", "x"],
            2,
            "byte_fallback applies to kind sentencepiece only; kind is wordpiece",
        ),
        (
            [*BUILD, "pieces.model", "--map-punctuation", "--output", "x"],
            1,
            "The SentencePiece model determines how text is normalised",
        ),
        (
            [*BUILD, "data/manifest.json", "--output", "x"],
            1,
            "data/manifest.json is not a vocabulary",
        ),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    built: Path, words: list[str], code: int, message: str
) -> None:
    assert message in refused(electra(*words, cwd=built), code=code)
    assert not (built / "x").exists()
