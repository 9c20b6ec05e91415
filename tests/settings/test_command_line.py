"""The command line of settings: flags, words, help and errors."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from electra_zh.errors import UsageError, did_you_mean
from electra_zh.settings import Settings, parse_overrides, setting
from electra_zh.settings.command_line import CommandLine, check_required


@dataclasses.dataclass(frozen=True)
class Words(Settings):
    words: str = setting("none", "word boundaries", metavar="jieba|none")
    hmm: bool = setting(True, "use the model")


@dataclasses.dataclass(frozen=True)
class Job(Settings):
    inputs: tuple[str, ...] = setting(meaning="files", positional=True, metavar="INPUT")
    output: str = setting(meaning="folder to write")
    batch_size: int = setting(32, "examples per step", at_least=1, flags=("--batch",))
    fast: bool = setting(False, "hurry")
    accents: bool = setting(True, "keep accents", off_flags=("--strip",))
    form: Literal["long", "short"] = setting("long", "form of the report")
    extra: tuple[str, ...] = setting((), "more files, 100 % of them")
    hidden: int = setting(1, "for tests", listed=False)
    words: Words = Words()


@dataclasses.dataclass(frozen=True)
class Task(Settings):
    ELSEWHERE: ClassVar[Mapping[str, str]] = {"gpu": "the device is found"}

    learning_rate: float = setting(1e-4, "peak rate", above=0, group="training")
    form: str = setting("", "another setting of the same name")


def _command(*classes: type[Settings]) -> CommandLine:
    parser = argparse.ArgumentParser(prog="x", allow_abbrev=False)
    return CommandLine(parser, classes, prefixed=Task if Task in classes else None)


def _parse(*words: str, classes: Sequence[type[Settings]] = (Job,)) -> dict[str, Any]:
    return _command(*classes).parse(words)[0]


def test_words_after_the_values_of_a_flag_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1").touch()
    words = ["--output", "o", "--extra", "a", "b", "a=1", "batch_size=8", "--extra", "c"]
    assert _parse(*words) == {"output": "o", "extra": ["a", "b", "a=1", "c"], "batch_size": "8"}
    with pytest.raises(UsageError, match=r"batch_size is given twice"):
        _parse("--extra", "a", "batch_size=8", "batch_size=9")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--batch-size", "8"], {"batch_size": "8"}),
        (["--batch-size=8"], {"batch_size": "8"}),
        (["--batch", "8"], {"batch_size": "8"}),
        (["batch_size=8"], {"batch_size": "8"}),
        (["batch=8"], {"batch_size": "8"}),
        (["--fast"], {"fast": "true"}),
        (["--no-fast"], {"fast": "false"}),
        (["--strip"], {"accents": "false"}),
        (["a", "--fast", "b=/c", "-"], {"inputs": ["a", "b=/c", "-"], "fast": "true"}),
        (["extra=d", "--extra", "a", "b", "--extra", "c"], {"extra": ["a", "b", "c", "d"]}),
        (["--words", "none"], {"words.words": "none"}),
        (["words=jieba", "--no-hmm"], {"words.words": "jieba", "words.hmm": "false"}),
        (["hidden=2"], {"hidden": "2"}),
        (["--fast", "--", "--fast", "batch=8"], {"fast": "true", "inputs": ["--fast", "batch=8"]}),
    ],
)
def test_flags_and_words_are_the_same(words: list[str], value: dict[str, Any]) -> None:
    assert _parse(*words) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "8", "batch_size=8"], "batch_size is given twice, as --batch and as batch_s"),
        (["--fast", "--no-fast"], "fast is given twice, as --fast and as --no-fast: remove one"),
        (["--output", "a", "--output", "a"], "output is given twice: remove one"),
        (["--bacth-size", "8"], r'unknown argument --bacth-size. Did you mean "--batch-size"\?'),
        (["--hidden", "8"], "unknown argument --hidden"),
        (["bacth_size=8"], r'unknown setting "bacth_size". Did you mean "batch_size"\?'),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _parse(*words)


def test_a_path_with_an_equals_sign_is_not_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batches=1").write_text("")
    assert _parse("batches=1", "lang=zh/*.txt") == {"inputs": ["batches=1", "lang=zh/*.txt"]}


def test_two_classes_share_a_command() -> None:
    command = _command(Job, Task)
    own, task = command.parse(["a", "form=short", "learning_rate=2", "afqmc.learning_rate=3"])
    assert own == {"inputs": ["a"], "form": "short"}
    assert task == {"learning_rate": "2", "afqmc.learning_rate": "3"}
    with pytest.raises(UsageError, match=r'setting "a.learning". Did you mean "learning_rate"\?'):
        _command(Task).parse(["a.learning=1"])
    with pytest.raises(UsageError, match='"gpu" is not a setting here: the device is found'):
        _command(Task).parse(["gpu=1"])
    with pytest.raises(UsageError, match="unknown argument a: write a setting as key=value"):
        _command(Task).parse(["a"])


def test_required_settings_are_named_as_they_are_given() -> None:
    with pytest.raises(UsageError, match="required settings are missing: INPUT, --output"):
        check_required(Job, [])
    check_required(Job, ["inputs", "output"])


def test_help_has_meaning_range_choices_and_default() -> None:
    parser = argparse.ArgumentParser(prog="x", formatter_class=_wide)
    CommandLine(parser, [Job, Task])
    lines = [" ".join(line.split()) for line in parser.format_help().splitlines()]
    # Before Python 3.13, argparse writes the name of a value after each of its flags.
    lines = [line.replace("--batch-size N,", "--batch-size,") for line in lines]
    for line in (
        "usage: x INPUT ... --output TEXT [settings]",
        "INPUT files",
        "--output TEXT folder to write (required)",
        "--batch-size, --batch N examples per step; at least 1 (default: 32)",
        "--fast hurry",
        "--accents, --no-accents, --strip keep accents (default: on)",
        "--form {long,short} form of the report (default: long)",
        "--extra TEXT [TEXT ...] more files, 100 % of them",
        "--words jieba|none word boundaries (default: none)",
        "training:",
        "--learning-rate X peak rate; above 0 (default: 0.0001)",
    ):
        assert line in lines
    assert "hidden" not in parser.format_help()


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=200, max_help_position=60)


def test_overrides_are_parsed() -> None:
    assert parse_overrides(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(UsageError, match="a is given twice, as 1 and as a=2: remove one"):
        parse_overrides(["a=1", "a=2"])
    for word in ("a", "=1"):
        with pytest.raises(UsageError, match="is not an override"):
            parse_overrides([word])


def test_dashes_do_not_make_flags_alike() -> None:
    assert did_you_mean("--init", ["--no-quiet"]) == ""
    assert did_you_mean("--out", ["--output"]) == ' Did you mean "--output"?'
