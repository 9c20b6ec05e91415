"""The wheel and the sdist are complete: recipes and the sample corpus work from another folder.

They are built of the files that the Dockerfile copies, which are therefore enough.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.images import copied_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the wheel, built of the sdist of a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(["cp", "-r", *copied_files(), str(folder)], cwd=ROOT, check=True)
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(sdist.parent), str(sdist)], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _run(installed: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd or installed.parent / "dist",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_is_the_wheel_s(installed: Path) -> None:
    code = "import electra_zh; print(electra_zh.__file__)"
    assert _run(installed, "-c", code).stdout.strip() == str(installed / "electra_zh/__init__.py")


def test_every_module_comes_with_it(installed: Path) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "electra_zh").rglob("*.py")}
    found = {str(path.relative_to(installed)) for path in installed.rglob("*.py")}
    assert modules <= found, modules - found


def test_recipes_come_with_it(installed: Path) -> None:
    code = (
        "from electra_zh.pretraining.config import resolve\n"
        "for name in ('nano', 'tiny', 'small', 'small-ex', 'base', 'large'):\n"
        "    print(resolve(name, {}, vocab_size=9).settings.model.vocab_size)"
    )
    result = _run(installed, "-c", code)
    assert result.stdout == "9\n" * 6, result.stderr


def test_the_demo_in_a_checkout_runs_the_installed_package(installed: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "electra_zh"
    checkout.mkdir()
    (checkout / "__init__.py").write_text("raise ImportError('the checkout is imported')\n")
    code = (
        "from electra_zh import demo\n"
        "steps = {'vocabulary': demo._steps()['vocabulary']}\n"
        "demo._steps, demo._summary = lambda: steps, lambda *_: []\n"
        "demo.run('output')"
    )
    # As the console script: the working folder is not searched for modules.
    result = _run(installed, "-P", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "output" / "vocab.txt").read_text("utf-8").splitlines()) == 2400


def test_commands_find_recipes_and_the_sample(installed: Path) -> None:
    words = ["-m", "electra_zh", "pretrain", "--config", "small", "--data", "d", "--output", "o"]
    result = _run(installed, *words)
    assert result.returncode == 1
    assert "No such data folder: d" in result.stderr
    code = (
        "import importlib.resources as r\n"
        "print(len(r.files('electra_zh.sample').joinpath('corpus.txt').read_bytes()))"
    )
    assert int(_run(installed, "-c", code).stdout) > 60_000
