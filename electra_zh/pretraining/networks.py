"""The networks of an objective by their sizes. This module does not import TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import delta_name, part_shapes
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.objectives import objective_class


class Networks(NamedTuple):
    """The networks of an objective. `encoder`, which fine-tuning keeps, is always there."""

    generator: ModelConfig | None  # size of a generator with variables of its own; None without one
    # size of the network that the masked LM head belongs to; None without the head
    masked_lm: ModelConfig | None
    has_detection: bool  # True with a head of replaced token detection on the encoder
    heads: tuple[str, ...] = ()  # further heads on the encoder, by their parts of the weight table
    towers: ModelConfig | None = None  # size of Electric's two towers

    def shapes(self, config: PretrainConfig) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the variables by name, without making them."""
        shapes = part_shapes("encoder", config.model)
        own = config.has_own_generator_embeddings
        if config.gdes:
            shapes = {delta_name(name): shape for name, shape in shapes.items()}
        if self.generator is not None:
            shapes |= part_shapes("generator", self.generator, embeddings=own)
        if self.towers is not None:
            shapes |= part_shapes("generator_ltr", self.towers, embeddings=own)
            shapes |= part_shapes("generator_rtl", self.towers, embeddings=own)
            shapes |= part_shapes("cloze_head", self.towers)
        if self.masked_lm is not None:
            shapes |= part_shapes("masked_lm_head", self.masked_lm)
        for head in (*(["rtd_head"] if self.has_detection else []), *self.heads):
            shapes |= part_shapes(head, config.model)
        return shapes

    def trained_shapes(self, config: PretrainConfig) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the variables that are trained."""
        return {name: each for name, each in self.shapes(config).items() if config.trains(name)}

    def to_plain(self) -> dict[str, Any]:
        """Returns plain values, as `from_plain` takes them."""
        return {
            name: dataclasses.asdict(value) if isinstance(value, ModelConfig) else value
            for name, value in self._asdict().items()
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Networks:
        """Returns the networks of plain values."""
        sizes = {
            name: ModelConfig(**value) for name, value in values.items() if isinstance(value, dict)
        }
        return cls(**{**values, "heads": tuple(values["heads"]), **sizes})


def of_objective(config: PretrainConfig) -> Networks:
    """Returns the networks of a run's objective, which is imported with TensorFlow."""
    return objective_class(config.objective).networks(config)
