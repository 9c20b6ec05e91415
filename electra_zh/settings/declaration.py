"""The one declaration of a setting: name, type, default, allowed values, meaning.

    @dataclasses.dataclass(frozen=True)
    class ExampleConfig(Settings):
        mask_prob: float = setting(0.15, "fraction of the tokens to predict", above=0, below=1)

The name and the type are those of the dataclass field. The command-line flag, the `key=value` word,
the YAML key, the help line, the check, the resolved configuration and the reference page all follow
from the declaration. A field whose type is another settings class is a section: its settings are
given with or without the section's name before them (`model.hidden_size`, `hidden_size`).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from electra_zh.errors import UsageError, did_you_mean

_KEY = "setting"


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What `setting` says of a field beyond its name, type and default.

    Attributes:
      meaning: one sentence without capital and full stop, for help and the reference page.
      at_least: the lowest allowed number, included.
      above: the lowest allowed number, excluded.
      at_most: the highest allowed number, included.
      below: the highest allowed number, excluded.
      choices: the allowed words, or a function that returns them (of a registry).
      metavar: placeholder of the value in the help.
      group: heading in the help and on the reference page.
      flags: further spellings of the flag on the command line, with their dashes.
      positional: the value is given on the command line without a flag.
      listed: the setting is shown in the help and on the reference page.
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Sequence[str] | Callable[[], Sequence[str]] = ()
    metavar: str = ""
    group: str = ""
    flags: tuple[str, ...] = ()
    positional: bool = False
    listed: bool = True

    def allowed(self) -> tuple[str, ...]:
        """Returns the allowed words; empty where any value is."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    def limits(self) -> str:
        """Returns the allowed range as words, `at least 0 and below 1`; empty without limits."""
        limits = (
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {number:,g}" for word, number in limits if number is not None)

    def check(self, name: str, value: Any) -> None:
        """Checks one value; None is always allowed, and tuples are checked item by item.

        Raises:
          UsageError: the value is outside the limits or not among the choices.
        """
        for item in value if isinstance(value, tuple) else (value,):
            if item is not None:
                self._check_one(name, item)

    def _check_one(self, name: str, value: Any) -> None:
        allowed = self.allowed()
        if allowed and value not in allowed:
            hint = did_you_mean(str(value), allowed)
            raise UsageError(f'{name} is "{value}"; allowed: {", ".join(allowed)}.{hint}')
        outside = (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and not value > self.above)
            or (self.at_most is not None and value > self.at_most)
            or (self.below is not None and not value < self.below)
        )
        if outside:
            raise UsageError(f"{name} must be {self.limits()}; received {value}")


def setting(default: Any = dataclasses.MISSING, meaning: str = "", **limits: Any) -> Any:
    """Returns a dataclass field that declares a setting.

    Args:
      default: its default; without one the setting is required.
      meaning: one sentence, as in `Declaration`.
      **limits: the other attributes of `Declaration`.
    """
    return dataclasses.field(
        default=default, metadata={_KEY: Declaration(meaning=meaning, **limits)}
    )


class Settings:
    """Base of the frozen settings dataclasses: every value is checked against its declaration."""

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: a value is not allowed, or values contradict each other.
        """
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            declaration = field.metadata.get(_KEY)
            if declaration is not None:
                declaration.check(field.name, getattr(self, field.name))
        self.check_together()

    def check_together(self) -> None:
        """Checks what concerns several settings; classes override it.

        Raises:
          UserError: values contradict each other.
        """


@dataclasses.dataclass(frozen=True)
class Setting:
    """A declared setting of a class, sections included.

    Attributes:
      name: of the field.
      section: names of the sections that it is in, outermost first.
      type: the declared type.
      default: its default; `dataclasses.MISSING` for a required setting.
      declaration: the rest.
    """

    name: str
    section: tuple[str, ...]
    type: Any
    default: Any
    declaration: Declaration

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to the value in nested plain values."""
        return (*self.section, self.name)


def declared(cls: type, section: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yields the declared settings of a class in order, those of its sections in their place."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Settings):
            yield from declared(hint, (*section, field.name))
        elif _KEY in field.metadata:
            yield Setting(field.name, section, hint, field.default, field.metadata[_KEY])
