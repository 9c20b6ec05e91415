"""A part of `make torture` for every run of the tests: builds that are killed at their writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from torture.kills import Torture
from torture.subjects import make_corpus, subjects


@pytest.mark.parametrize("name", ["build-data", "clean"])
def test_killed_commands_make_the_same_in_the_end(name: str, tmp_path: Path) -> None:
    (subject,) = [each for each in subjects() if each.name == name]
    make_corpus(tmp_path / "job")
    torture = Torture(subject, tmp_path, seed=1)
    # On a machine whose load falls, a command may end before the time of its kill.
    for number in range(20):
        if number >= 4 and torture.kills.total() >= 4:
            break
        torture.round(number, kills=3)
    assert torture.kills.total() >= 4
