"""Builds settings from plain values: unknown keys, missing keys and wrong types are errors.

A value is converted to the type that the dataclass declares, because YAML 1.1 reads `5e-4` as a
string and the command line gives only strings.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from electra_zh.errors import UsageError, UserError, did_you_mean

# A dataclass type for the type checker: anything with fields.
AnySettings = TypeVar("AnySettings")


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


def build_settings(cls: type[AnySettings], values: Mapping[str, Any], *, where: str) -> AnySettings:
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
            return build_settings(typing.cast(type, declared), value, where=what)
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
