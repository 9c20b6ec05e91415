"""The forms that models are stored in, one module each.

A module declares `READER`, `WRITER` or both, and nothing else mentions it. To add a form, add its
module. No module imports TensorFlow at its top, so the names of the forms are quick to list.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class FormWriter:
    """A form that models are written in."""

    name: str  # the word on the command line
    summary: str  # the form, for help
    # Writes the model to a folder that does not exist; returns lines for people.
    write: Callable[[Weights, str], list[str]]


def readers() -> list[FormReader]:
    """Returns the readers of all forms in the order that they are tried in."""
    return sorted(_declared("READER"), key=lambda reader: reader.order)


def writers() -> dict[str, FormWriter]:
    """Returns the writers of all forms by name."""
    return {writer.name: writer for writer in _declared("WRITER")}


def _declared(name: str) -> Iterator[Any]:
    for module in pkgutil.iter_modules(__path__):
        found = importlib.import_module(f"{__name__}.{module.name}")
        if hasattr(found, name):
            yield getattr(found, name)
