"""Layer norm of a residual and its derivatives, each in one sweep over memory, for GPUs.

Shapes: T tokens, D width, R rows of a block.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from electra_zh.runtime.kernels.dropout import keep

# R, and the blocks of a program of the backward pass, which adds up their sums.
_ROWS, _BLOCKS = 4, 8
_WARPS = 4


class NormSetting(NamedTuple):
    """Static numbers of a norm."""

    eps: float
    rate: float  # of dropout
    rows: int  # of the batch; each has T / rows tokens
    interpret: bool = False


def _columns(width: int) -> list[Any]:
    """Returns the columns of pieces, whose size is the largest power of two that divides the width.

    A kernel's arrays have powers of two of columns.
    """
    size = width & -width
    return [pl.ds(at, size) for at in range(0, width, size)]


def fits(shape: tuple[int, ...], dtype: Any) -> bool:
    """Returns whether the kernels can compute the norm of [T, D] of a type."""
    tokens, width = shape
    pieces = len(_columns(width))
    return dtype == jnp.bfloat16 and tokens % (_ROWS * _BLOCKS) == 0 and pieces <= 8


class _Rows:
    """Some rows of [T, D], in pieces of a power of two of columns."""

    def __init__(
        self, first: Any, width: int, tokens: int, draw: Any, setting: NormSetting
    ) -> None:
        """Takes the rows from `first` on; `draw` is that of `keep`."""
        self._first, self._width, self._tokens = first, width, tokens
        self._draw, self._setting = draw, setting
        self.columns = _columns(width)

    def load(self, ref: Any, here: Any) -> list[jax.Array]:
        """Returns float32 [R, piece] of each piece."""
        return [ref[here, each].astype(jnp.float32) for each in self.columns]

    def store(self, ref: Any, here: Any, values: list[jax.Array]) -> None:
        """Writes the values of each piece."""
        for each, value in zip(self.columns, values, strict=True):
            ref[here, each] = value.astype(ref.dtype)

    def mean(self, values: list[jax.Array]) -> jax.Array:
        """Returns [R, 1]."""
        total = functools.reduce(jnp.add, [jnp.sum(value, 1) for value in values])
        return (total * (1.0 / self._width))[:, None]

    def drop(self, values: list[jax.Array]) -> list[jax.Array]:
        """Returns the values with the dropped ones zero and the others scaled."""
        rate = self._setting.rate
        if not rate:
            return values
        tokens = self._tokens // self._setting.rows  # of a row
        length = jnp.uint32(tokens)
        token = jax.lax.iota(jnp.uint32, _ROWS) + self._first.astype(jnp.uint32)
        row = jax.lax.div(token, jnp.full_like(token, length))
        place = (token - row * length) * jnp.uint32(self._width)
        out = []
        for each, value in zip(self.columns, values, strict=True):
            column = jax.lax.iota(jnp.uint32, each.size) + jnp.uint32(each.start)
            places = place[:, None] + column[None, :]
            kept = keep(self._draw, tokens * self._width, row[:, None], places, rate)
            out.append(jnp.where(kept, value * (1.0 / (1.0 - rate)), 0.0))
        return out


def _forward(*refs: Any, tokens: int, setting: NormSetting) -> None:
    """Writes the norm [R, D], the values normalised [R, D], and 1 / stddev [R]."""
    x, y, gamma, beta, draw, out, normal, inverse = refs
    words = [draw[index] for index in range(4)]
    rows = _Rows(pl.program_id(0) * _ROWS, x.shape[1], tokens, words, setting)
    here = pl.ds(0, _ROWS)
    total = [*map(jnp.add, rows.load(x, here), rows.drop(rows.load(y, here)))]
    mean = rows.mean(total)
    centred = [value - mean for value in total]
    scale = jax.lax.rsqrt(rows.mean([value * value for value in centred]) + setting.eps)
    values = [value * scale for value in centred]
    rows.store(normal, here, values)
    scaled = [
        value * gamma[each][None, :] + beta[each][None, :]
        for value, each in zip(values, rows.columns, strict=True)
    ]
    rows.store(out, here, scaled)
    inverse[...] = scale[:, 0]


def _backward(*refs: Any, tokens: int, setting: NormSetting) -> None:
    """Writes the derivatives by both inputs [R, D], and the sums for gamma and beta [2, D]."""
    dout, normal, inverse, gamma, draw, dx, dy, sums = refs
    words = [draw[index] for index in range(4)]
    start = pl.program_id(0) * (_ROWS * _BLOCKS)
    width = normal.shape[1]

    def add(index: Any, carry: Any) -> Any:
        rows = _Rows(start + index * _ROWS, width, tokens, words, setting)
        here = pl.ds(index * _ROWS, _ROWS)
        d, n = rows.load(dout, here), rows.load(normal, here)
        dn = [a * gamma[each][None, :] for a, each in zip(d, rows.columns, strict=True)]
        along = rows.mean([a * b for a, b in zip(dn, n, strict=True)])
        mean, scale = rows.mean(dn), inverse[here][:, None]
        dtotal = [scale * (a - mean - b * along) for a, b in zip(dn, n, strict=True)]
        rows.store(dx, here, dtotal)
        rows.store(dy, here, rows.drop(dtotal))
        new = [jnp.sum(a * b, 0) for a, b in zip(d, n, strict=True)]
        return [*map(jnp.add, carry[0], new)], [*map(jnp.add, carry[1], [jnp.sum(a, 0) for a in d])]

    columns = _columns(width)
    zeros = [jnp.zeros(each.size, jnp.float32) for each in columns]
    found = jax.lax.fori_loop(0, _BLOCKS, add, (zeros, zeros))
    for row, values in enumerate(found):
        for each, value in zip(columns, values, strict=True):
            sums[row, each] = value


def _compiler() -> Any:
    return triton.CompilerParams(num_warps=_WARPS, num_stages=2)


def forward(
    x: jax.Array,
    y: jax.Array,
    gamma: jax.Array,
    beta: jax.Array,
    draw: jax.Array,
    *,
    setting: NormSetting,
) -> Any:
    """Returns norm(x + dropout(y)), the sum normalised [T, D], and 1 / stddev [T, 1]."""
    tokens, width = x.shape
    block = pl.BlockSpec((_ROWS, width), lambda i: (i, 0))
    vector = pl.BlockSpec((width,), lambda i: (0,))
    out, normal, inverse = pl.pallas_call(
        functools.partial(_forward, tokens=tokens, setting=setting),
        name="norm",
        interpret=setting.interpret,
        compiler_params=_compiler(),
        grid=(tokens // _ROWS,),
        in_specs=[block, block, vector, vector, pl.BlockSpec((4,), lambda i: (0,))],
        out_specs=(block, block, pl.BlockSpec((_ROWS,), lambda i: (i,))),
        out_shape=(
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct(x.shape, x.dtype),
            jax.ShapeDtypeStruct((tokens,), jnp.float32),
        ),
    )(x, y, gamma, beta, draw)
    return out, normal, inverse[:, None]


def backward(
    dout: jax.Array,
    normal: jax.Array,
    inverse: jax.Array,
    gamma: jax.Array,
    draw: jax.Array,
    *,
    setting: NormSetting,
) -> Any:
    """Returns the derivatives by x, y, gamma and beta."""
    tokens, width = dout.shape
    rows = _ROWS * _BLOCKS
    block = pl.BlockSpec((rows, width), lambda i: (i, 0))
    dx, dy, sums = pl.pallas_call(
        functools.partial(_backward, tokens=tokens, setting=setting),
        name="norm_gradient",
        interpret=setting.interpret,
        compiler_params=_compiler(),
        grid=(tokens // rows,),
        in_specs=[
            block,
            block,
            pl.BlockSpec((rows,), lambda i: (i,)),
            pl.BlockSpec((width,), lambda i: (0,)),
            pl.BlockSpec((4,), lambda i: (0,)),
        ],
        out_specs=(block, block, pl.BlockSpec((None, 2, width), lambda i: (i, 0, 0))),
        out_shape=(
            jax.ShapeDtypeStruct(dout.shape, dout.dtype),
            jax.ShapeDtypeStruct(dout.shape, dout.dtype),
            jax.ShapeDtypeStruct((tokens // rows, 2, width), jnp.float32),
        ),
    )(dout, normal, inverse[:, 0], gamma, draw)
    dgamma, dbeta = jnp.sum(sums, 0)
    return dx, dy, dgamma, dbeta
