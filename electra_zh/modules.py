"""Modules registered by being in a folder: listed without importing them, loaded by name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any


def module_names(package: str) -> tuple[str, ...]:
    """Returns the names of a package's modules, sorted, without importing them; omits `base`."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return tuple(sorted(each.name for each in found if not each.ispkg and each.name != "base"))


def parts_of_folders(package: str, part: str) -> dict[str, str]:
    """Returns the modules `part` and `part_SUFFIX` of a package's folders, without importing them.

    The keys are FOLDER and FOLDER-SUFFIX, the last folder first.
    """
    found = {}
    folders = pkgutil.iter_modules(importlib.import_module(package).__path__)
    for folder in sorted((each.name for each in folders if each.ispkg), reverse=True):
        for name in module_names(f"{package}.{folder}"):
            if name == part or name.startswith(f"{part}_"):
                key = folder + name.removeprefix(part).replace("_", "-")
                found[key] = f"{folder}.{name}"
    return found


def load_module(package: str, name: str) -> Any:
    """Returns a module of a package, importing it."""
    return importlib.import_module(f"{package}.{name}")


def parse_module(package: str, name: str) -> ast.Module:
    """Returns the syntax tree of a module, without importing it."""
    spec = importlib.util.find_spec(f"{package}.{name}")
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
