"""Random numbers from a seed alone: the draws of each step and the initial values of variables."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import tensorflow as tf


class BatchPart(NamedTuple):
    """A part of a batch: every `parts`-th group of rows, so that each has as many rows of it."""

    number: int | tf.Tensor  # number of its first group
    parts: int  # number of parts
    rows: int  # number of its rows
    group: int = 1  # rows of a group, which stay together

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the rows [rows, ...] of x [rows * parts, ...]."""
        grouped = [self.rows // self.group, self.parts, self.group, *x.shape[1:]]
        found = tf.reshape(x, grouped)[:, self.number]
        return tf.reshape(found, [self.rows, *x.shape[1:]])

    def places(self) -> tf.Tensor:
        """Returns int32 [rows], the numbers of its rows in the whole batch."""
        groups = tf.range(self.rows // self.group) * self.parts + self.number
        return tf.reshape(groups[:, None] * self.group + tf.range(self.group), [self.rows])


class RandomKey(NamedTuple):
    """The seed and the step that determine every random draw, so that a resumed run repeats it.

    A draw's two seed words are made of four numbers: (seed, stream) and (trial, step). Steps are
    below 2^40 and trials below 2^23, so no two keys are equal.
    """

    seed: int | tf.Tensor  # random seed of a run, a number or a scalar int64 tensor
    step: int | tf.Tensor  # number of the step, likewise
    trial: int | tf.Tensor = 0  # number of a trial of fine-tuning, likewise
    part: BatchPart | None = None  # the part of the batch that is drawn for; None for all of it

    def stateless_seed(self, stream: str) -> tf.Tensor:
        """Returns the int64 [2] seed of a named stream of draws, for TensorFlow's stateless ops."""
        first = tf.bitwise.left_shift(_int64(self.seed % 2**31), _int64(32))
        second = tf.bitwise.left_shift(_int64(self.trial), _int64(40))
        return tf.stack([first + zlib.crc32(stream.encode()), second + _int64(self.step)])

    def bits(self, stream: str, shape: list[int]) -> tf.Tensor:
        """Returns uniform uint32 of the shape; those of a part are the whole batch's.

        The first axis is that of the rows of a batch.
        """
        rows, seed = shape[0] * (self.part.parts if self.part else 1), self.stateless_seed(stream)
        whole = [rows, *shape[1:]]
        bits = tf.random.stateless_uniform(whole, seed, None, None, tf.uint32, alg="philox")
        return self.part.of(bits) if self.part else bits

    def uniform(self, stream: str, shape: list[int]) -> tf.Tensor:
        """Returns uniform float32 in [0, 1) of the shape, multiples of 2^-24.

        TensorFlow's own float numbers are made from other bits under XLA than without it.
        """
        high = tf.bitwise.right_shift(self.bits(stream, shape), tf.constant(8, tf.uint32))
        return tf.cast(tf.bitcast(high, tf.int32), tf.float32) * 2.0**-24


def _int64(number: int | tf.Tensor) -> tf.Tensor:
    is_python = isinstance(number, int)
    return tf.constant(number, tf.int64) if is_python else tf.cast(number, tf.int64)


def truncated_normal(name: str, shape: list[int], *, stddev: float, seed: int) -> tf.Variable:
    """Returns a variable with initial values from a truncated normal, by (seed, name)."""
    key = [seed % 2**31, zlib.crc32(name.encode()) % 2**31]
    start = tf.random.stateless_truncated_normal(shape, key, 0.0, stddev, alg="philox")
    return tf.Variable(start, name=name)


def glorot_uniform(name: str, shape: list[int], *, seed: int) -> tf.Variable:
    """Returns a variable with Glorot uniform initial values, by (seed, name)."""
    key = [seed % 2**31, zlib.crc32(name.encode()) % 2**31]
    limit = (6.0 / (shape[0] + shape[1])) ** 0.5
    start = tf.random.stateless_uniform(shape, key, -limit, limit, alg="philox")
    return tf.Variable(start, name=name)
