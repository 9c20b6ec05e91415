"""The heads and towers that a run takes from another model, and embeddings as differences.

A masked LM head goes with the network that it was trained on. The encoder's own also starts heads
of a discriminator: `clm_head` is one, and `dot_head` is its logit with another sign.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from electra_zh.convert.weights import Weights
from electra_zh.models.weight_names import delta_name
from electra_zh.pretraining.config import PretrainConfig

_ELECTRIC = ("generator_ltr", "generator_rtl", "cloze_head")


def taken(
    weights: Weights, config: PretrainConfig, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Returns the tensors of heads and towers, of complete parts that fit the run's `shapes`."""
    available = {**weights.tensors, **weights.own}
    tensors: dict[str, np.ndarray] = {}
    for part, origin in _origins(weights, config, shapes).items():
        wanted = {name for name in shapes if name.startswith(f"{part}/")}
        found = {
            f"{part}{name.removeprefix(origin)}": value
            for name, value in available.items()
            if name.startswith(f"{origin}/")
        }
        if wanted == {name for name, value in found.items() if shapes.get(name) == value.shape}:
            tensors |= found
    return tensors


def _origins(
    weights: Weights, config: PretrainConfig, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Returns the part of the source that each part of the run starts from."""
    own = {name.partition("/")[0] for name in weights.own}
    wanted = {name.partition("/")[0] for name in shapes}
    of_encoder = "clm_head" if "clm_head" in own else ""
    if weights.generator is None and weights.has("masked_lm_head"):
        of_encoder = "masked_lm_head"
    origins = {
        **dict.fromkeys(_ELECTRIC, ""),
        "clm_head": of_encoder,
        "dot_head": "dot_head" if "dot_head" in own else of_encoder,
        "masked_lm_head": "" if "generator" in wanted else of_encoder,
    }
    if all(part in own for part in _ELECTRIC):
        origins |= {part: part for part in _ELECTRIC}
    is_electric = "cloze_head" in own, "cloze_head" in wanted
    if is_electric[0] == is_electric[1] and ("dot_head" not in own or "dot_head" in wanted):
        origins["rtd_head"] = "rtd_head"
    return {part: origin for part, origin in origins.items() if origin and part in wanted}


def disentangled(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors with the encoder's embeddings as differences to the generator's.

    A generator that starts fresh starts with the encoder's embeddings.
    """
    found = dict(tensors)
    prefix = "encoder/embeddings/"
    if not any(name.startswith("generator/embeddings/") for name in tensors):
        for name in [name for name in tensors if name.startswith(prefix)]:
            found[name.replace("encoder/", "generator/", 1)] = tensors[name]
    for name in [name for name in tensors if delta_name(name) != name]:
        base = found[name.replace("encoder/", "generator/", 1)]
        found[delta_name(name)] = found.pop(name) - base
    return found
