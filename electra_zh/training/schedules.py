"""Learning rates as functions of the step."""

from __future__ import annotations

import tensorflow as tf


def warmup_polynomial(
    step: tf.Tensor,
    peak: float,
    *,
    num_train_steps: int,
    num_warmup_steps: int,
    power: float = 1.0,
) -> tf.Tensor:
    """Returns the rate of update number `step`, counted from 1 (reference: optimization.py).

    Polynomial decay to 0 over all the steps, TIMES min(1, step / warm-up): warm-up does not delay
    the decay. Parity: update k uses step k, so the first rate is not 0 and the last one is.

    Args:
      step: scalar integer tensor.
      peak: the rate without warm-up and decay.
      num_train_steps: the rate is 0 from this step on.
      num_warmup_steps: 0 for none.
      power: of the decay.
    """
    now = tf.cast(step, tf.float32)
    left = 1.0 - tf.minimum(now, float(num_train_steps)) / float(num_train_steps)
    rate = peak * left**power
    if num_warmup_steps:
        rate *= tf.minimum(1.0, now / float(num_warmup_steps))
    return rate
