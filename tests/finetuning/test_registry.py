"""Tasks by name: loading, overriding, mistakes in task files."""

from __future__ import annotations

from pathlib import Path

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import registry

OWN = """
kind: classification
reader: json_lines
files: {train: train.json, dev: dev.json}
fields: {text_a: text}
labels: [yes, 0]
metric: accuracy
training: {num_train_epochs: 2}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return str(path)


def test_your_own_task_is_a_yaml_file(own: str) -> None:
    task = registry.load([own])[0]
    assert task.name == "own"
    assert task.labels.names == ("true", "0")
    assert task.files.train == ("train.json",)
    assert task.training.num_train_epochs == 2


def test_overrides_for_all_and_for_one(own: str) -> None:
    overrides = {"learning_rate": "1e-3", "afqmc.num_train_epochs": "7", "dev_file": "d.json"}
    first, second = registry.load([own, "afqmc"], overrides)
    assert (first.training.learning_rate, second.training.learning_rate) == (1e-3, 1e-3)
    assert first.training.num_train_epochs == 2
    assert second.training.num_train_epochs == 7
    assert second.files.dev == ("d.json",)
    assert registry.load([own], {"batch_size": "7"})[0].training.train_batch_size == 7


def test_published_scores_are_of_the_tasks_own_metric() -> None:
    assert registry.load(["tnews"], {"metric": "accuracy"})[0].published
    for key in ("metric", "tnews.metric"):
        first, second = registry.load(["tnews", "mrpc"], {key: "macro_f1"})
        assert (first.metric, first.published) == ("macro_f1", {})
        assert second.metric == ("f1" if "." in key else "macro_f1")


def test_a_group_is_its_tasks_each_once() -> None:
    names = [task.name for task in registry.load(["clue-classification", "afqmc"])]
    assert names == ["afqmc", "tnews", "iflytek", "cmnli", "ocnli", "cluewsc2020", "csl"]


@pytest.mark.parametrize(
    ("names", "overrides", "message"),
    [
        (["afqcm"], {}, 'Unknown task "afqcm". Did you mean "afqmc"?'),
        (["afqmc"], {"learning_rat": "1"}, 'unknown setting "learning_rat". Did you mean "learn'),
        (["afqmc"], {"tnews.seed": "1"}, '"tnews.seed": task "tnews" is not among those given'),
        (["afqmc"], {"seed": "x"}, "seed must be a whole number"),
        (["afqmc"], {"batch_size": "8", "train_batch_size": "9"}, "is given twice: remove"),
        (["afqmc"], {"head": "bert"}, 'head is "bert"; allowed: huggingface, reference'),
        (
            ["afqmc"],
            {"warmup_proportion": "2"},
            "warmup_proportion must be at least 0 and at",
        ),
        (["afqmc"], {"seed": "8388608"}, "seed must be at least 0 and below 8,388,608"),
        (["afqmc"], {"lr_decay_power": "-1"}, "lr_decay_power must be at least 0"),
        (["afqmc"], {"dropout": "1"}, "dropout must be at least 0 and below 1; received 1.0"),
        (["missing.yaml"], {}, "No such recipe file: missing.yaml"),
    ],
)
def test_mistakes_are_named(names: list[str], overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        registry.load(names, overrides)
    assert message in str(error.value)


def test_an_unknown_key_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN + "metrik: f1\n")
    with pytest.raises(UsageError, match=r'unknown setting "metrik". Did you mean "metric"'):
        registry.load([str(path)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("labels: [a, b, b]", 'duplicate label "b"'),
        ("labels: sport", "labels must be a list of names, their number, or the name of their fi"),
        ("labels: {names: [a], files: b}", 'unknown setting "labels.files". Did you mean'),
        ("labels: {names: [a, b], descriptions: [c]}", "1 descriptions for 2 labels"),
        ("name: a/b", 'name is "a/b"'),
        ("training: fast", "training must be a mapping of `key: value`; received 'fast'"),
        ("files: [a, b]", "files must be a mapping of `key: value`"),
    ],
)
def test_a_wrong_line_of_a_file_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    kept = [each for each in OWN.split("\n") if not each.startswith(line.partition(":")[0])]
    path.write_text("\n".join([*kept, line]) + "\n")
    with pytest.raises(UserError) as error:
        registry.load([str(path)], {"seed": "1", "dev_file": "x"})
    assert message in str(error.value)


@pytest.mark.parametrize("members", ["", "7", "clue", "[]"])
def test_a_group_without_a_list_is_refused(tmp_path: Path, members: str) -> None:
    path = tmp_path / "group.yaml"
    path.write_text(f"tasks: {members}\n")
    with pytest.raises(UserError, match="tasks must be a list of names"):
        registry.load([str(path)])


def test_two_tasks_of_one_name_are_refused(own: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "own.yaml"
    other.write_text(OWN)
    assert len(registry.load([own, own])) == 1
    with pytest.raises(UserError, match=r'other/own.yaml are both named "own"'):
        registry.load([own, str(other)])


def test_tasks_given_by_their_own_names(own: str) -> None:
    assert registry.own_names(["clue", own, "afqmc"]) == {"own", "afqmc"}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("labels: 3", ("0", "1", "2")),
        ("labels: {财经: 1, 体育: 0}", ("体育", "财经")),
        ("labels: {1: 财经, 0: 体育}", ("体育", "财经")),
        ("labels: [true, 0]", ("true", "0")),
    ],
)
def test_labels_may_be_a_number_or_a_map(tmp_path: Path, line: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "own.yaml"
    kept = [each for each in OWN.split("\n") if not each.startswith("labels")]
    path.write_text("\n".join([*kept, line]) + "\n", encoding="utf-8")
    assert registry.load([str(path)])[0].labels.names == names


def test_labels_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    kept = [each for each in OWN.split("\n") if not each.startswith("labels")]
    path.write_text("\n".join([*kept, "labels: label2id.json"]) + "\n")
    assert registry.load([str(path)])[0].labels.file == "label2id.json"
