"""Attention as one kernel per direction for GPUs: no scores or probabilities in memory.

As FlashAttention-2 (Dao 2023), for lengths whose keys a block reads from the cache, with the step's
own dropout: each kernel computes the draws again, bit for bit those of `models/layers.py`.

Shapes: B batch, L length, H heads, S width of a head. Queries, keys and values are one array,
[B, L, 3, H, S], as their product writes it. A block has R rows, of queries or of keys.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from electra_zh.runtime.kernels.dropout import keep

_LOG2_E = math.log2(math.e)
_word = jnp.uint32


class AttentionSetting(NamedTuple):
    """Static numbers of an attention."""

    factor: float  # of the scores
    rate: float  # of dropout
    interpret: bool = False  # compute with JAX's operations, on a CPU


def fits(shape: tuple[int, ...], dtype: Any) -> bool:
    """Returns whether the kernels can compute attention for [B, L, 3, H, S] of a type."""
    _, length, _, _, width = shape
    return dtype == jnp.bfloat16 and length % 64 == 0 and width in (32, 64, 128)


def _rows(length: int) -> int:
    """Returns R: a sequence of 128 is one block, others are blocks of 64."""
    return 128 if length == 128 else 64


class _Scores(NamedTuple):
    """Bias, dropout and factor of the scores of a block: [R keys, R queries] or reversed."""

    bias: Any  # float32 [L] of keys, times log2(e)
    draw: Any  # uint32, as `keep` has it
    place: Any  # uint32: row of the batch, head
    shape: tuple[int, ...]  # of all probabilities [B, H, L, L]
    setting: AttentionSetting

    def of(self, scores: jax.Array, keys: int, first: Any) -> jax.Array:
        """Returns scores * factor + bias in units of log(2); keys are along axis `keys`."""
        rows = scores.shape[keys]
        bias = self.bias[pl.ds(first, rows)] * _LOG2_E
        return scores * (self.setting.factor * _LOG2_E) + jnp.expand_dims(bias, 1 - keys)

    def drop(self, x: jax.Array, keys: int, first: Any, first_query: Any) -> jax.Array:
        """Returns x of a block with the dropped values zero and the others scaled."""
        rate, (number, head) = self.setting.rate, self.place
        if not rate:
            return x
        length = _word(self.shape[-1])
        query = jax.lax.iota(_word, x.shape[1 - keys]) + _word(first_query)
        key = jax.lax.iota(_word, x.shape[keys]) + _word(first)
        place = jnp.expand_dims((head * length + query) * length, keys)
        place += jnp.expand_dims(key, 1 - keys)
        kept = keep(self.draw, math.prod(self.shape[1:]), number, place, rate)
        return jnp.where(kept, x * (1.0 / (1.0 - rate)), 0.0)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the float32 product of blocks."""
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns float32 [R], the scalar products of the rows of a and b, [R, S]."""
    return jnp.sum(a.astype(jnp.float32) * b.astype(jnp.float32), 1)


def _numbers(draw: Any) -> tuple[list[Any], list[Any]]:
    """Returns the words of the draws, and the row and the head of this call of a kernel."""
    return [draw[index] for index in range(4)], [
        pl.program_id(axis).astype(jnp.uint32) for axis in (1, 0)
    ]


def _forward(
    query: Any, key: Any, value: Any, bias: Any, draw: Any, out: Any, lse: Any, *, scores: Any
) -> None:
    """Writes the context [R, S] and the logarithms of the sums of exponentials [R], base 2."""
    rows, width = out.shape
    scores = scores(bias, *_numbers(draw))
    q, first_query = query[...], pl.program_id(2) * rows

    def add(index: Any, carry: Any) -> Any:
        context, top, total = carry
        first = index * rows
        here = pl.ds(first, rows)
        block = scores.of(_dot(q, key[here, :].T), 1, first)
        new_top = jnp.maximum(top, jnp.max(block, 1))
        scale, block = jnp.exp2(top - new_top), jnp.exp2(block - new_top[:, None])
        total = total * scale + jnp.sum(block, 1)
        block = scores.drop(block, 1, first, first_query)
        context = context * scale[:, None] + _dot(block.astype(q.dtype), value[here, :])
        return context, new_top, total

    start = (
        jnp.zeros((rows, width), jnp.float32),
        jnp.full((rows,), -jnp.inf, jnp.float32),
        jnp.zeros((rows,), jnp.float32),
    )
    context, top, total = jax.lax.fori_loop(0, key.shape[0] // rows, add, start)
    out[...] = (context / total[:, None]).astype(out.dtype)
    lse[...] = top + jnp.log2(total)


def _backward(*refs: Any, scores: Any) -> None:
    """Writes the derivatives by the queries, keys and values of a block, [R, 3, S].

    `refs` are blocks as `backward` passes them: queries, keys and values of a sequence, each
    [L, S], bias [L], draw, sums [L], context and its derivative [L, S]; and the result.
    """
    query, key, value, bias, draw, lse, context, dcontext, out = refs
    rows, _, width = out.shape
    dtype, factor = out.dtype, scores.keywords["setting"].factor
    scores = scores(bias, *_numbers(draw))
    own = pl.program_id(2) * rows
    here = pl.ds(own, rows)
    q_own, k_own, v_own = query[here, :], key[here, :], value[here, :]

    def by_queries(index: Any, carry: Any) -> Any:
        dkey, dvalue, dquery = carry
        first = index * rows
        there = pl.ds(first, rows)
        q, dc = query[there, :], dcontext[there, :]
        probs = jnp.exp2(scores.of(_dot(k_own, q.T), 0, own) - lse[there][None, :])  # [keys, q]
        dvalue += _dot(scores.drop(probs, 0, own, first).astype(dtype), dc)
        along = _products(dc, context[there, :])
        dprobs = scores.drop(_dot(v_own, dc.T), 0, own, first)
        dscores = (probs * (dprobs - along[None, :])).astype(dtype)
        dkey += _dot(dscores, q)
        if is_whole:
            dquery += _dot(dscores.T, k_own)
        return dkey, dvalue, dquery

    def by_keys(index: Any, dquery: Any) -> Any:
        first = index * rows
        there = pl.ds(first, rows)
        k = key[there, :]
        probs = jnp.exp2(scores.of(_dot(q_own, k.T), 1, first) - lse[here][:, None])  # [q, keys]
        dprobs = scores.drop(_dot(dcontext[here, :], value[there, :].T), 1, first, own)
        dscores = (probs * (dprobs - along_own[:, None])).astype(dtype)
        return dquery + _dot(dscores, k)

    count = key.shape[0] // rows
    is_whole = count == 1
    zeros = jnp.zeros((rows, width), jnp.float32)
    if is_whole:
        dkey, dvalue, dquery = by_queries(0, (zeros, zeros, zeros))
    else:
        dkey, dvalue, _ = jax.lax.fori_loop(0, count, by_queries, (zeros, zeros, jnp.zeros(())))
        along_own = _products(dcontext[here, :], context[here, :])
        dquery = jax.lax.fori_loop(0, count, by_keys, zeros)
    out[:, 0, :] = (dquery * factor).astype(dtype)
    out[:, 1, :] = (dkey * factor).astype(dtype)
    out[:, 2, :] = dvalue.astype(dtype)


def _specs(shape: tuple[int, ...]) -> tuple[Any, list[Any], list[Any], Any]:
    """Returns the grid, the blocks of inputs with a block's queries and with all, and R."""
    batch, length, _, heads, width = shape
    rows = _rows(length)

    def part(number: int, is_whole: bool) -> Any:
        size = length if is_whole else rows
        return pl.BlockSpec(
            (None, size, None, None, width),
            lambda h, b, i: (b, 0 if is_whole else i, number, h, 0),
        )

    bias = pl.BlockSpec((None, length), lambda h, b, i: (b, 0))
    draw = pl.BlockSpec((4,), lambda h, b, i: (0,))
    sequences = [part(0, True), part(1, True), part(2, True), bias, draw]
    queries = [part(0, False), *sequences[1:]]
    return (heads, batch, length // rows), queries, sequences, rows


def _call(kernel: Any, name: str, qkv: Any, setting: AttentionSetting, **more: Any) -> Any:
    """Returns the call of a kernel, which takes arrays; `more` is the grid and the blocks."""
    batch, length, _, heads, _ = qkv.shape
    scores = functools.partial(_Scores, shape=(batch, heads, length, length), setting=setting)
    warps = 8 if _rows(length) == 128 else 4
    return pl.pallas_call(
        functools.partial(kernel, scores=scores),
        name=name,
        interpret=setting.interpret,
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=2),
        **more,
    )


def forward(
    qkv: jax.Array, bias: jax.Array, draw: jax.Array, *, setting: AttentionSetting
) -> tuple[jax.Array, jax.Array]:
    """Returns the context [B, L, H, S], and float32 [B, H, L] for `backward`.

    `qkv` is [B, L, 3, H, S], `bias` float32 [B, 1, 1, L], `draw` uint32 [4] as `keep` has it.
    """
    batch, length, _, heads, width = qkv.shape
    grid, queries, _, rows = _specs(qkv.shape)
    call = _call(
        _forward,
        "attention",
        qkv,
        setting,
        grid=grid,
        in_specs=queries,
        out_specs=(
            pl.BlockSpec((None, rows, None, width), lambda h, b, i: (b, i, h, 0)),
            pl.BlockSpec((None, None, rows), lambda h, b, i: (b, h, i)),
        ),
        out_shape=(
            jax.ShapeDtypeStruct((batch, length, heads, width), qkv.dtype),
            jax.ShapeDtypeStruct((batch, heads, length), jnp.float32),
        ),
    )
    context, lse = call(qkv, qkv, qkv, bias[:, 0, 0], draw)
    return context, lse


def backward(
    qkv: jax.Array,
    bias: jax.Array,
    draw: jax.Array,
    lse: jax.Array,
    context: jax.Array,
    dcontext: jax.Array,
    *,
    setting: AttentionSetting,
) -> jax.Array:
    """Returns the derivatives [B, L, 3, H, S] for those by the context, [B, L, H, S]."""
    _, length, _, _, width = qkv.shape
    grid, _, sequences, rows = _specs(qkv.shape)
    whole = pl.BlockSpec((None, length, None, width), lambda h, b, i: (b, 0, h, 0))
    call = _call(
        _backward,
        "attention_gradient",
        qkv,
        setting,
        grid=grid,
        in_specs=[
            *sequences,
            pl.BlockSpec((None, None, length), lambda h, b, i: (b, h, 0)),
            whole,
            whole,
        ],
        out_specs=pl.BlockSpec((None, rows, 3, None, width), lambda h, b, i: (b, i, 0, h, 0)),
        out_shape=jax.ShapeDtypeStruct(qkv.shape, qkv.dtype),
    )
    gradient: jax.Array = call(qkv, qkv, qkv, bias[:, 0, 0], draw, lse, context, dcontext)
    return gradient
