"""configs: recipes and commands with values, origins and meanings; the reference page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.commands import configs
from electra_zh.errors import UsageError, UserError
from electra_zh.settings import recipe_names
from support.converting import make_run
from support.runner import done, electra

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", configs.PAGES)
def test_the_reference_pages_are_current(name: str) -> None:
    text = "\n".join(configs.PAGES[name]())
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_page_of_commands_has_every_file_of_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    text = "\n".join(configs.PAGES["commands"]())
    files = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {"config.json", "state.json"} <= files
    assert [name for name in files if name not in text] == []


@pytest.mark.parametrize("kind", ["pretrain", "model", "finetune"])
def test_every_recipe_is_shown(kind: str) -> None:
    for name in recipe_names(kind):
        rows = configs.list_settings(f"{kind}/{name}", {})
        assert all(row.meaning and row.origin for row in rows)


def test_values_have_origins() -> None:
    rows = {row.key: row for row in configs.list_settings("tiny", {"seed": "3"})}
    assert rows["seed"] == configs.Row("seed", 3, "command line", "random seed")


def test_the_command_prints_columns_and_json() -> None:
    lines = done(electra("configs", "tiny", "num_train_steps=7", fork=False)).splitlines()
    assert any(line.split()[:4] == ["num_train_steps", "7", "command", "line"] for line in lines)
    assert any(line.split()[:4] == ["train_batch_size", "128", "recipe", "tiny"] for line in lines)
    assert any(line.split()[:4] == ["model.hidden_size", "312", "model", "tiny"] for line in lines)
    assert any(line.split()[:3] == ["temperature", "1.0", "default"] for line in lines)
    shown = json.loads(done(electra("configs", "clean", "min_line=7", "--json")))
    assert shown["min_line"]["value"] == 7
    assert shown["min_line"]["origin"] == "command line"
    assert shown["output"]["value"] == "(required)"


def test_names_are_listed() -> None:
    names = [line.partition(":")[0] for line in done(electra("configs")).splitlines()]
    assert names == ["pretrain", "finetune", "model", "command"]
    assert list(json.loads(done(electra("configs", "--json")))) == names


def test_a_group_shows_its_tasks() -> None:
    (row,) = configs.list_settings("clue-reading", {})
    assert "cmrc2018" in row.value


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("smal", {}, r'no recipe or command "smal". Did you mean "small"\?'),
        ("tiny", {"masking": "none"}, 'masking is "none"; allowed: uniform'),
        ("clean", {"min_lin": "3"}, r'unknown setting "min_lin". Did you mean "min_line"\?'),
    ],
)
def test_mistakes(name: str, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        configs.list_settings(name, overrides)
    assert isinstance(error.value, UsageError)


def test_a_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("include: tiny\nmask_prob: 0.2\n")
    rows = {row.key: row for row in configs.list_settings(str(path), {})}
    assert (rows["mask_prob"].value, rows["mask_prob"].origin) == (0.2, f"recipe {path}")
    path.write_text("include: tnews\nmetric: macro_f1\n")
    rows = {row.key: row for row in configs.list_settings(str(path), {})}
    assert rows["metric"].value == "macro_f1"
