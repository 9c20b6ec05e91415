"""Settings: recipes, includes, overrides, types and errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.settings import build_settings, load_recipe, parse_overrides


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 4


@dataclasses.dataclass(frozen=True)
class Example:
    steps: int
    rate: float = 0.1
    name: str = "a"
    fast: bool = False
    kind: Literal["one", "two"] = "one"
    inner: Inner = Inner()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UserError("steps must not be negative")


def test_yaml_scientific_notation_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("steps: 1e6\nrate: 5e-4\n")
    values = load_recipe(str(path), kind="pretrain")
    assert values["rate"] == "5e-4"  # what YAML 1.1 gives
    built = build_settings(Example, values, where="r")
    assert built.rate == 5e-4
    assert built.steps == 1_000_000
    assert isinstance(built.steps, int)


def test_values_are_coerced_to_their_types() -> None:
    values = {"steps": "1_000", "fast": "yes", "kind": "two", "inner": {"width": "8"}, "limit": "3"}
    built = build_settings(Example, values, where="x")
    assert built == Example(1000, fast=True, kind="two", inner=Inner(8), limit=3)
    assert build_settings(Example, {"steps": 1, "limit": "none"}, where="x").limit is None


def test_large_whole_numbers_keep_their_last_digit() -> None:
    for value in ("9007199254740993", "9_007_199_254_740_993", 9007199254740993):
        assert build_settings(Example, {"steps": value}, where="x").steps == 9007199254740993


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "1.5"}, r"x: steps must be a whole number; received '1.5'"),
        ({"steps": True}, r"steps must be a whole number"),
        ({"steps": "inf"}, r"x: steps must be a whole number; received 'inf'"),
        ({"steps": "nan"}, r"x: steps must be a whole number; received 'nan'"),
        ({"steps": 1, "rate": "inf"}, r"x: rate must be a finite number; received 'inf'"),
        ({"steps": 1, "rate": float("nan")}, r"x: rate must be a finite number; received nan"),
        ({"steps": 1, "rate": 10**400}, r"x: rate must be a finite number; received 1000"),
        ({"steps": 1, "rate": "fast"}, r"x: rate must be a number; received 'fast'"),
        ({"steps": 1, "fast": "maybe"}, r"fast must be true or false; received 'maybe'"),
        ({"steps": 1, "kind": "tow"}, r'kind is "tow"; allowed: one, two. Did you mean "two"\?'),
        ({"steps": 1, "inner": {"widht": 1}}, r'inner: unknown setting "widht". Did you mean "wid'),
        ({"steps": 1, "rat": 1}, r'unknown setting "rat". Did you mean "rate"\?'),
        ({"rate": 1}, r"x: no value for steps"),
        ({"steps": -1}, r"x: steps must not be negative"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_settings(Example, values, where="x")


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


def test_include_circle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "b.yaml").write_text("include: a.yaml\n")
    with pytest.raises(UserError, match="circle"):
        load_recipe(str(tmp_path / "a.yaml"), kind="pretrain")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n- 2\n", "must be a mapping"),
        ("a: [1\n", "not valid YAML"),
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


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'"smal"\. Did you mean "small"\? Known: base, '):
        load_recipe("smal", kind="pretrain")


def test_missing_recipe_file() -> None:
    with pytest.raises(UsageError, match=r"No such recipe file: nowhere\.yaml"):
        load_recipe("nowhere.yaml", kind="pretrain")


def test_overrides_are_parsed() -> None:
    assert parse_overrides(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    for word in ("a", "=1"):
        with pytest.raises(UsageError, match="is not an override"):
            parse_overrides([word])
