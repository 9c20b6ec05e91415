"""Conversion of plain values to declared types, and its errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest

from electra_zh.errors import UserError
from electra_zh.settings import build_settings, load_recipe


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
        ({"steps": 1e30}, r"steps must be a whole number below 2\^63; received 1e\+30"),
        ({"steps": "inf"}, r"x: steps must be a whole number; received 'inf'"),
        ({"steps": "nan"}, r"x: steps must be a whole number; received 'nan'"),
        ({"steps": 1, "rate": "inf"}, r"x: rate must be a finite number; received 'inf'"),
        ({"steps": 1, "rate": float("nan")}, r"x: rate must be a finite number; received nan"),
        ({"steps": 1, "rate": 10**400}, r"x: rate must be a finite number; received 1000"),
        ({"steps": 1, "rate": True}, r"x: rate must be a number; received True"),
        ({"steps": 1, "rate": "fast"}, r"x: rate must be a number; received 'fast'"),
        ({"steps": 1, "fast": "maybe"}, r"fast must be true or false; received 'maybe'"),
        ({"steps": 1, "kind": "tow"}, r'kind is "tow"; allowed: one, two. Did you mean "two"\?'),
        ({"steps": 1, "inner": {"widht": 1}}, r'inner: unknown setting "widht". Did you mean "wid'),
        ({"steps": 1, "rat": 1}, r'unknown setting "rat". Did you mean "rate"\?'),
        ({"steps": 1, "inner": {"x": 1}}, r'inner: unknown setting "x". Known: width$'),
        ({"rate": 1}, r"x: required settings are missing: steps"),
        ({"steps": -1}, r"x: steps must not be negative"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_settings(Example, values, where="x")


@pytest.mark.parametrize("values", [None, [], "steps", 3])
def test_values_that_are_no_mapping_are_refused(values: Any) -> None:
    with pytest.raises(UserError, match=r"^x: must be a mapping of `key: value`; received "):
        build_settings(Example, values, where="x")
