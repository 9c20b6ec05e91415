"""The Dockerfile: its Python, its extras and its files are those of the package."""

from __future__ import annotations

import configparser
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

from electra_zh.commands import COMMANDS
from support.images import copied_files, instructions

ROOT = Path(__file__).parents[1]


def _setup() -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup


def _words(name: str) -> list[str]:
    return [words for kind, words in instructions() if kind == name]


def test_the_python_is_a_tested_one() -> None:
    first = _words("FROM")[0]
    version = re.fullmatch(r"python:(3\.\d+)-slim AS base", first)
    assert version, first
    tested = f"Programming Language :: Python :: {version[1]}"
    assert tested in _setup()["metadata"]["classifiers"]


def test_the_targets_for_gpu_and_cpu_start_from_the_same_image_and_the_cpu_s_is_the_default() -> (
    None
):
    assert _words("FROM")[1:] == ["base AS cuda", "base AS cpu"]


def test_the_extras_are_those_of_setup_cfg() -> None:
    known = set(_setup()["options.extras_require"])
    installed = [shlex.split(words)[-1] for words in _words("RUN")]
    found = [re.fullmatch(r"/src\[([\w,-]+)\]", each) for each in installed]
    assert all(found), installed
    extras = {extra for each in found if each for extra in each[1].split(",")}
    assert "gpu" in extras
    assert extras <= known


def test_the_files_exist_and_the_context_has_them() -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    assert copied_files()
    for name in copied_files():
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in kept), name


@pytest.mark.parametrize("command", ["doctor", "demo"])
def test_the_image_runs_the_command_line(command: str) -> None:
    scripts = _setup()["options.entry_points"]["console_scripts"]
    (entry,) = _words("ENTRYPOINT")
    assert entry == '["electra-zh"]'
    assert "electra-zh = electra_zh.cli:main" in scripts
    assert command in COMMANDS


def test_pages_name_the_commands_of_the_dockerfile() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    for page in ("docs/en/install.md", "docs/zh/install.md"):
        shown = (ROOT / page).read_text("utf-8")
        commands = re.findall(r"^docker .*$", shown, re.MULTILINE)
        assert len(commands) >= 3
        assert [each for each in commands if each.split("  #")[0].strip() not in text] == [], page
