"""Operations that pick or write rows, in two forms: TensorFlow's on a CPU, and that of devices.

A batch may be split over devices. An operation on flat rows of the whole batch would then need the
rows of the others. `split_batch` chooses forms that stay within a sequence, so that devices
exchange sums only: of gradients, in float32, of counts and of losses. They read more memory, which
costs a CPU several percent of the step, and are for steps that are lowered (`runtime/lowering.py`).
The numbers are the same.

Shapes: B batch, L length, T = B * L tokens, N positions of a sequence, M = B * N, V vocabulary.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

# The numbers of marked regions (`regions.py`) while a step is traced for devices.
_split: contextvars.ContextVar[Iterator[int] | None] = contextvars.ContextVar("split", default=None)


@contextlib.contextmanager
def split_batch() -> Iterator[None]:
    """Traces the operations in the `with` block in the form for several devices."""
    token = _split.set(itertools.count())
    try:
        yield
    finally:
        _split.reset(token)


def is_split() -> bool:
    """Returns whether operations are traced for several devices."""
    return _split.get() is not None


def next_region() -> int:
    """Returns the number of the next marked region; only in `split_batch`."""
    numbers = _split.get()
    assert numbers is not None
    return next(numbers)


def product_float32(a: tf.Tensor, b: tf.Tensor, *, transpose_a: bool = False) -> tf.Tensor:
    """Returns the float32 product of matrices: the derivative of a weight, to be added up.

    On devices the products of bfloat16 numbers are never rounded to bfloat16, neither before
    nor while devices add theirs.
    """
    if _split.get():
        return tf.matmul(a, b, transpose_a=transpose_a, output_type=tf.float32)
    return tf.cast(tf.matmul(a, b, transpose_a=transpose_a), tf.float32)


def bias_gradient(dy: tf.Tensor) -> tf.Tensor:
    """Returns float32 [V], the derivative of a bias: the sums over the rows of dy [M, V]."""
    if _split.get():
        return tf.reduce_sum(tf.cast(dy, tf.float32), 0)
    return tf.cast(tf.raw_ops.BiasAddGrad(out_backprop=dy), tf.float32)


def rows_of_table(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns rows [T, E] of a float32 table [V, E], or values [T] of [V], for int32 ids [T]."""
    if not _split.get():
        return tf.gather(table, ids)

    @tf.custom_gradient
    def apply(table: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        # Not IndexedSlices: those of several uses would be one tensor that is not split.
        rows = table.shape[0]
        return tf.gather(table, ids), lambda dy: tf.math.unsorted_segment_sum(dy, ids, rows)

    found: tf.Tensor = apply(tf.convert_to_tensor(table))
    return found


def rows_at(x: tf.Tensor, positions: tf.Tensor, length: int) -> tf.Tensor:
    """Returns rows [M, D] of x [T, D] at `positions` int32 [B, N] of sequences of `length`."""
    if not _split.get():
        return tf.gather(x, tf.reshape(_flat(positions, length), [-1]))
    places = tf.one_hot(positions, length, dtype=x.dtype)  # [B, N, L]
    rows = tf.matmul(places, tf.reshape(x, [-1, length, x.shape[-1]]))  # [B, N, D]
    return tf.reshape(rows, [-1, x.shape[-1]])


def values_at(x: tf.Tensor, positions: tf.Tensor, length: int) -> tf.Tensor:
    """Returns [M, ...], what x [T, ...] has at `positions`, as `rows_at` without a derivative."""
    x = tf.stop_gradient(x)
    if not _split.get():
        return tf.gather(x, tf.reshape(_flat(positions, length), [-1]))
    found = tf.gather(tf.reshape(x, [-1, length, *x.shape[1:]]), positions, batch_dims=1)
    return tf.reshape(found, [-1, *x.shape[1:]])


def columns_at(x: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns [M], the value of each row of x [M, V] at its column, int32 [M]; no derivative."""
    x = tf.stop_gradient(x)
    if not _split.get():
        return tf.gather(x, columns, batch_dims=1)
    here = tf.range(x.shape[1])[None, :] == columns[:, None]
    return tf.reduce_sum(tf.where(here, x, tf.zeros([], x.dtype)), 1)


def block_at(x: tf.Tensor, block: tf.Tensor, size: int) -> tf.Tensor:
    """Returns [M, size], the columns of x [M, V] from `size * block` on, for int32 `block` [M].

    Columns after the last have any value. There is no derivative.
    """
    x = tf.stop_gradient(x)
    rows, width = x.shape
    if not _split.get():
        columns = block[:, None] * size + tf.range(size)
        return tf.gather(x, tf.minimum(columns, width - 1), batch_dims=1)
    blocks = -(-width // size)
    padded = tf.reshape(tf.pad(x, [[0, 0], [0, blocks * size - width]]), [rows, blocks, size])
    here = tf.range(blocks)[None, :] == block[:, None]
    return tf.reduce_sum(tf.where(here[:, :, None], padded, tf.zeros([], x.dtype)), 1)


def write_at(x: tf.Tensor, positions: tf.Tensor, values: tf.Tensor, used: tf.Tensor) -> tf.Tensor:
    """Returns int32 [B, L], x with `values` [B, N] at `positions` [B, N] where `used` [B, N].

    Values are not negative, and used positions of a sequence differ.
    """
    batch, length = x.shape
    if not _split.get():
        # Unused slots write to one place after the batch, which is cut off again.
        flat = tf.where(used, _flat(positions, length), batch * length)
        padded = tf.pad(tf.reshape(x, [-1]), [[0, 1]])
        written = tf.tensor_scatter_nd_update(
            padded, tf.reshape(flat, [-1, 1]), tf.reshape(values, [-1])
        )
        return tf.reshape(written[:-1], [batch, length])
    here = (positions[:, :, None] == tf.range(length)) & used[:, :, None]  # [B, N, L]
    new = tf.reduce_max(tf.where(here, values[:, :, None], -1), 1)
    return tf.where(new >= 0, new, x)


def _flat(positions: tf.Tensor, length: int) -> tf.Tensor:
    """Returns int32 [B, N], the positions as rows of [T, ...]."""
    return positions + length * tf.range(positions.shape[0])[:, None]
