"""Conversion of plain values to the types that settings declare.

YAML 1.1 reads `5e-4` as a string, and the command line gives only strings.
"""

from __future__ import annotations

import builtins
import collections.abc
import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from electra_zh.errors import UsageError, UserError, did_you_mean, few
from electra_zh.settings.declaration import declaration_of, without_none

# A dataclass type for the type checker: anything with fields.
AnySettings = TypeVar("AnySettings")


def build_settings(cls: type[AnySettings], values: Mapping[str, Any], *, where: str) -> AnySettings:
    """Builds the frozen dataclass `cls` from `values`, each converted to its declared type.

    Args:
      cls: a dataclass type; its `__post_init__` checks what concerns several fields.
      values: field name to value, as YAML or the command line gives them.
      where: the source of the values, for error messages; may be empty.

    Raises:
      UsageError: unknown key.
      UserError: there is no mapping, a value does not have the declared type, or a required key is
        missing.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    prefix = f"{where}: " if where else ""
    if not isinstance(values, Mapping):
        raise UserError(f"{prefix}must be a mapping of `key: value`; received {values!r}")
    for key in values:
        if key not in fields:
            hint = did_you_mean(key, fields) or f" Known: {few(fields, 12)}"
            raise UsageError(f'{prefix}unknown setting "{key}".{hint}')
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{prefix}required settings are missing: {', '.join(missing)}")
    converted = {}
    for key, value in values.items():
        declaration = declaration_of(fields[key])
        plain = value if declaration is None else declaration.parsed(value)
        converted[key] = coerce(plain, hints[key], f"{prefix}{key}")
    try:
        return cls(**converted)
    except UserError as error:
        raise type(error)(f"{prefix}{error}") from None


def coerce(value: Any, declared: Any, what: str) -> Any:
    """Returns `value` as the type `declared`.

    Raises:
      UserError: it does not have that type; `what` names it.
    """
    match typing.get_origin(declared):
        case typing.Union | types.UnionType:
            if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
                return None
            return coerce(value, without_none(declared), what)
        case typing.Literal:
            return _to_word(value, typing.get_args(declared), what)
        case builtins.tuple:
            return _to_tuple(value, typing.get_args(declared)[0], what)
        case collections.abc.Mapping:
            return _to_mapping(value, typing.get_args(declared)[1], what)
    if declared in _TO_SCALAR:
        return _TO_SCALAR[declared](value, what)
    if declared is Any or isinstance(value, declared):
        return value
    if dataclasses.is_dataclass(declared) and isinstance(value, Mapping):
        return build_settings(typing.cast(type, declared), value, where=what)
    form = "mapping of `key: value`" if dataclasses.is_dataclass(declared) else declared.__name__
    raise UserError(f"{what} must be a {form}; received {value!r}")


def _to_word(value: Any, allowed: tuple[Any, ...], what: str) -> Any:
    if value not in allowed:
        hint = did_you_mean(str(value), [str(option) for option in allowed])
        names = ", ".join(map(str, allowed))
        raise UserError(f'{what} is "{value}"; allowed: {names}.{hint}')
    return value


def _to_tuple(value: Any, item_type: Any, what: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UserError(f"{what} must be a list; received {value!r}")
    return tuple(coerce(item, item_type, what) for item in value)


def _to_mapping(value: Any, item_type: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{what} must be a mapping of `key: value`; received {value!r}")
    return {str(key): coerce(item, item_type, what) for key, item in value.items()}


def _to_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{what} must be text; received {value!r}")
    return value


def _to_bool(value: Any, what: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise UserError(f"{what} must be true or false; received {value!r}")
    return words[str(value).lower()]


def _to_int(value: Any, what: str) -> int:
    # 1e6 and 1_000_000 are how people write step counts.
    text = str(value).replace("_", "")
    number: int | None = None
    # float64 cannot hold every whole number, so it comes second.
    with contextlib.suppress(ValueError):
        number = int(text)
    with contextlib.suppress(ValueError, OverflowError):
        if number is None and float(text) == int(float(text)):
            number = int(float(text))
    if number is None or abs(number) >= 1 << 63:  # the integers of arrays and of the system
        size = "whole number" if number is None else "whole number below 2^63"
        raise UserError(f"{what} must be a {size}; received {value!r}")
    return number


def _to_float(value: Any, what: str) -> float:
    try:
        # To Python true is 1.0.
        number = float(str(value) if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be a number; received {value!r}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        # A run would only fail later, or train to NaN.
        raise UserError(f"{what} must be a finite number; received {value!r}")
    return number


_TO_SCALAR: dict[Any, Callable[[Any, str], Any]] = {
    str: _to_text,
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
}
