"""Recomputation: the backward pass computes parts of a network again, instead of keeping them.

Memory for activations is what limits long sequences and large batches. Parts are `attention`, its
scores and probabilities (B * H * L * L numbers each), or complete `layers`, of which then only the
inputs are kept. The numbers are the same.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

# As in `layers.py`: the tape must not record what will be computed again.
from tensorflow.python.eager import record

from electra_zh.models import split

_parts = contextvars.ContextVar("parts", default="none")


@contextlib.contextmanager
def recompute(parts: str) -> Iterator[None]:
    """Traces networks in the `with` block with recomputation of `attention`, `layers` or `none`."""
    token = _parts.set(parts)
    try:
        yield
    finally:
        _parts.reset(token)


def recomputed(part: str, function: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> tf.Tensor:
    """Returns function(*inputs), which the backward pass computes again if `part` is to be."""
    if _parts.get() != part:
        return function(*inputs)

    @tf.custom_gradient
    def apply(*inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        with record.stop_recording():
            out = function(*inputs)

        def gradient(dout: tf.Tensor, variables: Sequence[tf.Variable] | None = None) -> Any:
            again = _after(inputs, dout)
            with recompute("none"), tf.GradientTape() as tape:
                tape.watch(again)
                second = function(*again)
            found = tape.gradient(second, [*again, *(variables or ())], output_gradients=dout)
            derivatives = tuple(found[: len(inputs)])
            return derivatives if variables is None else (derivatives, found[len(inputs) :])

        return out, gradient

    result: tf.Tensor = apply(*inputs)
    return result


def _after(inputs: Sequence[tf.Tensor], dout: tf.Tensor) -> list[tf.Tensor]:
    """Returns the inputs as other tensors, which exist once `dout` does.

    Otherwise a compiler would see that both computations are one, and keep its results.
    """
    if split.is_split():
        # No public name does this. XLA ignores control dependencies.
        from tensorflow.compiler.tf2xla.ops import gen_xla_ops

        return list(gen_xla_ops.xla_optimization_barrier([*inputs, dout])[: len(inputs)])
    with tf.control_dependencies([dout]):
        return [tf.identity(x) for x in inputs]
