"""The machine that a run trains on."""

from __future__ import annotations

import tensorflow as tf


def use_xla() -> bool | None:
    """Returns whether whole steps are compiled by XLA: True on a GPU, None (no) on CPU.

    On CPU XLA's matrix products are slower than TensorFlow's; only what lies between them is
    compiled there (`models/layers.py`).
    """
    return True if tf.config.list_physical_devices("GPU") else None


def is_tpu() -> bool:
    """Returns whether the run's device is a TPU, which takes minutes to compile each shape."""
    return bool(tf.config.list_logical_devices("TPU"))
