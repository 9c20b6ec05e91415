"""Optimizers: each is one module of this package, registered by being here.

An optimizer's name is that of its module, and the module's `OPTIMIZER` is its class. The names are
readable without TensorFlow; a class is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from electra_zh.training.optimizers.base import Optimizer


def optimizer_names() -> tuple[str, ...]:
    """Returns the names of all optimizers, sorted."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if name != "base"))


def optimizer_class(name: str) -> type[Optimizer]:
    """Returns the class of an optimizer, by its name."""
    found: type[Optimizer] = importlib.import_module(f"{__name__}.{name}").OPTIMIZER
    return found
