"""docs/architecture.md names files that exist, and setup.cfg every package."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:electra_zh|configs|tests|docs|scripts)/[^`\s]*)`", PAGE)))


def test_the_page_names_paths() -> None:
    assert len(PATHS) > 15


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_page_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_wheel_has_every_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    folders = {path.parent for path in (ROOT / "electra_zh").rglob("*.py")}
    packages = {".".join(path.relative_to(ROOT).parts) for path in folders}
    assert listed == packages | {"electra_zh.configs"}
