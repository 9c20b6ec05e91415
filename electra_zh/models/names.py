"""One table of names: our variables <-> the TF1 names of google-research/electra.

A variable's name is its place in the objective: `encoder/layers/0/attention/query/kernel` is what
`objective.encoder.layers[0].attention.query.kernel` is called, in checkpoints too. `encoder` is the
network that fine-tuning keeps: the discriminator, or the only network of plain masked LM.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Weight(NamedTuple):
    """One kind of variable under each naming; `{layer}` stands for a layer's number."""

    ours: str
    google: str


def _network(ours: str, google: str) -> tuple[Weight, ...]:
    layer, google_layer = f"{ours}/layers/{{layer}}", f"{google}/encoder/layer_{{layer}}"
    attention, google_attention = f"{layer}/attention", f"{google_layer}/attention"
    pairs = {
        f"{ours}/embeddings/word_embeddings": f"{google}/embeddings/word_embeddings",
        f"{ours}/embeddings/token_type_embeddings": f"{google}/embeddings/token_type_embeddings",
        f"{ours}/embeddings/position_embeddings": f"{google}/embeddings/position_embeddings",
        f"{ours}/embeddings/layer_norm/gamma": f"{google}/embeddings/LayerNorm/gamma",
        f"{ours}/embeddings/layer_norm/beta": f"{google}/embeddings/LayerNorm/beta",
        f"{ours}/projection/kernel": f"{google}/embeddings_project/kernel",
        f"{ours}/projection/bias": f"{google}/embeddings_project/bias",
        f"{attention}/query/kernel": f"{google_attention}/self/query/kernel",
        f"{attention}/query/bias": f"{google_attention}/self/query/bias",
        f"{attention}/key/kernel": f"{google_attention}/self/key/kernel",
        f"{attention}/key/bias": f"{google_attention}/self/key/bias",
        f"{attention}/value/kernel": f"{google_attention}/self/value/kernel",
        f"{attention}/value/bias": f"{google_attention}/self/value/bias",
        f"{attention}/output/kernel": f"{google_attention}/output/dense/kernel",
        f"{attention}/output/bias": f"{google_attention}/output/dense/bias",
        f"{attention}/layer_norm/gamma": f"{google_attention}/output/LayerNorm/gamma",
        f"{attention}/layer_norm/beta": f"{google_attention}/output/LayerNorm/beta",
        f"{layer}/intermediate/kernel": f"{google_layer}/intermediate/dense/kernel",
        f"{layer}/intermediate/bias": f"{google_layer}/intermediate/dense/bias",
        f"{layer}/output/kernel": f"{google_layer}/output/dense/kernel",
        f"{layer}/output/bias": f"{google_layer}/output/dense/bias",
        f"{layer}/layer_norm/gamma": f"{google_layer}/output/LayerNorm/gamma",
        f"{layer}/layer_norm/beta": f"{google_layer}/output/LayerNorm/beta",
    }
    return tuple(Weight(*pair) for pair in pairs.items())


WEIGHTS: tuple[Weight, ...] = (
    *_network("encoder", "electra"),
    *_network("generator", "generator"),
    Weight("masked_lm_head/dense/kernel", "generator_predictions/dense/kernel"),
    Weight("masked_lm_head/dense/bias", "generator_predictions/dense/bias"),
    Weight("masked_lm_head/layer_norm/gamma", "generator_predictions/LayerNorm/gamma"),
    Weight("masked_lm_head/layer_norm/beta", "generator_predictions/LayerNorm/beta"),
    Weight("masked_lm_head/output_bias", "generator_predictions/output_bias"),
    Weight("rtd_head/dense/kernel", "discriminator_predictions/dense/kernel"),
    Weight("rtd_head/dense/bias", "discriminator_predictions/dense/bias"),
    Weight("rtd_head/output/kernel", "discriminator_predictions/dense_1/kernel"),
    Weight("rtd_head/output/bias", "discriminator_predictions/dense_1/bias"),
)

_GOOGLE_BY_OURS = {weight.ours: weight.google for weight in WEIGHTS}
_OURS_BY_GOOGLE = {weight.google: weight.ours for weight in WEIGHTS}


def variable_name(name: str) -> str:
    """Returns a variable's name without TensorFlow's output number (`:0`)."""
    return name.partition(":")[0]


def to_google(name: str) -> str:
    """Returns the reference's name of our variable.

    Raises:
      KeyError: we have no such variable.
    """
    return _rename(variable_name(name), r"/layers/(\d+)/", "/layers/{layer}/", _GOOGLE_BY_OURS)


def from_google(name: str) -> str:
    """Returns our name of the reference's variable.

    Raises:
      KeyError: the reference has no such variable.
    """
    return _rename(name, r"/layer_(\d+)/", "/layer_{layer}/", _OURS_BY_GOOGLE)


def _rename(name: str, pattern: str, template: str, table: dict[str, str]) -> str:
    match = re.search(pattern, name)
    if match is None:
        return table[name]
    return table[name.replace(match[0], template, 1)].replace("{layer}", match[1])
