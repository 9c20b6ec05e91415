"""The machine: what TensorFlow is told before it starts.

Bit-for-bit repeatability on CPU: TensorFlow's AddN adds its inputs in the order in which their
buffers become free.
"""

from __future__ import annotations

import tensorflow as tf


def configure() -> None:
    """Sets TensorFlow up; to be called before any operation runs."""
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def use_xla() -> bool | None:
    """Returns whether whole steps are compiled by XLA: on accelerators, where it is faster."""
    return True if tf.config.list_physical_devices("GPU") else None
