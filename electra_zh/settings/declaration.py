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
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from electra_zh.errors import UsageError, did_you_mean

_KEY = "setting"


@dataclasses.dataclass(frozen=True)
class Declaration:
    """Properties of a setting beyond its name, type and default."""

    meaning: str  # one sentence without capital and full stop, for help and the reference page
    at_least: float | None = None  # the lowest allowed number, included
    above: float | None = None  # the lowest allowed number, excluded
    at_most: float | None = None  # the highest allowed number, included
    below: float | None = None  # the highest allowed number, excluded
    # The allowed words, or a function that returns them (of a registry).
    choices: Sequence[str] | Callable[[], Sequence[str]] = ()
    metavar: str = ""  # placeholder of the value in the help
    group: str = ""  # heading in the help and on the reference page
    # Further spellings of the flag on the command line, with their dashes. A word or a YAML key may
    # have the same name (`--batch-size 8`, `batch_size=8`).
    flags: tuple[str, ...] = ()
    off_flags: tuple[str, ...] = ()  # further flags that switch a boolean off, besides `--no-NAME`
    positional: bool = False  # the value is given on the command line without a flag
    listed: bool = True  # it has a flag, and is shown in the help and on the reference page
    # For an optional section, its setting that a single value of the section stands for: with
    # `plain="kind"`, `words: jieba` is `words: {kind: jieba}`, and `words: none` is None.
    plain: str = ""
    # Converts text to the value, for types other than those of `coerce`; raises UserError.
    parse: Callable[[str], Any] | None = None

    def parsed(self, value: Any) -> Any:
        """Returns a value after `parse`, if it is text, or YAML's true, false or a number."""
        if self.parse is None or not isinstance(value, str | int):
            return value
        return self.parse(str(value))

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
        return " and ".join(f"{word} {number:,}" for word, number in limits if number is not None)

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
            (self.at_least is not None and not value >= self.at_least)
            or (self.above is not None and not value > self.above)
            or (self.at_most is not None and not value <= self.at_most)
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


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of the frozen settings dataclasses: every value is checked against its declaration."""

    # Settings of other tools -> their replacement here, for the error message.
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: a value is not allowed, or values contradict each other.
        """
        for field in dataclasses.fields(self):
            declaration = declaration_of(field)
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
    """A declared setting of a class, sections included."""

    name: str  # of the field
    section: tuple[str, ...]  # names of the sections that it is in, outermost first
    type: Any  # the declared type; that of a section for a section that is given as a single value
    default: Any  # `dataclasses.MISSING` for a required setting
    declaration: Declaration

    @property
    def key(self) -> str:
        """The keys that lead to the value as one word, `model.hidden_size`."""
        return ".".join((*self.section, self.name))

    @property
    def value_key(self) -> str:
        """The key of the value: that of the plain value for a section with one."""
        plain = self.declaration.plain
        return f"{self.key}.{plain}" if plain else self.key

    @property
    def group(self) -> str:
        """Its heading in the help and on the reference page; may be empty."""
        return self.declaration.group or (self.section[-1] if self.section else "")

    @property
    def is_required(self) -> bool:
        """True if it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def is_list(self) -> bool:
        """True if it takes several values."""
        return typing.get_origin(self.type) is tuple and self.declaration.parse is None

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; empty where any value is."""
        plain = without_none(self.type)
        literal = typing.get_args(plain) if typing.get_origin(plain) is typing.Literal else ()
        return self.declaration.allowed() or tuple(map(str, literal))

    @property
    def short_flags(self) -> tuple[str, ...]:
        """Its flags of one letter, such as -q."""
        return tuple(flag for flag in self.declaration.flags if not flag.startswith("--"))

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and further spellings, as words and YAML keys."""
        long = (flag for flag in self.declaration.flags if flag.startswith("--"))
        others = (flag.lstrip("-").replace("-", "_") for flag in long)
        return tuple(dict.fromkeys((self.name, *others)))


def without_none(hint: Any) -> Any:
    """Returns the type T of `T | None`, and any other type as it is."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return options[0] if is_union else hint


def section_class(hint: Any) -> type[Settings] | None:
    """Returns the settings class of a section's type; None for other types."""
    hint = without_none(hint)
    return hint if isinstance(hint, type) and issubclass(hint, Settings) else None


def declared(cls: type, section: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yields the declared settings of a class in order, those of its sections in their place.

    A section is itself a setting where its field is declared: it is given as a single value.
    """
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, declaration = hints[field.name], field.metadata.get(_KEY)
        if declaration is not None:
            yield Setting(field.name, section, hint, field.default, declaration)
        inner = section_class(hint)
        if inner is not None:
            plain = declaration.plain if declaration is not None else ""
            settings = declared(inner, (*section, field.name))
            yield from (setting for setting in settings if setting.name != plain)


def select(cls: type[Settings], names: Sequence[str]) -> type[Settings]:
    """Returns a settings class of some of a class's settings, for a command that needs no more."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    chosen = [
        (name, hints[name], dataclasses.field(default=each.default, metadata=each.metadata))
        for name, each in fields.items()
        if name in names
    ]
    return dataclasses.make_dataclass(cls.__name__, chosen, bases=(Settings,), frozen=True)


def declaration_of(field: dataclasses.Field[Any]) -> Declaration | None:
    """Returns the declaration of a dataclass field; None for a field without one."""
    return field.metadata.get(_KEY)
