"""Lengths of pairs of texts that are cut to a limit, for NumPy arrays and for tensors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

# The text of a pair that loses tokens.
Cut = Literal["longer", "first"]


def cut_pair_lengths(a: Any, b: Any, limit: Any, *, cut: Cut = "longer", xp: Any = np) -> Any:
    """Returns the number of tokens of each pair that remain, at most `limit` together.

    With "longer", tokens are removed one by one from the longer text, from b if both are equal:
    BERT's `_truncate_seq_pair`, in closed form. With "first", b loses tokens only after a has lost
    all of its own.

    Args:
      a: integers [pairs], tokens of the first texts.
      b: integers [pairs], tokens of the second texts.
      limit: tokens of a pair without special ones, one number or [pairs].
      cut: the text that loses tokens.
      xp: the module of `minimum` and `maximum`: `numpy`, or `tensorflow` in graphs.
    """
    keep = limit if cut == "first" else limit // 2
    b = xp.minimum(b, xp.maximum(limit - a, keep))
    return xp.minimum(a, limit - b), b
