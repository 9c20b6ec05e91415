"""Random numbers that follow from a seed alone: those of each step, and what variables start as."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import tensorflow as tf


class RandomKey(NamedTuple):
    """What random numbers follow from: nothing else, so that a resumed run is the run.

    Attributes:
      seed: the run's seed.
      step: scalar int64, the number of the step.
    """

    seed: int
    step: tf.Tensor

    def stateless_seed(self, stream: str) -> tf.Tensor:
        """Returns the int64 [2] seed for TensorFlow's stateless ops; one purpose, one stream."""
        first = (self.seed % 2**31) << 32 | zlib.crc32(stream.encode())
        return tf.stack([tf.constant(first, tf.int64), tf.cast(self.step, tf.int64)])

    def bits(self, stream: str, shape: list[int]) -> tf.Tensor:
        """Returns uniform uint32 of the shape."""
        return tf.random.stateless_uniform(
            shape, self.stateless_seed(stream), None, None, tf.uint32, alg="philox"
        )

    def uniform(self, stream: str, shape: list[int]) -> tf.Tensor:
        """Returns uniform float32 in [0, 1) of the shape, multiples of 2^-24.

        TensorFlow's own float numbers are made from other bits under XLA than without it.
        """
        high = tf.bitwise.right_shift(self.bits(stream, shape), tf.constant(8, tf.uint32))
        return tf.cast(tf.bitcast(high, tf.int32), tf.float32) * 2.0**-24


def truncated_normal(name: str, shape: list[int], *, stddev: float, seed: int) -> tf.Variable:
    """Returns a variable whose start is a truncated normal that follows from (seed, name)."""
    key = [seed % 2**31, zlib.crc32(name.encode()) % 2**31]
    start = tf.random.stateless_truncated_normal(shape, key, 0.0, stddev, alg="philox")
    return tf.Variable(start, name=name)


def glorot_uniform(name: str, shape: list[int], *, seed: int) -> tf.Variable:
    """Returns a variable whose start is Glorot uniform and follows from (seed, name)."""
    key = [seed % 2**31, zlib.crc32(name.encode()) % 2**31]
    limit = (6.0 / (shape[0] + shape[1])) ** 0.5
    start = tf.random.stateless_uniform(shape, key, -limit, limit, alg="philox")
    return tf.Variable(start, name=name)
