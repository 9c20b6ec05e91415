"""The parts that networks are made of: dense, layer norm, GELU, attention, dropout.

Shapes: T tokens of the batch (B * L), D width in, U width out, and whatever a docstring says.

Speed on CPU comes from two decisions:
- Activations are flat, [T, D], so that every dense layer is one matrix product.
- Everything else is written as a few *fused* functions, each compiled by XLA into one sweep over
  memory (`fused`), with its derivative written by hand. TensorFlow runs element-wise operations one
  by one, each a sweep over memory, and bfloat16 ones slowly; a whole step under XLA on CPU is slow
  because of its matrix products. This takes the better half of each. On GPU and TPU, where the
  whole step is compiled, the inner compilation changes nothing.

Inside `with plain_operations():` the same layers are traced without XLA and custom derivatives, so
that the graph can be saved and converted.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

# No public name does this. A tape that sees a call of a compiled function builds a derivative of
# it, intermediate results and all, although the custom gradient round it never uses that.
from tensorflow.python.eager import record

from electra_zh.models import split
from electra_zh.models.random import BatchPart, RandomKey, glorot_uniform, truncated_normal
from electra_zh.models.regions import marked

_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """Traces the layers in the `with` block as plain TensorFlow operations, for export.

    They have no derivative then, and the graph has neither kernels compiled for this machine nor
    fixed shapes: B and L may be unknown (None in a `tf.TensorSpec`).
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a function its derivative, as `tf.custom_gradient`; not in `plain_operations`."""
    differentiable = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)[0] if _plain.get() else differentiable(*args)

    return call


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors into one XLA kernel without a derivative of its own.

    Python arguments (numbers, types) are constants of the compiled function.
    """
    # One for each form of the operations: a function does not trace the same arguments again.
    here, lowered = (tf.function(function, jit_compile=True, autograph=False) for _ in range(2))

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        if _plain.get():
            return function(*args)
        with record.stop_recording():
            return lowered(*args) if split.is_split() else here(*args)

    return call


def _is_for_cpu() -> bool:
    """Returns whether what is traced is computed by TensorFlow here, not lowered or exported."""
    return not split.is_split() and not _plain.get()


def shape_of(x: tf.Tensor) -> list[Any]:
    """Returns the shape of x, as numbers where they are known and as scalar tensors elsewhere."""
    if x.shape.is_fully_defined():
        static: list[Any] = x.shape.as_list()
        return static
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape.as_list())]


def fan_out(x: tf.Tensor, n: int) -> tuple[tf.Tensor, ...]:
    """Returns x n times, for a tensor with a derivative that three or more operations use.

    TensorFlow adds the derivatives of a tensor's uses with one AddN, and Grappler folds additions
    into one. AddN of three or more adds in no fixed order, so training would not repeat bit for
    bit. Here they are added from the last to the first, in one compiled kernel.
    """

    @custom_gradient
    def apply(x: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Callable[..., Any]]:
        return tuple(tf.identity(x) for _ in range(n)), lambda *dys: _add_backwards(*dys)

    return tuple(apply(x))


@fused
def _add_backwards(*terms: tf.Tensor) -> tf.Tensor:
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = term + total
    return total


class Dense(tf.Module):
    """A dense layer on flat input, [T, D] -> [T, U], computed in the input's type.

    `sizes` is (D, U). The initial kernel is drawn from a truncated normal of `stddev`; with None it
    is Glorot uniform, TensorFlow's default.
    """

    def __init__(
        self, path: str, sizes: tuple[int, int], *, seed: int, stddev: float | None
    ) -> None:
        super().__init__()
        if stddev is None:
            self.kernel = glorot_uniform(f"{path}/kernel", list(sizes), seed=seed)
        else:
            self.kernel = truncated_normal(f"{path}/kernel", list(sizes), stddev=stddev, seed=seed)
        self.bias = tf.Variable(tf.zeros(sizes[1]), name=f"{path}/bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns [T, U] in the type of x [T, D]."""
        return dense(x, self.kernel, self.bias)


def dense(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns x @ kernel + bias in the type of x; [T, D], [D, U], [U] -> [T, U]."""
    return _dense(x, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))


@custom_gradient
def _dense(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[..., Any]]:
    cast_kernel = tf.cast(kernel, x.dtype)

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        if split.is_split():
            dbias = split.bias_gradient(dy)
        else:
            # As a product: twice as fast in bfloat16 on a CPU as BiasAddGrad.
            ones = tf.ones([1, x.shape[0]], x.dtype)
            dbias = tf.squeeze(split.product_float32(ones, dy), 0)
        dkernel = split.product_float32(x, dy, transpose_a=True)
        return tf.matmul(dy, cast_kernel, transpose_b=True), dkernel, dbias

    return tf.nn.bias_add(tf.matmul(x, cast_kernel), tf.cast(bias, x.dtype)), gradient


def scores_of_rows(x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns x @ table^T + bias in the type of x; [M, E], [V, E], [V] -> [M, V]."""
    return _scores_of_rows(x, tf.convert_to_tensor(table), tf.convert_to_tensor(bias))


@custom_gradient
def _scores_of_rows(
    x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[..., Any]]:
    cast_table = tf.cast(table, x.dtype)

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dtable = split.product_float32(dy, x, transpose_a=True)
        return tf.matmul(dy, cast_table), dtable, split.bias_gradient(dy)

    logits = tf.matmul(x, cast_table, transpose_b=True)
    return tf.nn.bias_add(logits, tf.cast(bias, x.dtype)), gradient


class LayerNorm(tf.Module):
    """Layer norm over the last axis, statistics in float32 (Ba et al. 2016)."""

    def __init__(self, path: str, size: int, *, eps: float) -> None:
        super().__init__()
        self.gamma = tf.Variable(tf.ones(size), name=f"{path}/gamma")
        self.beta = tf.Variable(tf.zeros(size), name=f"{path}/beta")
        self._eps = eps

    def __call__(self, x: tf.Tensor, *, dtype: tf.DType | None = None) -> tf.Tensor:
        """Returns the normalised x, [T, D], as `dtype` (by default that of x)."""
        return _norm((x,), self.gamma, self.beta, None, self._eps, dtype or x.dtype)

    def add(self, x: tf.Tensor, y: tf.Tensor, dropped: Dropout | None) -> tf.Tensor:
        """Returns the norm of x + dropout(y), both [T, D]."""
        return _norm((x, y), self.gamma, self.beta, dropped, self._eps, x.dtype)


class Dropout(NamedTuple):
    """The source of the draws of a dropout; the kernel that drops values draws them."""

    words: tf.Tensor  # uint32 [2], random words of the stream
    rate: float
    part: BatchPart | None  # the part of the batch that the values are of; None for all of it

    def keep(self, shape: Sequence[int]) -> tf.Tensor:
        """Returns bool of the shape, each True with probability 1 - rate.

        A hash of the position in the whole batch, keyed by the words: dropout needs some ten
        million decisions a step, and TensorFlow's generator (Philox) takes ten times as long.
        The hash is a 32-bit finalizer of two multiplications, with one word mixed in before and one
        between them, so that two streams are not shifts of each other.
        """
        rows = self.part.rows if self.part else shape[0]
        width = math.prod(shape) // rows
        last = shape[-1] if len(shape) > 1 else 1
        row = self.part.places() if self.part else tf.range(rows)
        # The place times a constant, as the sum of three: TensorFlow computes the place itself
        # before it compiles, and a kernel for [32, 12, 128, 128] would hold a table of 25 MB.
        word = (_times(row, width) + self.words[0])[:, None, None]
        word += _times(tf.range(width // last), last)[:, None] + _times(tf.range(last), 1)
        word = _fold(word, 16) * _word(0x7FEB352D)
        word = _fold(tf.bitwise.bitwise_xor(word, self.words[1]), 15) * _word(0x846CA68B)
        threshold = _word(min(round(self.rate * 2**32), 2**32 - 1))
        return tf.reshape(_fold(word, 16) >= threshold, shape)

    def place(self) -> tf.Tensor:
        """Returns uint32 [4] for the kernels of devices: the words, number of parts, this part."""
        parts, number = (self.part.parts, self.part.number) if self.part else (1, 0)
        return tf.concat([self.words, tf.cast(tf.stack([parts, number]), tf.uint32)], 0)


def draw_dropout(key: RandomKey | None, stream: str, rate: float) -> Dropout | None:
    """Returns the dropout of a stream; None where nothing is to be dropped."""
    if key is None or rate == 0.0:
        return None
    return Dropout(key._replace(part=None).bits(stream, [2]), rate, key.part)


_word = functools.partial(tf.constant, dtype=tf.uint32)


def _times(number: tf.Tensor, step: int) -> tf.Tensor:
    return tf.cast(number, tf.uint32) * _word(0x9E3779B9 * step % 2**32)


def _fold(word: tf.Tensor, shift: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(word, tf.bitwise.right_shift(word, _word(shift)))


def dropout(x: tf.Tensor, dropped: Dropout | None) -> tf.Tensor:
    """Returns x with the dropped values zero and the others scaled."""
    if dropped is None:
        return x

    @custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        return _dropped(x, dropped), lambda dy: _dropped(dy, dropped)

    return apply(x)


@fused
def _dropped(x: tf.Tensor, dropped: Dropout) -> tf.Tensor:
    return _drop(tf.cast(x, tf.float32), dropped.keep(x.shape), dropped.rate, x.dtype)


def _drop(x: tf.Tensor, keep: tf.Tensor | None, rate: float, dtype: tf.DType) -> tf.Tensor:
    if keep is not None:
        x = tf.where(keep, x * (1.0 / (1.0 - rate)), 0.0)
    return rounded(x, dtype)


def rounded(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns float32 x as `dtype`, rounded to the nearest, in a fused function.

    XLA's own rounding to bfloat16 keeps the loop that it is in from being vectorized on a CPU: the
    exponentials of the vocabulary's logits took twice as long with it. The bits are the same.
    """
    if dtype != tf.bfloat16 or not _is_for_cpu():
        return tf.cast(x, dtype)
    bits = tf.bitcast(x, tf.uint32)
    is_odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, _word(16)), _word(1))
    high = tf.bitwise.right_shift(bits + _word(0x7FFF) + is_odd, _word(16))
    high = tf.where(x != x, _word(0x7FC0), high)  # NaN
    return tf.bitcast(tf.cast(high, tf.uint16), tf.bfloat16)


@custom_gradient
def gelu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Returns x * Phi(x), by erf (Hendrycks & Gimpel 2016), computed in float32."""
    if x.dtype != tf.bfloat16 or not _is_for_cpu():
        return _gelu(x), lambda dy: _gelu_gradient(x, dy)
    values, slopes = _gelu_tables()
    return _look_up(x, values), lambda dy: _times_looked_up(dy, x, slopes)


@fused
def _gelu(x: tf.Tensor) -> tf.Tensor:
    x32 = tf.cast(x, tf.float32)
    return tf.cast(0.5 * x32 * (1.0 + tf.math.erf(x32 * 0.5**0.5)), x.dtype)


@fused
def _gelu_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    x32 = tf.cast(x, tf.float32)
    cdf = 0.5 * (1.0 + tf.math.erf(x32 * 0.5**0.5))
    pdf = 0.3989422804014327 * tf.exp(-0.5 * x32 * x32)
    return tf.cast(tf.cast(dy, tf.float32) * (cdf + x32 * pdf), x.dtype)


@functools.cache
def _gelu_tables() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns GELU, bfloat16, and its derivative, float32, of all bfloat16 numbers by their bits.

    A core looks up two values in the time in which it computes one (docs/results.md).
    """
    with tf.init_scope():
        x = tf.bitcast(tf.cast(tf.range(2**16), tf.uint16), tf.bfloat16)
        return _gelu(x), _gelu_gradient(tf.cast(x, tf.float32), tf.ones(2**16))


@fused
def _look_up(x: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    return _at_bits(x, table)


@fused
def _times_looked_up(dy: tf.Tensor, x: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    return rounded(tf.cast(dy, tf.float32) * _at_bits(x, table), x.dtype)


def _at_bits(x: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    return tf.gather(table, tf.cast(tf.bitcast(x, tf.uint16), tf.int32))


def _norm(
    inputs: tuple[tf.Tensor, ...],
    gamma: tf.Tensor,
    beta: tf.Tensor,
    dropped: Dropout | None,
    eps: float,
    dtype: tf.DType,
) -> tf.Tensor:
    """Returns norm(x), or norm(x + dropout(y)), for the inputs (x,) or (x, y).

    The second is marked for the kernels of devices. They take gamma and beta after the inputs.
    """
    rate = dropped.rate if dropped else 0.0

    def call(kind: str, function: Callable[..., Any], *values: tf.Tensor) -> Any:
        if not split.is_split() or len(inputs) == 1:
            return function(*values)
        draw = tf.zeros([4], tf.uint32) if dropped is None else dropped.place()
        rows = dropped.part.rows if dropped and dropped.part else inputs[0].shape[0]
        settings = {"eps": eps, "rate": rate, "rows": rows}
        return marked(kind, lambda *those: function(*those[:-1]), [*values, draw], **settings)

    @custom_gradient
    def apply(
        gamma: tf.Tensor, beta: tf.Tensor, *inputs: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[..., Any]]:
        keep: tf.Tensor | None = None

        def forward(*values: tf.Tensor) -> Any:
            nonlocal keep
            *found, keep = _norm_forward(values[:-2], *values[-2:], dropped, eps, dtype)
            return found

        def backward(*values: tf.Tensor) -> Any:
            return _norm_backward(*values, keep, rate, inputs[0].dtype)

        out, normal, inverse = call("norm", forward, *inputs, gamma, beta)

        def gradient(dout: tf.Tensor) -> tuple[tf.Tensor, ...]:
            dout = tf.convert_to_tensor(dout)  # Of a gather it is IndexedSlices, of unknown shape.
            dx, dy, dgamma, dbeta = call("norm_gradient", backward, dout, normal, inverse, gamma)
            return (dgamma, dbeta, dx, dy)[: 2 + len(inputs)]

        return out, gradient

    return apply(gamma, beta, *inputs)


@fused
def _norm_forward(
    inputs: tuple[tf.Tensor, ...],
    gamma: tf.Tensor,
    beta: tf.Tensor,
    dropped: Dropout | None,
    eps: float,
    dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Returns the norm, the sum normalised without gamma and beta, 1 / stddev, what is kept."""
    keep = dropped.keep(inputs[0].shape) if dropped else None
    total = tf.cast(inputs[0], tf.float32)
    for y in inputs[1:]:
        total += _drop(tf.cast(y, tf.float32), keep, dropped.rate if dropped else 0.0, tf.float32)
    width = total.shape[-1]
    centred = total - row_sums(total) / width
    inverse = tf.math.rsqrt(row_sums(centred * centred) / width + eps)
    normal = centred * inverse
    return rounded(normal * gamma + beta, dtype), rounded(normal, dtype), inverse, keep


@fused
def _norm_backward(
    dout: tf.Tensor,
    normal: tf.Tensor,
    inverse: tf.Tensor,
    gamma: tf.Tensor,
    keep: tf.Tensor | None,
    rate: float,
    dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the derivatives of `_norm_forward` with respect to x, y, gamma and beta."""
    dout, normal = tf.cast(dout, tf.float32), tf.cast(normal, tf.float32)
    dnormal = dout * gamma
    mean, along = (row_sums(x) / x.shape[-1] for x in (dnormal, dnormal * normal))
    dtotal = inverse * (dnormal - mean - normal * along)
    dy = _drop(dtotal, keep, rate, dtype)
    return rounded(dtotal, dtype), dy, _column_sums(dout * normal), _column_sums(dout)


def attention_probabilities(
    scores: tf.Tensor, attention_bias: tf.Tensor, factor: float, dropped: Dropout | None
) -> tf.Tensor:
    """Returns dropout(softmax(scores * factor + attention_bias)), the softmax in float32.

    `scores` is [B, H, L, L], the last axis the attended positions. `attention_bias` is float32
    [B, 1, 1, L] or [B, 1, L, L], 0 at positions to attend to and -10000 at the others.
    """

    @custom_gradient
    def apply(scores: tf.Tensor, attention_bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        out, probs = softmax_forward(scores, attention_bias, factor, dropped)
        rate = dropped.rate if dropped else 0.0

        def gradient(dout: tf.Tensor) -> tuple[tf.Tensor, None]:
            return softmax_backward(dout, out, probs, factor, rate), None

        return out, gradient

    return apply(scores, attention_bias)


@fused
def softmax_forward(
    scores: tf.Tensor, attention_bias: tf.Tensor, factor: float, dropped: Dropout | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the probabilities [B, H, L, L] after dropout, and those before it."""
    scaled = tf.cast(scores, tf.float32) * factor + attention_bias
    powers = tf.exp(scaled - row_maxima(scaled))
    probs = powers * (1.0 / row_sums(powers))
    keep = dropped.keep(scores.shape) if dropped else None
    out = _drop(probs, keep, dropped.rate if dropped else 0.0, scores.dtype)
    return out, rounded(probs, scores.dtype)


@fused
def softmax_backward(
    dout: tf.Tensor, out: tf.Tensor, probs: tf.Tensor, factor: float, rate: float
) -> tf.Tensor:
    """Returns the derivative by the scores, [B, H, L, L], for `dout` by the result `out`.

    What was dropped is 0 in `out`; a probability that is 0 has no derivative either way.
    """
    dout, dtype = tf.cast(dout, tf.float32), probs.dtype
    along = row_sums(dout * tf.cast(out, tf.float32))
    dprobs = _drop(dout, out != 0 if rate else None, rate, tf.float32)
    return rounded(factor * tf.cast(probs, tf.float32) * (dprobs - along), dtype)


def row_sums(x: tf.Tensor) -> tf.Tensor:
    """Returns the sums over the last axis, [..., 1] for [..., L]."""
    return _over_rows(tf.reduce_sum, tf.add, x)


def row_maxima(x: tf.Tensor) -> tf.Tensor:
    """Returns the maxima over the last axis, [..., 1] for [..., L]."""
    return _over_rows(tf.reduce_max, tf.maximum, x)


def _over_rows(
    of_all: Callable[..., tf.Tensor], of_two: Callable[..., tf.Tensor], x: tf.Tensor
) -> tf.Tensor:
    """Returns [..., 1] for [..., L]; on a CPU of up to 16 parts of each row at a time.

    XLA there takes the values of a row one after the other, and each waits for the one before it.
    Longer reductions it cuts into windows of 32 values, which no other operation is fused with.
    """
    if not _is_for_cpu() or (parts := _parts_of_row(x.shape[-1])) == 1:
        return of_all(x, -1, keepdims=True)
    size = x.shape[-1] // (2 * parts) * 2
    rest = x[..., parts * size :]
    x = tf.reshape(x[..., : parts * size], [*shape_of(x)[:-1], parts, size])
    x = of_all(x, -2)
    while x.shape[-1] % 2 == 0:
        x = of_two(*tf.split(x, 2, -1))
    x = of_all(x, -1, keepdims=True)
    return of_two(x, of_all(rest, -1, keepdims=True)) if rest.shape[-1] else x


def _parts_of_row(width: int) -> int:
    """Returns a number of parts of even length, of at least 8 values; 1 if a row has none.

    Parts of a long row leave a rest of less than 32 values.
    """
    even = [n for n in range(2, 17) if width % (2 * n) == 0 and width // n >= 8]
    if width >= 512 and (not even or width // even[-1] >= 512):
        return 16
    return even[-1] if even else 1


def _column_sums(x: tf.Tensor) -> tf.Tensor:
    """Returns [D] for [T, D]; on a CPU of the sums of four parts, as in `_over_rows`."""
    if _is_for_cpu() and x.shape[0] % 4 == 0:
        for _ in range(2):
            x = tf.add(*tf.split(x, 2, 0))
    return tf.reduce_sum(x, 0)
