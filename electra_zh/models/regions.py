"""Marks around operations of a lowered step that a device may have a kernel for.

TensorFlow lowers the operations as they are, so a program runs anywhere. On a GPU
`runtime/kernels/` puts a kernel in their place, from the tensors at the first mark to those at the
last; the operations between are dead code then. Elsewhere the marks are removed.

A mark is XLA's optimization barrier, whose first operand is text, JSON as a constant of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# As in `recompute.py`: no public name does this.
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from electra_zh.models import split


def marked(
    kind: str,
    function: Callable[..., Sequence[tf.Tensor]],
    inputs: Sequence[tf.Tensor],
    **settings: Any,
) -> list[tf.Tensor]:
    """Returns function(*inputs), marked as a region of a kind; only in `split.split_batch`."""
    number = split.next_region()
    outputs = function(*_mark(inputs, kind=kind, number=number, is_end=False, **settings))
    return _mark(outputs, kind=kind, number=number, is_end=True, **settings)


def _mark(tensors: Sequence[tf.Tensor], **values: Any) -> list[tf.Tensor]:
    text = tf.constant(list(json.dumps(values).encode()), tf.uint8)
    return list(gen_xla_ops.xla_optimization_barrier([text, *tensors])[1:])
