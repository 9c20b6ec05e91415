"""The forms that models are stored in, one module each.

A module declares `READER`, a function `write` or both, and nothing else mentions it. To add a form,
add its module. A form that is written has the name of its module, with "-" for "_", and the first
line of its docstring is its help. No module imports TensorFlow at its top.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from electra_zh.modules import load_module, module_names, parse_module

if TYPE_CHECKING:
    from electra_zh.convert.weights import Weights


@dataclasses.dataclass(frozen=True)
class FormReader:
    """A form that models are read from."""

    expected: str  # the form, for error messages
    order: int  # readers are tried in increasing order
    matches: Callable[[str], bool]  # whether a path holds a model in this form
    # Reads the model. With `has_checkpoints` it also takes the step of a checkpoint, None for the
    # latest, and `settings_only`.
    read: Callable[..., Weights]
    has_checkpoints: bool = False


def readers() -> list[FormReader]:
    """Returns the readers of all forms in the order that they are tried in."""
    modules = [load_module(__name__, name) for name in module_names(__name__)]
    found = [module.READER for module in modules if hasattr(module, "READER")]
    return sorted(found, key=lambda reader: reader.order)


def writer_summaries() -> dict[str, str]:
    """Returns the forms that can be written and a line on each, importing none of them."""
    found = {}
    for name in module_names(__name__):
        tree = parse_module(__name__, name)
        if any(isinstance(node, ast.FunctionDef) and node.name == "write" for node in tree.body):
            first_line = (ast.get_docstring(tree) or "").partition("\n")[0]
            found[name.replace("_", "-")] = first_line.removesuffix(".")
    return found


def write_form(name: str, weights: Weights, output: str) -> list[str]:
    """Writes a model in a form to a folder that does not exist; returns lines for the user."""
    lines: list[str] = load_module(__name__, name.replace("-", "_")).write(weights, output)
    return lines
