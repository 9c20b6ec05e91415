"""Recipes: shipped names, files, includes and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.settings import load_recipe


def test_included_recipe_is_overridden(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("steps: 1\nrate: 2\n")
    (tmp_path / "child.yaml").write_text("include: base.yaml\nrate: 3\n")
    assert load_recipe(str(tmp_path / "child.yaml"), kind="pretrain") == {
        "steps": 1,
        "rate": 3,
    }


def test_include_of_a_shipped_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: tiny\nmask_prob: 0.2\n")
    values = load_recipe(str(tmp_path / "mine.yaml"), kind="pretrain")
    assert values["model"] == "tiny"
    assert values["mask_prob"] == 0.2


@pytest.mark.parametrize("name", ["a.yaml", "./a.yaml", "../folder/a.yaml"])
def test_include_circle_is_an_error(tmp_path: Path, name: str) -> None:
    tmp_path = tmp_path / "folder"
    tmp_path.mkdir()
    (tmp_path / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "b.yaml").write_text(f"include: {name}\n")
    with pytest.raises(UserError, match="circular"):
        load_recipe(str(tmp_path / "a.yaml"), kind="pretrain")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "must be a mapping"),
        ("a: [1\n", r"not valid YAML: expected ',' or '\]', but got '<stream end>' \(line 2\)$"),
        ("kind：x\na: b\n", r'Line 1 has a full-width colon: write ":" and a space$'),
        ("[" * 5000, "not valid YAML: maximum recursion"),
        ("a: 2001-99-99\n", "not valid YAML: month must be"),
        ("a: !!timestamp x\n", "not valid YAML"),
        ("a: !!bool x\n", "not valid YAML"),
        ("a: !!python/name:os.system x\n", "not valid YAML: could not determine a constructor"),
        (f"a: {'9' * 5000}\n", "not valid YAML: Exceeds the limit"),
        ("a: 1\nb: 2\na: 3\n", 'line 3: "a" is given twice: remove one'),
        ("a: {b: 2, b: 3}\n", 'line 1: "b" is given twice: remove one'),
        ("a: 1\nb: 010\n", "line 2: YAML reads 010 in base 8: write it without its first 0"),
        ("a: [-0_7]\n", "line 1: YAML reads -0_7 in base 8"),
        ("a: 1:30\n", "line 1: YAML reads 1:30 in base 60: write the number, or put it in quotes"),
        ("a: 1:30.5\n", "line 1: YAML reads 1:30.5 in base 60"),
        # Ten aliases, each of ten of the one before it.
        (
            "a0: &a0 [x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11)),
            "not valid YAML: with its aliases it has over 100,000 values",
        ),
        ("a: &a [*a]\n", "not valid YAML: with its aliases it has over 100,000 values"),
        ("1: 2\n", "mapping"),
        ("include:\n", "`include` must be the name of a recipe or a list of names; received None"),
        ("include: 3\n", "`include` must be the name of a recipe or a list of names; received 3"),
        ("include: [tiny, 3]\n", r"a list of names; received \['tiny', 3\]"),
    ],
)
def test_bad_recipe_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_recipe(str(path), kind="pretrain")
    assert "\n" not in str(error.value)


def test_numbers_that_are_plain_or_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text('a: 0\nb: "010"\nc: 08\nd: 1_000\ne: 0.5\nf: 0x10\ng: "1:30"\n')
    expected = {"a": 0, "b": "010", "c": "08", "d": 1000, "e": 0.5, "f": 16, "g": "1:30"}
    assert load_recipe(str(path), kind="pretrain") == expected


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'"smal"\. Did you mean "small"\? Known: base, '):
        load_recipe("smal", kind="pretrain")


def test_missing_recipe_file() -> None:
    with pytest.raises(UsageError, match=r"No such recipe file: nowhere\.yaml"):
        load_recipe("nowhere.yaml", kind="pretrain")
