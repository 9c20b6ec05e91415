"""The generator of another model, for `--generator SOURCE`: it draws the fakes and is not trained.

With it a discriminator alone can be pretrained further, and no step is spent on a generator
(Fast-ELECTRA: Dong et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from electra_zh.convert import adapt
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.pretraining.config import Init, PretrainConfig
from electra_zh.text.vocabulary import Vocabulary


class ForeignGenerator(NamedTuple):
    """A generator of another model."""

    start: Init  # its source
    size: ModelConfig
    tensors: Mapping[str, np.ndarray]  # by the names of the run's variables
    line: str  # description for people


def read(start: Init, vocabulary: Vocabulary) -> ForeignGenerator:
    """Reads the masked LM of a model: an ELECTRA's generator, a BERT, or one of our runs.

    Raises:
      UserError: it cannot be read, has no masked LM, or has another vocabulary.
    """
    named = f"--generator {start.source}"
    try:
        weights = open_source(start.source)
    except UserError as error:
        raise UserError(f"--generator: {error}") from None
    if not weights.has("masked_lm_head"):
        raise UserError(
            f"{named} has no masked LM head: give the generator of an ELECTRA, a masked LM or a "
            "BERT"
        )
    if weights.vocabulary is None:
        raise UserError(f"{named} has no vocabulary: put its vocab.txt or spm.model next to it")
    if weights.vocabulary != vocabulary:
        raise UserError(
            f"{named} has another vocabulary than the data ({weights.vocabulary.size:,} and "
            f"{vocabulary.size:,} tokens): build the data with the generator's vocabulary"
        )
    found = weights.digest()
    if start.sha256 and start.sha256 != found:
        raise UserError(
            f"{named} has changed since the run was started with it. Restore the former model, "
            "or start a new run in another --output."
        )
    weights, _ = adapt.with_vocabulary(weights, vocabulary, seed=0)  # without rows of padding
    size, tensors = weights.generator, weights.generator_tensors()
    if size is None:
        size = weights.model
        tensors = {
            f"generator/{n.partition('/')[2]}": v for n, v in weights.part("encoder").items()
        }
    described = Init(start.source, kind=weights.kind, step=weights.step, sha256=found)
    tensors |= weights.part("masked_lm_head")
    return ForeignGenerator(described, size, tensors, _line(described, size))


def of_weights(
    start: Init, weights: Mapping[str, np.ndarray], config: PretrainConfig
) -> ForeignGenerator:
    """Returns the generator among the weights of a checkpoint, or that an exported phase has.

    Raises:
      UserError: it is not there.
    """
    tensors = {name: value for name, value in weights.items() if not config.trains(name)}
    if not tensors:
        raise UserError(f"The program is without --generator {start.source}: export the step again")
    size = config.generator_model()
    return ForeignGenerator(start, size, tensors, _line(start, size))


def _line(start: Init, size: ModelConfig) -> str:
    return (
        f"generator: {start.source}, {start.kind}, {size.num_hidden_layers} layers of "
        f"{size.hidden_size}, not trained"
    )
