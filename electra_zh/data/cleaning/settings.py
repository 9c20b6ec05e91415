"""Settings of a cleaning: input, output, normalisation, and those of the rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from electra_zh.data.cleaning.rules import RULES, Rule
from electra_zh.data.input_files import InputSettings
from electra_zh.errors import UsageError
from electra_zh.settings import setting

# The result does not depend on them.
_NOT_RECORDED = ("inputs", "output", "num_processes", "overwrite", "decontaminate")

Cleaning = TypeVar("Cleaning", bound="CleanSettings")


def with_rules(*rules: Rule) -> Callable[[type[Cleaning]], type[Cleaning]]:
    """Returns a decorator that adds rules, and their settings as fields, to a settings class."""

    def extend(cls: type[Cleaning]) -> type[Cleaning]:
        extended = dataclasses.make_dataclass(
            cls.__name__,
            [(each.name, each.type, each.field()) for rule in rules for each in rule.settings],
            bases=(cls,),
            namespace={"rules": (*cls.rules, *rules), "__doc__": cls.__doc__},
            frozen=True,
        )
        extended.__module__ = cls.__module__
        return extended

    return extend


@with_rules(*RULES)
@dataclasses.dataclass(frozen=True)
class CleanSettings(InputSettings):
    """Settings of a cleaning, to which the rules add theirs."""

    rules: ClassVar[tuple[Rule, ...]] = ()

    output: str = setting(meaning="folder to write", metavar="DIR")
    unicode: str = setting(
        "nfc",
        "Unicode normal form; nfkc makes full-width punctuation ASCII",
        choices=("nfc", "nfkc", "none"),
    )
    to_simplified: bool = setting(False, "convert traditional characters to simplified ones")
    compress: str = setting("none", "compression of the text", choices=("none", "gz", "zst"))
    num_processes: int | None = setting(
        None, "worker processes; by default one per core", at_least=1, flags=("--processes",)
    )
    overwrite: bool = setting(False, "replace a folder that an earlier cleaning wrote")
    unit_bytes: int | None = setting(
        None, "bytes of text per task; by default chosen from the corpus", at_least=1, listed=False
    )

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Settings of the rules."""

    def check_together(self) -> None:
        """Checks that lines can have both a minimal and a maximal length."""
        if 0 < self.max_line < self.min_line:
            raise UsageError(
                f"max_line must be 0 or at least min_line ({self.min_line}); "
                f"received {self.max_line}"
            )

    def is_on(self, rule: Rule) -> bool:
        """Returns whether a rule is switched on."""
        if rule.settings and getattr(self, rule.settings[0].name) == rule.settings[0].off:
            return False
        needed = [other for other in self.rules if other.name in rule.only_after]
        return not needed or any(map(self.is_on, needed))

    def active_rules(self, scope: str | None = None) -> list[tuple[int, Rule]]:
        """Returns the verdict and the rule of each rule that is switched on, in order."""
        return [
            (verdict, rule)
            for verdict, rule in enumerate(self.rules, 1)
            if self.is_on(rule) and scope in (None, rule.scope)
        ]

    def describe(self, rule: Rule) -> str:
        """Returns the description of the text that an active rule removes."""
        return rule.removes.format_map(vars(self))

    def recorded(self) -> dict[str, Any]:
        """Returns the settings that the result depends on, as the report shows them."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_RECORDED}
