"""Muon for the matrices of the layers (Jordan et al. 2024), Adam for all other weights.

Adam's update of a matrix has a few large directions. Muon's is orthogonal: every direction in which
the gradients of the last steps agree is learnt at the same speed, however small they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import tensorflow as tf

from electra_zh.training.optimizers.adamw import AdamWeightDecay
from electra_zh.training.optimizers.base import UpdateRule, VariableGroup

# Weights of matrices; embeddings, heads and the projection of the embeddings are Adam's.
_MATRICES = re.compile(r"\blayers/\d+/.*kernel")
# Jordan's polynomial a x + b x^3 + c x^5, which moves singular values to about 1 (0.7 to 1.2).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
# The root mean square of an update of Adam (Liu et al. 2025, Moonlight, section 2.2): one rate and
# one weight decay fit both.
_SCALE = 0.2


class Muon(AdamWeightDecay):
    """Orthogonal updates of matrices, from the running mean of the gradients, without Nesterov.

    Adam has its bias correction. The squares of a matrix's gradients are kept without being used:
    so a run may take the slots of one with another optimizer.
    """

    always_corrects = True

    def update(
        self,
        group: VariableGroup,
        rates: Sequence[tf.Tensor],
        rule: UpdateRule,
        *,
        usable: tf.Tensor,
    ) -> None:
        """Updates variables, whose slots have their new values."""
        if not _MATRICES.search(group.variables[0].name):
            super().update(group, rates, rule, usable=usable)
            return
        for variable, mean, rate in zip(group.variables, group.m, rates, strict=True):
            _move(variable, _orthogonal(mean, self.compute_type), rate, usable, rule)


def _orthogonal(matrix: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns U V' of a matrix U S V', about, with more columns than rows; computed in `dtype`."""
    x = _normalized(matrix, dtype)
    for _ in range(_ITERATIONS):
        square = tf.matmul(x, x, transpose_b=True)
        x = tf.matmul(_polynomial(square, tf.matmul(square, square)), x)
    return x


def _is_tall(shape: tf.TensorShape) -> bool:
    return bool(shape[0] > shape[1])


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _normalized(matrix: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns a matrix of norm 1 with more columns than rows."""
    x = tf.transpose(matrix) if _is_tall(matrix.shape) else tf.convert_to_tensor(matrix)
    return tf.cast(x / (tf.sqrt(tf.reduce_sum(tf.square(x))) + 1e-12), dtype)


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _polynomial(square: tf.Tensor, fourth: tf.Tensor) -> tf.Tensor:
    """Returns a I + b X X' + c (X X')^2, which X is multiplied by."""
    total = _B * tf.cast(square, tf.float32) + _C * tf.cast(fourth, tf.float32)
    return tf.cast(total + _A * tf.eye(square.shape[0]), square.dtype)


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _move(
    variable: tf.Variable, found: tf.Tensor, rate: tf.Tensor, usable: tf.Tensor, rule: UpdateRule
) -> None:
    update = tf.cast(tf.transpose(found) if _is_tall(variable.shape) else found, tf.float32)
    update *= _SCALE * max(variable.shape.as_list()) ** 0.5
    if rule.weight_decay:
        update += rule.weight_decay * variable
    variable.assign(tf.where(usable, variable - rate * update, variable), read_value=False)


OPTIMIZER = Muon
