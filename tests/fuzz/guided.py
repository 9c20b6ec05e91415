"""Coverage-guided fuzzing of the readers with atheris, where it is installed.

    PYTHONPATH=tests python -m fuzz.guided [--runs 2000] [--tests NAME ...]

Each test of a reader in this folder gets its bytes from libFuzzer instead of hypothesis: inputs
that reach new branches of the package are kept and changed further. It starts from inputs of
hypothesis. Each test has a process, which ends at the first exception, at over 60 seconds for an
input, and at over 4 GB of memory. The output then names the file that has the input.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MODULES = ("test_data_files", "test_settings_and_models", "test_torch_files")
_SEEDS = 50


class _Bytes:
    """Stands for hypothesis' data: every draw is the given bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def draw(self, _: Any) -> bytes:
        return self._data


class _DrawnError(Exception):
    """Ends a test at its draw, with the strategy."""

    def draw(self, strategy: Any) -> bytes:
        self.args = (strategy,)
        raise self


class Target(NamedTuple):
    """A case of a test that takes bytes."""

    test: Any
    case: dict[str, Any]

    def __call__(self, data: bytes) -> None:
        """Runs the test with bytes."""
        self._call(data, _Bytes(data))

    def seeds(self) -> list[bytes]:
        """Returns inputs of the test's own strategy."""
        strategy = self.test.hypothesis._given_kwargs.get("data")
        if strategy is None:
            with contextlib.suppress(_DrawnError):
                self._call(b"", drawn := _DrawnError())
            (strategy,) = drawn.args
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [strategy.example() for _ in range(_SEEDS)]

    def _call(self, data: bytes, choice: Any) -> None:
        values = {"data": data, "choice": choice, "text": "字 a"}
        given = {name: values[name] for name in self.test.hypothesis._given_kwargs}
        self.test.hypothesis.inner_test(**given, **self.case)


def targets() -> Iterator[tuple[str, Target]]:
    """Yields the name of each target, and the target."""
    for module in MODULES:
        if module == "test_torch_files" and not importlib.util.find_spec("torch"):
            continue
        for name, function in vars(importlib.import_module(f"fuzz.{module}")).items():
            if hasattr(function, "hypothesis"):
                for number, case in enumerate(_cases(function)):
                    yield f"{name}-{number}", Target(function, case)


def _cases(function: Any) -> Iterator[dict[str, Any]]:
    """Yields the arguments of each case of a test, which its marks have."""
    rows = []
    for mark in getattr(function, "pytestmark", ()):
        if mark.name == "parametrize":
            names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
            values = [each if len(names) > 1 else (each,) for each in mark.args[1]]
            rows.append([dict(zip(names, each, strict=True)) for each in values])
    for chosen in itertools.product(*rows):
        yield {name: value for each in chosen for name, value in each.items()}


def fuzz(name: str, runs: int) -> None:
    """Fuzzes one target; the process ends with it."""
    import atheris

    with atheris.instrument_imports(include=["electra_zh"]):
        target = dict(targets())[name]
    folder = Path(tempfile.mkdtemp())
    for number, seed in enumerate(target.seeds()):
        (folder / str(number)).write_bytes(seed)
    limits = [f"-runs={runs}", "-timeout=60", "-rss_limit_mb=4096", "-max_len=20000"]
    words = [sys.argv[0], *limits, f"-artifact_prefix={tempfile.gettempdir()}/{name}-", str(folder)]
    atheris.Setup(words, target)
    atheris.Fuzz()


def main() -> None:
    """Fuzzes all targets, each in a process; the exit code is 1 after a find."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="inputs of each test")
    parser.add_argument("--tests", nargs="*", default=[], help="names, by default all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if not importlib.util.find_spec("atheris"):
        print("atheris is not installed: no coverage-guided fuzzing. pip install atheris")
        return
    if words.one:
        fuzz(words.one, words.runs)
    failed = []
    for name in words.tests or [name for name, _ in targets()]:
        command = [sys.executable, "-m", "fuzz.guided", "--one", name, "--runs", str(words.runs)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        covered = re.findall(r"cov: (\d+)", result.stderr) or ["0"]
        print(f"{name}: {words.runs:,} inputs, {covered[0]} to {covered[-1]} branches", flush=True)
        if result.returncode:
            failed.append(name)
            print(result.stderr[-3000:], flush=True)
    if failed:
        sys.exit(f"Finds in {', '.join(failed)}")


if __name__ == "__main__":
    main()
