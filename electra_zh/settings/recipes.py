"""Recipes: YAML mappings, shipped with the package or written by the user.

`include: NAME` (or a list) starts from other recipes; later keys override earlier ones.
"""

from __future__ import annotations

import importlib.resources
import math
import os
import re
from typing import Any

import yaml

from electra_zh import files
from electra_zh.errors import UsageError, UserError, did_you_mean

_MOST_VALUES = 100_000  # of a file
# Whole numbers that YAML 1.1 reads in base 8, and times, which it reads in base 60.
_OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|.*(:).*")
# After a key, as Chinese keyboards have it.
_FULL_WIDTH_COLON = re.compile(r"[\w\s-]+：")


def recipe_names(kind: str) -> list[str]:
    """Returns the names of the recipes that the package ships under `configs/<kind>/`."""
    folder = importlib.resources.files("electra_zh.configs").joinpath(kind)
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name: str, *, kind: str) -> dict[str, Any]:
    """Loads a recipe by its name in the package, or by the path of a YAML file.

    Args:
      name: a shipped recipe (`small`) or a path ending in `.yaml` or `.yml`.
      kind: the folder under `configs/` that shipped names are looked up in.

    Returns:
      The recipe's keys with every `include` resolved; included keys come first.

    Raises:
      UsageError: there is no such recipe or file.
      UserError: the file is not a YAML mapping, or its includes are circular.
    """
    return _load_recipe(name, kind, chain=())


def own_keys(name: str, *, kind: str) -> set[str]:
    """Returns the keys that a recipe has itself, without those that it includes."""
    return set(_read_recipe(name, kind)) - {"include"}


def _load_recipe(name: str, kind: str, chain: tuple[str, ...]) -> dict[str, Any]:
    place = os.path.normpath(name)
    if place in chain:
        raise UserError(f"Recipe {name}: `include` is circular: {' -> '.join(chain)}")
    recipe = _read_recipe(name, kind)
    merged: dict[str, Any] = {}
    for included in _included_names(recipe.pop("include", []), name):
        if included.endswith((".yaml", ".yml")) and not os.path.isabs(included):
            included = os.path.join(os.path.dirname(name), included)
        merged.update(_load_recipe(included, kind, (*chain, place)))
    merged.update(recipe)
    return merged


def _read_recipe(name: str, kind: str) -> dict[str, Any]:
    """Returns the keys of a recipe's file."""
    if name.endswith((".yaml", ".yml")):
        text, origin = _read_recipe_file(name), name
    else:
        names = recipe_names(kind)
        if name not in names:
            raise UsageError(
                f'No {kind} recipe is named "{name}".{did_you_mean(name, names)} '
                f"Known: {', '.join(names)}; or give the path of a .yaml file."
            )
        folder = importlib.resources.files("electra_zh.configs").joinpath(kind)
        text, origin = folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), name
    return _parse_mapping(text, origin)


def _included_names(value: Any, origin: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"Recipe {origin}: `include` must be the name of a recipe or a list of names; "
            f"received {value!r}"
        )
    return names


def _read_recipe_file(path: str) -> str:
    if not files.exists(path):
        raise UsageError(f"No such recipe file: {path}")
    return files.decode_text(files.read_bytes(path), path, name=f"Recipe {path}")


class _Loader(yaml.SafeLoader):
    """Loads YAML, and refuses a key that a mapping has twice: YAML itself takes the last one.

    It refuses numbers in base 8 and 60, too, which nobody means, and aliases of aliases that stand
    for more values than memory can hold.
    """

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _count_values(node, {}) > _MOST_VALUES:
            raise ValueError(f"with its aliases it has over {_MOST_VALUES:,} values")
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        is_number = node.tag.endswith((":int", ":float"))
        match = _OTHER_BASE.fullmatch(str(node.value)) if is_number else None
        if match:
            read, write = ("60", "the number") if match[1] else ("8", "it without its first 0")
            raise UserError(
                f"line {node.start_mark.line + 1}: YAML reads {node.value} in base {read}: write "
                f"{write}, or put it in quotes"
            )
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f'line {line}: "{key.value}" is given twice: remove one')
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, counts: dict[int, float]) -> float:
    """Returns the number of values, those of an alias each time that it is used."""
    if id(node) not in counts:
        counts[id(node)] = math.inf  # of a value inside itself
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [each for pair in parts for each in pair]
        counts[id(node)] = 1 + sum(_count_values(each, counts) for each in parts)
    return counts[id(node)]


# PyYAML's errors of wrong dates and tags, long numbers and deep nesting.
_OF_VALUES = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


def _problem(error: Exception, text: str) -> str:
    """Returns the problem of a text that is not YAML, with its line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        problem = f"{error.problem} (line {error.problem_mark.line + 1})"
    else:
        problem = " ".join(str(error).split())
    for number, line in enumerate(text.splitlines(), 1):
        if _FULL_WIDTH_COLON.match(line):
            return f'{problem}. Line {number} has a full-width colon: write ":" and a space'
    return problem


def _parse_mapping(text: str, origin: str) -> dict[str, Any]:
    try:
        # A safe loader: it makes plain values only.
        parsed = yaml.load(text, _Loader)  # nosec B506
    except UserError as error:
        raise UserError(f"Recipe {origin}, {error}") from None
    except (yaml.YAMLError, *_OF_VALUES) as error:
        raise UserError(f"Recipe {origin} is not valid YAML: {_problem(error, text)}") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict) or not all(isinstance(key, str) for key in parsed):
        raise UserError(f"Recipe {origin} must be a mapping of `key: value` lines.")
    return parsed
