"""Settings: frozen dataclasses, filled from YAML recipes and `key=value` overrides.

A recipe is a YAML mapping. `include: NAME` (or a list) starts from other recipes; later keys win.
A value is coerced by the type that the dataclass declares, because YAML 1.1 reads `5e-4` as a
string. A key that the dataclass does not have is an error that names the nearest one.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import difflib
import importlib.resources
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

# A dataclass type for the type checker: anything with fields.
Settings = TypeVar("Settings")


class UserError(ValueError):
    """A mistake in what the user gave. Shown as one line, without a traceback; exit code 1."""


class UsageError(UserError):
    """A mistake in how the command was called: a wrong flag, key or recipe name; exit code 2."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Returns ` Did you mean "x"?` for the option nearest to `name`, or an empty string."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f' Did you mean "{by_lower[close[0]]}"?' if close else ""


def recipe_names(kind: str) -> list[str]:
    """Returns the names of the recipes that the package ships under `configs/<kind>/`."""
    folder = importlib.resources.files("electra_zh.configs").joinpath(kind)
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str, *, kind: str) -> dict[str, Any]:
    """Loads a recipe by its name in the package, or by the path of a YAML file.

    Args:
      name: a shipped recipe (`small`) or a path ending in `.yaml` or `.yml`.
      kind: the folder under `configs/` that shipped names are looked up in.

    Returns:
      The recipe's keys with every `include` resolved; included keys come first.

    Raises:
      UsageError: there is no such recipe or file.
      UserError: the file is not a YAML mapping, or its includes go round in a circle.
    """
    return _load_recipe(name, kind, chain=())


def _load_recipe(name: str, kind: str, chain: tuple[str, ...]) -> dict[str, Any]:
    if name in chain:
        raise UserError(f"Recipe {name}: `include` goes round in a circle: {' -> '.join(chain)}")
    if name.endswith((".yaml", ".yml")):
        text, origin = _read_recipe_file(name), name
    else:
        names = recipe_names(kind)
        if name not in names:
            raise UsageError(
                f'No {kind} recipe is named "{name}".{did_you_mean(name, names)} '
                f"Known: {', '.join(names)}; or give the path of a .yaml file."
            )
        folder = importlib.resources.files("electra_zh.configs").joinpath(kind)
        text, origin = folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), name
    recipe = _parse_mapping(text, origin)
    merged: dict[str, Any] = {}
    for included in _included_names(recipe.pop("include", []), origin):
        if included.endswith((".yaml", ".yml")) and not os.path.isabs(included):
            included = os.path.join(os.path.dirname(name), included)
        merged.update(_load_recipe(included, kind, (*chain, name)))
    merged.update(recipe)
    return merged


def _included_names(value: Any, origin: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"Recipe {origin}: `include` must be the name of a recipe or a list of names; "
            f"received {value!r}"
        )
    return names


def _read_recipe_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise UsageError(f"No such recipe file: {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"Recipe {path} is not UTF-8 text: {error}") from None


def _parse_mapping(text: str, origin: str) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"Recipe {origin} is not valid YAML: {problem}") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict) or not all(isinstance(key, str) for key in parsed):
        raise UserError(f"Recipe {origin} must be a mapping of `key: value` lines.")
    return parsed


def parse_overrides(words: Sequence[str]) -> dict[str, str]:
    """Parses `key=value` words from the command line.

    Raises:
      UsageError: a word has no `=` or an empty key.
    """
    overrides: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f'"{word}" is not an override: write key=value, as learning_rate=5e-4')
        overrides[key.strip()] = value.strip()
    return overrides


def build(cls: type[Settings], values: Mapping[str, Any], *, where: str) -> Settings:
    """Builds the frozen dataclass `cls` from `values`, each coerced to its declared type.

    Args:
      cls: a dataclass type; its `__post_init__` checks what concerns several fields.
      values: field name to value, as YAML or the command line gives them.
      where: what the values come from, for error messages.

    Raises:
      UsageError: unknown key.
      UserError: a value does not have the declared type, or a required key is missing.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UsageError(f'{where}: unknown setting "{key}".{did_you_mean(key, fields)}')
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where}: no value for {', '.join(missing)}")
    coerced = {key: _coerce(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**coerced)
    except UserError as error:
        raise type(error)(f"{where}: {error}") from None


def _coerce(value: Any, declared: Any, what: str) -> Any:
    """Returns `value` as the type `declared`, or raises a UserError that names `what`."""
    origin = typing.get_origin(declared)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(declared) if option is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        return _coerce(value, options[0], what)
    if origin is typing.Literal:
        allowed = typing.get_args(declared)
        if value not in allowed:
            hint = did_you_mean(str(value), [str(option) for option in allowed])
            names = ", ".join(map(str, allowed))
            raise UserError(f'{what} is "{value}"; allowed: {names}.{hint}')
        return value
    if origin in (tuple, collections.abc.Mapping):
        return _coerce_many(value, declared, what)
    if dataclasses.is_dataclass(declared):
        if dataclasses.is_dataclass(value):
            return value
        if isinstance(value, Mapping):
            return build(typing.cast(type, declared), value, where=what)
    elif declared is bool:
        return _coerce_bool(value, what)
    elif declared is int:
        return _coerce_int(value, what)
    elif declared is float:
        return _coerce_float(value, what)
    elif declared is str and isinstance(value, str):
        return value
    expected = getattr(declared, "__name__", str(declared))
    raise UserError(f"{what} must be {_article(expected)}; received {value!r}")


def _coerce_many(value: Any, declared: Any, what: str) -> Any:
    """Returns a list as the declared tuple[T, ...], a mapping as the declared Mapping[str, T]."""
    declared_items = typing.get_args(declared)
    if typing.get_origin(declared) is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{what} must be a list; received {value!r}")
        return tuple(_coerce(item, declared_items[0], what) for item in value)
    if not isinstance(value, Mapping):
        raise UserError(f"{what} must be a mapping of `key: value`; received {value!r}")
    return {str(key): _coerce(item, declared_items[1], what) for key, item in value.items()}


def _coerce_bool(value: Any, what: str) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise UserError(f"{what} must be true or false; received {value!r}")
    return words[str(value).lower()]


def _coerce_int(value: Any, what: str) -> int:
    # 1e6 and 1_000_000 are how people write step counts.
    text = str(value).replace("_", "")
    # float64 has not every whole number, so it comes second.
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError, OverflowError):
        if float(text) == int(float(text)):
            return int(float(text))
    raise UserError(f"{what} must be a whole number; received {value!r}")


def _coerce_float(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be a number; received {value!r}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        # A run would only fail later, or train to NaN.
        raise UserError(f"{what} must be a finite number; received {value!r}")
    return number


def _article(name: str) -> str:
    return {"str": "text"}.get(name, f"a {name}")
