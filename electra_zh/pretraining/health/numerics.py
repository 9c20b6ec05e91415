"""The origin of NaN and infinite numbers: the first layer that gives them, for --debug-numerics."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.errors import few
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining.objectives.base import Objective


def explain(objective: Objective, batch: Mapping[str, Any], step: int) -> str:
    """Returns sentences about the first numbers of a step that are not finite.

    Computes the step's losses and gradients once more, layer by layer; changes nothing. `batch` has
    int32 [B, L], and `step` is the number that the step's draws follow from.
    """
    variables = objective.trainable_variables
    bad = [variable_name(v.name) for v in objective.variables if not _is_finite(v)]
    if bad:
        return f"The weights of {few(bad)} are not finite before the step"
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    with tf.GradientTape() as tape, _outputs(objective) as outputs:
        output = objective(tensors, step=step, training=True)
    for name, finite in outputs:
        if not finite:
            return f"The first layer whose output is not finite: {name}"
    gradients = tape.gradient(output.loss, variables)
    bad = [
        variable_name(variable.name)
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None and not _is_finite(gradient)
    ]
    if not np.isfinite(output.loss):
        return "All layers' outputs are finite, the loss is not"
    if not bad:
        return "Computed once more, layer by layer, all numbers are finite"
    for name, _ in reversed(outputs):
        if any(each.startswith(f"{name}/") for each in bad):
            return f"Outputs are finite. The first layer whose gradient is not: {name}"
    return f"Outputs are finite. Gradients are not: {few(bad)}"


@contextlib.contextmanager
def _outputs(objective: Objective) -> Iterator[list[tuple[str, bool]]]:
    """Yields a list that gets the name of each layer that is called, and if its output is finite.

    An inner layer comes before the one that calls it.
    """
    found: list[tuple[str, bool]] = []
    modules = [each for each in objective.submodules if each.variables and callable(each)]

    def watched(call: Any, self: tf.Module, *args: Any, **settings: Any) -> Any:
        output = call(self, *args, **settings)
        name = os.path.commonpath([variable_name(value.name) for value in self.variables])
        found.append((name, _is_finite(output)))
        return output

    classes: dict[Any, Any] = {type(each): type(each).__call__ for each in modules}
    try:
        for kind, call in classes.items():
            kind.__call__ = functools.partialmethod(functools.partial(watched, call))
        yield found
    finally:
        for kind, call in classes.items():
            kind.__call__ = call


def _is_finite(values: Any) -> bool:
    if isinstance(values, tf.IndexedSlices):
        values = values.values
    return all(
        bool(np.all(np.isfinite(tf.cast(each, tf.float32)))) for each in tf.nest.flatten(values)
    )
