"""A step of a task at one padded length, as a program for devices.

All variables are inputs of the program: weights, slots of the optimizer, the number of the step,
the seed of the trial. So one program serves all pretrained models of a size, and all trials. It is
kept for the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.runtime import lowering
from electra_zh.runtime.program import StepProgram


def lower_task(
    step: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]],
    rows: EncodedSplit,
    variables: Mapping[str, tf.Variable],
    *,
    batch_size: int,
    length: int,
    full_precision: bool,
    key: Sequence[Any],
) -> StepProgram:
    """Returns the program of a step, from the cache where it is there.

    Args:
      step: takes the features of a batch and returns tensors by name, the sums of the program.
      rows: rows with the features of a batch.
      variables: all that the step uses, by the names that they get in the program.
      batch_size: groups of a batch.
      length: positions that the rows are padded to.
      full_precision: as in `lowering.lower`.
      key: plain values that the step follows from, next to the shapes of features and variables.
    """
    group = batches.shortest_group(rows)
    own = int(rows.group_lengths[group].max())
    features = batches.make_batch(rows, group, batch_size=batch_size, lengths=(own,))
    shapes = {name: value.shape for name, value in features.items()}
    for name in ("input_ids", "input_mask", "segment_ids", *rows.per_token):
        shapes[name] = (shapes[name][0], length)
    types = {name: value.dtype.name for name, value in features.items()}
    known = {name: [*value.shape.as_list(), value.dtype.name] for name, value in variables.items()}

    def make() -> StepProgram:
        return _lower(step, shapes, types, variables, full_precision=full_precision)

    return lowering.cached([*key, shapes, types, known, full_precision], make)


def _lower(
    step: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    types: Mapping[str, str],
    variables: Mapping[str, tf.Variable],
    *,
    full_precision: bool,
) -> StepProgram:
    sums: list[str] = []

    def named_step(features: Mapping[str, tf.Tensor]) -> list[Any]:
        found = step(features)
        sums[:] = found
        return list(found.values())

    program = lowering.lower(
        named_step,
        shapes,
        list(variables.values()),
        full_precision=full_precision,
        types=types,
    )
    infos = zip(program.sums, sums, strict=True)
    program = program._replace(sums=tuple(info._replace(name=name) for info, name in infos))
    names = {value.name.partition(":")[0]: name for name, value in variables.items()}
    return program.renamed({info.name: names[info.name] for info in program.variables})
