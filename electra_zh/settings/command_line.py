"""The command line of settings: `--max-seq-length 64` and `max_seq_length=64` are the same.

Both spellings, their help and their checks come from the declarations. A setting with one value is
given once; one with several values (`--decontaminate A B`) may be repeated, and is joined.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.settings.declaration import Setting, Settings, declared, without_none
from electra_zh.settings.resolution import find_spellings, unknown_setting

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=")
_PLACEHOLDERS = {int: "N", float: "X"}
_MAX_SHOWN_CHOICES = 6


class Given(NamedTuple):
    """A setting as it is given on the command line."""

    group: int  # number of its settings class in the command
    key: str  # its full key
    value: str | list[str]  # its text; a list of texts for a setting with several values
    shown: str  # the flag or the word, for messages


class CommandLine:
    """The flags and words of a command.

    Args:
      parser: the command's parser; the flags are added to it.
      classes: the settings classes; where two have a name in common, the first has its flag.
      prefixed: the class whose words may begin with a name, as `tnews.learning_rate=1e-4` or
        `phases.long.learning_rate=1e-4`.
    """

    def __init__(
        self,
        parser: argparse.ArgumentParser,
        classes: Sequence[type[Settings]],
        *,
        prefixed: type[Settings] | None = None,
    ) -> None:
        self._classes = classes
        self._prefixed = classes.index(prefixed) if prefixed is not None else -1
        self._settings: dict[tuple[int, str], Setting] = {}
        self._spellings: dict[str, tuple[int, str]] = {}
        self._flags = ["--help"]
        self._parser = parser
        parser.set_defaults(given=[])
        for group, cls in enumerate(classes):
            settings = {setting.key: setting for setting in declared(cls)}
            self._settings.update({(group, key): each for key, each in settings.items()})
            for spelling, key in find_spellings(cls).items():
                if key in settings or key.rpartition(".")[0] in settings:
                    self._spellings.setdefault(spelling, (group, key))
        self._positional = [
            place for place, each in self._settings.items() if each.declaration.positional
        ]
        self._add_positional()
        self._add_flags()

    def parse(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the given values of each class: key to text, or to texts.

        Raises:
          UsageError: an unknown flag or word, or a setting that is given twice.
        """
        end = words.index("--") if "--" in words else len(words)
        namespace, extra = self._parser.parse_known_args(words[:end])
        given = [found for each in namespace.given for found in self._without_words(each)]
        plain: list[str] = []
        # argparse takes only the first group of words; they may be between flags too.
        for word in [*_words(namespace), *extra]:
            if word.startswith("-") and word != "-":
                flag = word.partition("=")[0]
                raise UsageError(f"unknown argument {word}.{did_you_mean(flag, self._flags)}")
            found = self._read_word(word)
            if found is None:
                plain.append(word)
            else:
                given.append(found)
        given += self._read_positional([*plain, *words[end + 1 :]])
        return self._merge(given)

    def _without_words(self, given: Given) -> Iterator[Given]:
        """Yields a setting, and those of `key=value` words that argparse took for its values."""
        setting = self._settings.get((given.group, given.key))
        has_pairs = setting is not None and "=" in placeholder(setting)
        if has_pairs or not isinstance(given.value, list):
            yield given
            return
        values = given.value[:1]
        for word in given.value[1:]:
            found = None if os.path.exists(word) else self._read_word(word)
            if found is None:
                values.append(word)
            else:
                yield found
        yield given._replace(value=values)

    def _read_word(self, word: str) -> Given | None:
        """Returns the setting of a `key=value` word; None for a word of another form."""
        if not _WORD.match(word):
            return None
        key, _, value = word.partition("=")
        if key in self._spellings:
            group, full = self._spellings[key]
            setting = self._settings.get((group, full))
            is_list = setting is not None and setting.is_list
            return Given(group, full, [value] if is_list else value, word)
        parts = key.split(".")
        rests = (".".join(parts[start:]) for start in range(1, len(parts)))
        if any(self._spellings.get(rest, (-1,))[0] == self._prefixed >= 0 for rest in rests):
            return Given(self._prefixed, key, value, word)
        if not self._positional:
            raise UsageError(self._unknown(key))
        # A path may have this form: it is a mistyped setting if it is near one and not a file.
        if did_you_mean(key, self._spellings) and not os.path.exists(word):
            raise UsageError(self._unknown(key))
        return None

    def _unknown(self, key: str) -> str:
        for cls in self._classes:
            if key in cls.ELSEWHERE:
                return unknown_setting(key, cls)
        # After a prefix, the rest may be the mistyped name.
        name = key.rpartition(".")[2] if self._prefixed >= 0 else key
        return f'unknown setting "{key}".{did_you_mean(name, self._spellings)}'

    def _read_positional(self, words: Sequence[str]) -> Iterator[Given]:
        words = list(words)
        for group, key in self._positional:
            if self._settings[group, key].is_list:
                if words:
                    yield Given(group, key, words, " ".join(words))
                return
            if words:
                word = words.pop(0)
                yield Given(group, key, word, word)
        if words:
            raise UsageError(f"unknown argument {words[0]}: write a setting as key=value")

    def _merge(self, given: Sequence[Given]) -> list[dict[str, Any]]:
        values: list[dict[str, Any]] = [{} for _ in self._classes]
        shown: dict[tuple[int, str], str] = {}
        for group, key, value, spelled in given:
            if key not in values[group]:
                values[group][key] = value
            elif isinstance(value, list):
                values[group][key] = [*values[group][key], *value]
            else:
                first = shown[group, key]
                both = "twice" if first == spelled else f"twice, as {first} and as {spelled}"
                raise UsageError(f"{key.rpartition('.')[2]} is given {both}: remove one")
            shown[group, key] = spelled
        return values

    def _add_positional(self) -> None:
        """Adds the arguments without flags: which words are settings, `parse` decides."""
        shown = [self._settings[place] for place in self._positional]
        for setting in shown:
            self._parser.add_argument(
                f"words/{setting.name}",
                nargs="*" if setting.is_list else "?",
                metavar=positional_name(setting),
                help=_escaped(help_line(setting, is_required=setting.is_required)),
            )
        if not shown or not shown[-1].is_list:
            self._parser.add_argument("words/", nargs="*", help=argparse.SUPPRESS)
        flags = [
            f"{spelled(setting)} {placeholder(setting)}"
            for (group, _), setting in self._settings.items()
            if group == 0 and setting.is_required and setting not in shown
        ]
        words = {each: positional_name(each) + " ..." * each.is_list for each in shown}
        names = [word if each.is_required else f"[{word}]" for each, word in words.items()]
        self._parser.usage = " ".join(["%(prog)s", *names, *flags, "[settings]"])

    def _add_flags(self) -> None:
        groups: dict[str, Any] = {"": self._parser}
        for (group, key), setting in self._settings.items():
            names = [n for n in setting.names if self._spellings.get(n) == (group, key)]
            if not names and self._spellings[key] == (group, key):
                names = [key]
            declaration = setting.declaration
            if not names or not declaration.listed or declaration.positional:
                continue
            title = setting.group
            if title not in groups:
                groups[title] = self._parser.add_argument_group(title)
            flags = [*setting.short_flags, *map(_flag, names)]
            self._add_flag(groups[title], f"{group}/{key}", setting, flags)

    def _add_flag(self, parser: Any, dest: str, setting: Setting, on: list[str]) -> None:
        is_required = setting.is_required and dest.startswith("0/")
        help_text = _escaped(help_line(setting, is_required=is_required))
        options: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS, "action": _Give}
        self._flags += on
        if without_none(setting.type) is not bool:
            options |= {"nargs": "+" if setting.is_list else None, "metavar": placeholder(setting)}
            parser.add_argument(*on, help=help_text, **options)
            return
        long = next(flag for flag in on if flag.startswith("--"))
        off = [f"--no-{long[2:]}", *setting.declaration.off_flags]
        self._flags += off
        options |= {"nargs": 0, "const": off}
        if setting.default or setting.default is None:
            parser.add_argument(*on, *off, help=help_text, **options)
        else:
            parser.add_argument(*on, help=help_text, **options)
            parser.add_argument(*off, help=argparse.SUPPRESS, **options)


class _Give(argparse.Action):
    """Appends a value to `namespace.given`; `const` has the flags that switch a boolean off."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        group, _, key = self.dest.partition("/")
        flag = str(option_string)
        if self.nargs == 0:
            values = "false" if flag in self.const else "true"
        namespace.given = [*namespace.given, Given(int(group), key, values, flag)]


def _words(namespace: argparse.Namespace) -> Iterator[str]:
    """Yields the words that argparse took as arguments without a flag, in their order."""
    for name, value in vars(namespace).items():
        if name.startswith("words/"):
            yield from [value] if isinstance(value, str) else value or []


def _escaped(text: str) -> str:
    """Returns text for argparse, which would fill in `%`."""
    return text.replace("%", "%%")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def spelled(setting: Setting) -> str:
    """Returns the first spelling of a setting on the command line."""
    if setting.declaration.positional:
        return positional_name(setting)
    long = (flag for flag in setting.declaration.flags if flag.startswith("--"))
    return next(long, _flag(setting.name))


def flags_of(setting: Setting) -> tuple[str, ...]:
    """Returns the spellings of a setting on the command line."""
    if setting.declaration.positional:
        return (positional_name(setting),)
    return (*setting.short_flags, *map(_flag, setting.names), *setting.declaration.off_flags)


def positional_name(setting: Setting) -> str:
    """Returns the placeholder of a setting that is given without a flag."""
    return setting.declaration.metavar or setting.name.upper()


def placeholder(setting: Setting) -> str:
    """Returns the placeholder of a value in the help."""
    if setting.declaration.metavar:
        return setting.declaration.metavar
    choices = setting.choices
    if choices and len(choices) <= _MAX_SHOWN_CHOICES:
        return f"{{{','.join(choices)}}}"
    return _PLACEHOLDERS.get(without_none(setting.type), "TEXT")


def allowed_values(setting: Setting) -> str:
    """Returns the allowed values as words: the range, or the choices; empty for any value."""
    return setting.declaration.limits() or ", ".join(setting.choices)


def default_value(setting: Setting) -> str:
    """Returns the default as on the command line; empty where there is none to show."""
    default = setting.default
    if setting.type is bool:
        return "on" if default else "off"
    if setting.is_required or default in (None, "", ()) or isinstance(default, Settings):
        return ""
    return " ".join(default) if isinstance(default, tuple) else f"{default}"


def help_line(setting: Setting, *, is_required: bool) -> str:
    """Returns the help of a setting: its meaning, allowed values and default."""
    limits = setting.declaration.limits()
    if len(setting.choices) > _MAX_SHOWN_CHOICES or (
        setting.choices and setting.declaration.metavar
    ):
        limits = f"one of {', '.join(setting.choices)}"
    default = default_value(setting)
    shown = "" if default in ("", "off") else f" (default: {default})"
    if is_required and not setting.declaration.positional and not setting.section:
        shown = " (required)"
    return setting.declaration.meaning + (f"; {limits}" if limits else "") + shown


def check_required(cls: type[Settings], values: Sequence[str]) -> None:
    """Checks that every required setting of a command is among the keys of the values.

    Raises:
      UsageError: settings are missing.
    """
    missing = [
        spelled(setting)
        for setting in declared(cls)
        if setting.is_required and not setting.section and setting.key not in values
    ]
    if missing:
        raise UsageError(f"required settings are missing: {', '.join(missing)}")


def parse_overrides(words: Sequence[str]) -> dict[str, str]:
    """Parses `key=value` words.

    Raises:
      UsageError: a word has no `=` or an empty key, or a key is given twice.
    """
    overrides: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f'"{word}" is not an override: write key=value, as learning_rate=5e-4')
        if key in overrides:
            raise UsageError(f"{key} is given twice, as {overrides[key]} and as {word}: remove one")
        overrides[key] = value.strip()
    return overrides
