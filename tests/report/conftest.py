"""Calls of the commands in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from electra_zh import cli
from electra_zh.commands import load_command


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command and returns its standard output."""

    def run(name: str, *words: str) -> str:
        assert load_command(name).run(cli.parse(name, words)) == 0
        return capsys.readouterr().out

    return run
