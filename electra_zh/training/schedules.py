"""Learning rates by step and by layer. TensorFlow and NumPy are not imported until a rate is made.

A schedule is one entry of `SCHEDULES`: a function of what is left of the training, from 1 to 0, and
the settings of the decay. It returns the factor of the peak rate, without warm-up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


class Decay(NamedTuple):
    """Settings of the decay."""

    power: float  # of the polynomial
    fraction: float  # of the steps, the last ones, that `wsd` decays in


def _cosine(left: Any, decay: Decay) -> Any:
    return 0.5 - 0.5 * _operations(left).cos(math.pi * left)


def _warmup_stable_decay(left: Any, decay: Decay) -> Any:
    """Constant, then polynomial in the last steps (Hu et al. 2024, MiniCPM, section 4)."""
    return _operations(left).minimum(left / decay.fraction, 1.0) ** decay.power


SCHEDULES: dict[str, Callable[[Any, Decay], Any]] = {
    "polynomial": lambda left, decay: left**decay.power,
    "cosine": _cosine,
    "wsd": _warmup_stable_decay,
    "constant": lambda left, decay: 1.0,
}


def _operations(value: Any) -> Any:
    """Returns TensorFlow for tensors, NumPy for numbers."""
    import numpy as np

    if isinstance(value, int | np.number):
        return np
    import tensorflow as tf

    return tf


def learning_rate(
    step: tf.Tensor | int,
    peak: float,
    *,
    num_train_steps: int,
    num_warmup_steps: int,
    schedule: str = "polynomial",
    power: float = 1.0,
    fraction: float = 0.1,
) -> tf.Tensor | np.float32:
    """Returns the rate of update number `step`, counted from 1 (reference: optimization.py).

    The schedule over all the steps, TIMES min(1, step / warm-up): warm-up does not delay the decay.
    Parity: update k uses step k, so the first rate is not 0 and the last one is.
    """
    import numpy as np

    ops = _operations(step)
    now = np.float32(step) if ops is np else ops.cast(step, ops.float32)
    left = 1.0 - ops.minimum(now, float(num_train_steps)) / float(num_train_steps)
    rate = peak * SCHEDULES[schedule](left, Decay(power, fraction))
    rate = np.float32(rate) if ops is np else ops.convert_to_tensor(rate, ops.float32)
    if num_warmup_steps:
        rate *= ops.minimum(1.0, now / float(num_warmup_steps))
    return rate


def layerwise_factors(
    names: Sequence[str], *, num_hidden_layers: int, decay: float, top_layer_decay: int = 2
) -> list[float]:
    """Returns the factors of the variables' learning rates (reference: optimization.py).

    The depth of the embeddings and their projection is 0, that of layer i is i + 1. The factor is
    decay to the power of num_hidden_layers - depth + `top_layer_decay` for `encoder/...`, else 1.

    Parity: the reference's top layer gets decay squared (`top_layer_decay` 2); published scores
    were made so. 1 is what the paper describes.
    """
    factors = []
    for name in names:
        match = re.match(r"encoder/(?:layers/(\d+)/)?", name)
        if match is None:
            factors.append(1.0)
            continue
        depth = 0 if match[1] is None else int(match[1]) + 1
        factors.append(decay ** (num_hidden_layers - depth + top_layer_decay))
    return factors
