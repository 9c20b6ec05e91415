"""Mutation testing: changes one operator or number of a module at a time and runs its unit tests.

    python scripts/mutate.py electra_zh/training/schedules.py tests/training/test_schedules.py

A mutant that no test notices survives, and is printed with its line. Each mutant is a process
forked from one that has imported TensorFlow, so that it costs the time of the tests alone. With
`--sample N` a fixed choice of N mutants is tried. docs/reliability.md has the survivors.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.USub: ast.UAdd},
}


def _mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Yields the line, the change and the tree of each mutant."""
    for index, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            other = copy.deepcopy(tree)
            target = next(each for number, each in enumerate(ast.walk(other)) if number == index)
            change(target)
            yield getattr(node, "lineno", 0), f"{ast.unparse(node)[:60]}: {what}", other


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for field in ("op", "ops"):
        found = getattr(node, field, None)
        first = found[0] if isinstance(found, list) and found else found
        swap = _SWAPS.get(type(first))
        if swap is not None:
            value = [swap(), *found[1:]] if isinstance(found, list) else swap()
            name = f"{type(first).__name__} to {swap.__name__}"
            yield name, lambda target, f=field, v=value: setattr(target, f, v)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        new = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} to {new}", lambda target: setattr(target, "value", new)


class _Finder(importlib.abc.MetaPathFinder):
    """Imports one module from a file of changed source."""

    def __init__(self, name: str, path: str) -> None:
        self._name, self._path = name, path

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path)


def _killed(path: Path, source: str, tests: list[str], seconds: float) -> bool:
    """Returns whether the tests fail, crash or hang with the changed module."""
    with tempfile.TemporaryDirectory() as folder:
        # TensorFlow reads the source of functions that it converts.
        changed = Path(folder, path.name)
        changed.write_text(source, encoding="utf-8")
        child = os.fork()
        if child == 0:
            _test(".".join(path.with_suffix("").parts), str(changed), tests, seconds)
        return os.waitpid(child, 0)[1] != 0


def _test(name: str, path: str, tests: list[str], seconds: float) -> NoReturn:
    code = 1
    with contextlib.suppress(BaseException):
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        signal.alarm(int(seconds))
        sys.meta_path.insert(0, _Finder(name, path))
        import pytest

        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    os._exit(code)


def main() -> None:
    """Prints the survivors of a module, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int, default=0)
    words = parser.parse_args()
    import hypothesis  # noqa: F401
    import numpy as np  # noqa: F401
    import tensorflow as tf  # noqa: F401

    tree = ast.parse(words.module.read_text(encoding="utf-8"))
    start = time.monotonic()
    assert not _killed(words.module, ast.unparse(tree), words.tests, 600), (
        "the tests fail without a change"
    )
    limit = 10 * (time.monotonic() - start) + 30
    mutants = list(_mutants(tree))
    if words.sample:
        mutants = random.Random(0).sample(mutants, min(words.sample, len(mutants)))
    survivors = 0
    for line, change, mutant in sorted(mutants, key=lambda each: each[0]):
        if not _killed(words.module, ast.unparse(mutant), words.tests, limit):
            survivors += 1
            print(f"{words.module}:{line}: {change}", flush=True)
    print(f"{words.module}: {len(mutants)} mutants, {survivors} survived", flush=True)


if __name__ == "__main__":
    main()
