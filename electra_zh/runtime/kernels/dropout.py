"""The draws of dropout within kernels, bit for bit those of `models/layers.py`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

_word = jnp.uint32


def keep(draw: Any, width: int, row: Any, place: Any, rate: float) -> jax.Array:
    """Returns bool, where dropout keeps values of a tensor.

    As `Dropout.keep` of models/layers.py. `draw` is uint32: two words of the stream, number of
    parts of the batch, index of this part. A value is at `place` of the `width` values of a `row`
    of the batch, both uint32, which broadcast.
    """
    place = (row * draw[2] + draw[3]) * _word(width) + place
    word = place * _word(0x9E3779B9) + draw[0]
    word = _fold(word, 16) * _word(0x7FEB352D)
    word = _fold(word ^ draw[1], 15) * _word(0x846CA68B)
    return _fold(word, 16) >= _word(min(round(rate * 2**32), 2**32 - 1))


def _fold(word: jax.Array, shift: int) -> jax.Array:
    return word ^ jax.lax.shift_right_logical(word, jnp.full_like(word, shift))
