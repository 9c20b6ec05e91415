"""Pretraining objectives: each is one module of this package, registered by being here.

    objective = build_objective(config, special)       # PretrainConfig, mask_tensors.SpecialIds
    output = objective(batch, step=step, training=True)
    output.loss                                        # float32 scalar to differentiate

An objective's name is that of its module, and the module's `OBJECTIVE` is its class. The names are
readable without TensorFlow; a class is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from electra_zh.modules import load_module, module_names

if TYPE_CHECKING:
    from electra_zh.pretraining.config import PretrainConfig
    from electra_zh.pretraining.mask_tensors import SpecialIds
    from electra_zh.pretraining.objectives.base import Objective


def objective_names() -> tuple[str, ...]:
    """Returns the names of all objectives, sorted."""
    return module_names(__name__)


def objective_class(name: str) -> type[Objective]:
    """Returns the class of an objective, by its name."""
    found: type[Objective] = load_module(__name__, name).OBJECTIVE
    return found


def build_objective(config: PretrainConfig, special: SpecialIds) -> Objective:
    """Returns the objective that the settings name, with its initial weights."""
    objective = objective_class(config.objective)(config, special)
    if config.attention_start == "local":
        objective.start_locally()
    return objective
