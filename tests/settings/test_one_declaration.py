"""Adding a setting is one declaration: flag, word, key, help, check and reference come from it."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from electra_zh.errors import UsageError
from electra_zh.settings import COMMAND_LINE, Layer, Settings, resolve, setting
from electra_zh.settings.command_line import CommandLine
from electra_zh.settings.reference import list_resolved, table


@dataclasses.dataclass(frozen=True)
class Made(Settings):
    depth: int = setting(3, "number of floors", at_least=1)


def _command() -> tuple[argparse.ArgumentParser, CommandLine]:
    parser = argparse.ArgumentParser(prog="x")
    return parser, CommandLine(parser, [Made])


@pytest.mark.parametrize("words", [["--depth", "5"], ["--depth=5"], ["depth=5"]])
def test_flag_and_word(words: list[str]) -> None:
    _, command = _command()
    assert resolve(Made, [Layer(COMMAND_LINE, command.parse(words)[0])]).settings.depth == 5


def test_help() -> None:
    parser, _ = _command()
    assert "number of floors; at least 1 (default: 3)" in " ".join(parser.format_help().split())


def test_yaml_key_and_check() -> None:
    assert resolve(Made, [Layer("my.yaml", {"depth": 4})]).settings.depth == 4
    with pytest.raises(UsageError, match=r"^my\.yaml: depth must be at least 1; received 0"):
        resolve(Made, [Layer("my.yaml", {"depth": 0})])
    with pytest.raises(UsageError, match=r"^depth must be at least 1; received 0"):
        Made(0)


def test_listing_and_reference() -> None:
    (row,) = list_resolved(resolve(Made, [Layer("my.yaml", {"depth": 4})]))
    assert row == ("depth", 4, "my.yaml", "number of floors")
    assert "| `--depth` | 3 | at least 1 | number of floors |" in list(table(Made))
