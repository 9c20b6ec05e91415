"""Resolution: settings from several layers of values, with the origin of each value.

A layer is a recipe, a file, or the command line; later layers override earlier ones. Its keys may
be nested (`model: {hidden_size: 256}`), joined (`model.hidden_size`) or plain (`hidden_size`).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.settings.coercion import build_settings, coerce
from electra_zh.settings.declaration import Setting, Settings, declared, section_class

COMMAND_LINE = "command line"
DEFAULT = "default"

AnySettings = TypeVar("AnySettings", bound=Settings)


class Layer(NamedTuple):
    """Values of one origin."""

    origin: str  # for messages and listings: `recipe small`, the path of a file, `COMMAND_LINE`
    values: Mapping[str, Any]  # key to value


@dataclasses.dataclass(frozen=True)
class Resolved(Generic[AnySettings]):
    """Settings with the origin of each value."""

    settings: AnySettings
    # Key (`model.hidden_size`) to origin, for the values that are not defaults.
    origins: Mapping[str, str]
    # Sentences on values that were dropped.
    notes: tuple[str, ...] = ()

    def origin(self, key: str) -> str:
        """Returns the origin of a value, by its key or by the key of its section."""
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins[key] if key else DEFAULT


def resolve(
    cls: type[AnySettings], layers: Sequence[Layer], *, where: str = ""
) -> Resolved[AnySettings]:
    """Resolves layers into settings; every value is checked with its origin in the message.

    Args:
      cls: the settings class.
      layers: the values; later ones override earlier ones.
      where: names the settings in messages on missing and contradictory values; may be empty.

    Raises:
      UsageError: an unknown key, or a value of the command line that is not allowed.
      UserError: another value that is not allowed, or a required setting is missing.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, given in layers:
        for key, value in place(cls, given, origin=origin).items():
            for replaced in [old for old in values if _overlap(old, key)]:
                del values[replaced], origins[replaced]
            values[key], origins[key] = value, origin
    _check_plain(cls, values)
    return Resolved(build_settings(cls, _nest(values), where=where), origins)


def _overlap(one: str, other: str) -> bool:
    """Returns whether two keys are the same, or one is the section of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def place(
    cls: type[Settings], values: Mapping[str, Any], *, origin: str = COMMAND_LINE
) -> dict[str, Any]:
    """Returns values under their full keys, each converted to its type and checked.

    Args:
      cls: the settings class.
      values: key to value; sections nested, joined or left away.
      origin: source of the values, for messages.

    Raises:
      UsageError: an unknown key, a key given twice, or a wrong value of the command line.
      UserError: a wrong value of another origin.
    """
    settings = {setting.key: setting for setting in declared(cls)}
    spellings, hints = find_spellings(cls), typing.get_type_hints(cls)
    placed: dict[str, Any] = {}
    prefix = "" if origin == COMMAND_LINE else f"{origin}: "
    for given, value in _flatten(cls, values).items():
        key = spellings.get(given)
        if key is None:
            raise UsageError(f"{prefix}{unknown_setting(given, cls)}")
        setting = settings.get(key)
        if setting is not None and str(value).lower() != "none":
            key = setting.value_key
        if key in placed:
            raise UsageError(f"{prefix}{given} is given twice: remove one")
        try:
            placed[key] = _convert(setting, hints.get(key), key, value)
        except UserError as error:
            kind = UsageError if origin == COMMAND_LINE else type(error)
            raise kind(f"{prefix}{error}") from None
    return placed


def find_spellings(cls: type[Settings]) -> dict[str, str]:
    """Returns every spelling of a key -> the full key. A name in two sections needs its section."""
    found: dict[str, str] = {}
    settings = sorted(declared(cls), key=lambda setting: len(setting.section))
    names = [name for setting in settings if setting.section for name in setting.names]
    for setting in settings:
        found[setting.key] = setting.key
        found[setting.value_key] = setting.value_key
        for name in setting.names:
            if not setting.section or names.count(name) == 1:
                found.setdefault(name, setting.key)
    for field in dataclasses.fields(cls):
        found.setdefault(field.name, field.name)
    return found


def short_key(cls: type[Settings], spelling: str) -> str:
    """Returns a setting's name for any spelling of its key; the full key if the name is not unique.

    Keys that are not of the class are returned as they are.
    """
    spellings = find_spellings(cls)
    key = spellings.get(spelling, spelling)
    name = key.rpartition(".")[2]
    return name if spellings.get(name) == key else key


def unknown_setting(key: str, cls: type[Settings]) -> str:
    """Returns the message for a key that is not a setting: the nearest name, or what to use."""
    if key in cls.ELSEWHERE:
        return f'"{key}" is not a setting here: {cls.ELSEWHERE[key]}'
    return f'unknown setting "{key}".{did_you_mean(key, find_spellings(cls))}'


def _flatten(cls: type, values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested sections as joined keys."""
    flat: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    for name, value in values.items():
        inner = section_class(hints.get(name))
        if inner is not None and isinstance(value, inner):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(inner)}
        if inner is not None and isinstance(value, Mapping):
            flat.update(_flatten(inner, value, f"{before}{name}."))
        else:
            flat[f"{before}{name}"] = value
    return flat


def _convert(setting: Setting | None, hint: Any, key: str, value: Any) -> Any:
    """Returns a value as its type, checked; `hint` is the type of an undeclared field."""
    if setting is None:
        return value if hint is None else coerce(value, hint, key)
    declaration = setting.declaration
    if section_class(setting.type) is not None:
        return None if declaration.plain and str(value).lower() == "none" else value
    value = coerce(declaration.parsed(value), setting.type, setting.name)
    declaration.check(setting.name, value)
    return value


def _check_plain(cls: type[Settings], values: Mapping[str, Any]) -> None:
    """Checks that the settings of a section with a plain value come with that value."""
    for section in declared(cls):
        if section.declaration.plain and section.value_key not in values:
            others = [key for key in values if key.startswith(f"{section.key}.")]
            if others:
                name = others[0].rpartition(".")[2]
                raise UsageError(f"{name} applies only with {section.name}: set {section.name} too")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested plain values under joined keys, such as `model.hidden_size`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return nested
