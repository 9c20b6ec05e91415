"""The checksum by which a run recognizes the model that it was started with."""

from __future__ import annotations

import hashlib

import numpy as np

from electra_zh.convert.weights import Weights


def digest(weights: Weights) -> str:
    """Returns the SHA-256 of a model's tensors and their names."""
    found = hashlib.sha256()
    for tensors in (weights.tensors, weights.own):
        for name in sorted(tensors):
            found.update(name.encode())
            found.update(np.ascontiguousarray(tensors[name]).data)
    return found.hexdigest()
