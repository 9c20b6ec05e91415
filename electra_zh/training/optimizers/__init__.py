"""Optimizers: each is one module of this package, registered by being here.

An optimizer's name is that of its module, and the module's `OPTIMIZER` is its class. The names are
readable without TensorFlow; a class is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from electra_zh.modules import load_module, module_names

if TYPE_CHECKING:
    from electra_zh.training.optimizers.base import Optimizer


def optimizer_names() -> tuple[str, ...]:
    """Returns the names of all optimizers, sorted."""
    return module_names(__name__)


def optimizer_class(name: str) -> type[Optimizer]:
    """Returns the class of an optimizer, by its name."""
    found: type[Optimizer] = load_module(__name__, name).OPTIMIZER
    return found
