"""The shipped tasks and groups: every YAML file loads, and says what a task must say."""

from __future__ import annotations

import importlib.resources

import pytest

from electra_zh.finetuning import registry
from electra_zh.finetuning.readers import READERS
from electra_zh.finetuning.readers.fields import Fields

CLASSIFICATION = {
    "afqmc": 2,
    "bq_corpus": 2,
    "chnsenticorp": 2,
    "cluewsc2020": 2,
    "cmnli": 3,
    "cola": 2,
    "csl": 2,
    "lcqmc": 2,
    "mnli": 3,
    "mrpc": 2,
    "ocnli": 3,
    "qnli": 2,
    "qqp": 2,
    "rte": 2,
    "sst2": 2,
    "xnli": 3,
}
# Labels are read from their file or from the training set.
OPEN = ("iflytek", "thucnews", "tnews")
REGRESSION = ("stsb", "stsb_zh")
METRICS = {
    "classification": {"accuracy", "f1", "macro_f1", "mcc"},
    "regression": {"spearman", "pearson"},
}
SIZES = {"tiny", "small", "small-ex", "base", "large"}


@pytest.mark.parametrize("name", registry.task_names())
def test_a_task_loads_and_is_complete(name: str) -> None:
    task = registry.load([name])[0]
    assert task.name == name
    assert task.title
    assert task.follows
    assert task.folders
    assert task.reader in READERS
    assert task.files.train or task.files.dev or task.files.test
    assert set(task.published) <= SIZES
    assert all(0 < score < 100 for row in task.published.values() for score in row.values())


@pytest.mark.parametrize("name", registry.task_names())
def test_a_task_file_says_what_it_is_before_anything(name: str) -> None:
    folder = importlib.resources.files("electra_zh.configs").joinpath("finetune")
    assert folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", [*CLASSIFICATION, *OPEN, *REGRESSION])
def test_tasks_of_texts_say_where_the_texts_are_and_how_they_are_scored(name: str) -> None:
    task = registry.load([name])[0]
    assert task.metric in METRICS[task.kind]
    assert task.files.train
    assert task.files.dev
    if task.reader != "wsc":
        Fields.of(task)


@pytest.mark.parametrize(("name", "labels"), CLASSIFICATION.items())
def test_labels_that_are_known_beforehand(name: str, labels: int) -> None:
    task = registry.load([name])[0]
    assert task.kind == "classification"
    assert len(task.labels.names) == labels


@pytest.mark.parametrize("name", REGRESSION)
def test_similarity_ranges_from_0_to_5(name: str) -> None:
    task = registry.load([name])[0]
    assert (task.kind, task.labels.names) == ("regression", ("0", "5"))
    assert task.double_unordered


@pytest.mark.parametrize("name", registry.group_names())
def test_a_group_resolves(name: str) -> None:
    assert registry.load([name])


def test_the_group_of_clue_is_its_parts_and_the_entities() -> None:
    names = [task.name for task in registry.load(["clue"])]
    parts = [task.name for task in registry.load(["clue-classification", "clue-reading"])]
    assert names == [*parts, "drcd", "cluener2020"]


def test_glue_is_without_wnli() -> None:
    names = [task.name for task in registry.load(["glue"])]
    assert names == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]


def test_the_largest_training_set_of_ocnli_comes_first() -> None:
    assert registry.load(["ocnli"])[0].files.train[:5] == (
        "train.50k.json",
        "train.30k.json",
        "train.10k.json",
        "train.3k.json",
        "train.1k.json",
    )


@pytest.mark.parametrize(
    ("name", "length", "batch", "epochs"),
    [
        ("afqmc", 128, 16, 3),
        ("tnews", 128, 16, 3),
        ("iflytek", 128, 32, 3),
        ("cmnli", 128, 64, 2),
        ("ocnli", 128, 32, 5),
        ("cluewsc2020", 128, 8, 50),
        ("csl", 256, 16, 10),
        ("rte", 128, 32, 10),
        ("lcqmc", 128, 32, 3),
    ],
)
def test_published_setups(name: str, length: int, batch: int, epochs: int) -> None:
    task = registry.load([name])[0]
    assert task.max_seq_length == length
    assert task.training.train_batch_size == batch
    assert task.training.num_train_epochs == epochs
