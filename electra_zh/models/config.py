"""The size of a transformer, and the generator's size derived from the discriminator's.

This module does not import TensorFlow, so settings can be checked without loading it.
"""

from __future__ import annotations

import dataclasses

from electra_zh.errors import UserError
from electra_zh.settings import Settings, load_recipe, recipe_names, setting


@dataclasses.dataclass(frozen=True)
class ModelConfig(Settings):
    """Size and fixed settings of one transformer, under the field's usual names."""

    vocab_size: int = setting(meaning="number of tokens; by default that of the data", at_least=1)
    embedding_size: int = setting(
        meaning="width of the embeddings; projected if it differs from hidden_size", at_least=1
    )
    hidden_size: int = setting(meaning="width of the layers", at_least=1)
    num_hidden_layers: int = setting(meaning="number of layers", at_least=1, at_most=1000)
    num_attention_heads: int = setting(
        meaning="attention heads per layer; must divide hidden_size", at_least=1
    )
    intermediate_size: int = setting(
        meaning="width of the inner layer of the feed-forward part", at_least=1
    )
    hidden_dropout_prob: float = setting(
        0.1, "dropout after the embeddings and each dense part of a layer", at_least=0, below=1
    )
    attention_probs_dropout_prob: float = setting(
        0.1, "dropout on the attention probabilities", at_least=0, below=1
    )
    max_position_embeddings: int = setting(512, "positions that have an embedding", at_least=1)
    type_vocab_size: int = setting(2, "number of segment ids", at_least=1)
    initializer_range: float = setting(
        0.02, "standard deviation of the initial kernels and embeddings", above=0
    )
    layer_norm_eps: float = setting(1e-12, "added to the variance in layer norm", above=0)

    def check_together(self) -> None:
        """Checks that the number of attention heads divides the width."""
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )


def generator_config(
    model: ModelConfig,
    *,
    generator_layers: float,
    generator_hidden_size: float,
    generator_heads: int = 0,
    untied_embeddings: bool = False,
) -> ModelConfig:
    """Returns the generator's size (reference: run_pretraining.py, `get_generator_config`).

    Its layers and width are fractions of those of the discriminator, `model`. A fraction of less
    than one layer is one layer. Untied embeddings are as wide as the generator itself.

    Parity: the intermediate size is 4 times the width and a head is 64 wide whatever the
    discriminator's own settings are, unless `generator_heads` gives their number.
    """
    hidden_size = round(model.hidden_size * generator_hidden_size)
    num_layers = max(1, round(model.num_hidden_layers * generator_layers))
    if hidden_size < 1:
        raise UserError(
            f"generator_hidden_size {generator_hidden_size} of a width of {model.hidden_size} "
            "leaves no generator: raise it"
        )
    heads = generator_heads or max(1, hidden_size // 64)
    if hidden_size % heads:
        raise UserError(
            f"The generator's width of {hidden_size} is not a multiple of its {heads} attention "
            "heads: set generator_heads or another generator_hidden_size"
        )
    return dataclasses.replace(
        model,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        intermediate_size=4 * hidden_size,
        num_attention_heads=heads,
        embedding_size=hidden_size if untied_embeddings else model.embedding_size,
    )


def size_name(model: ModelConfig) -> str:
    """Returns the name of a model's shipped size, or "" for other sizes."""
    for name in recipe_names("model"):
        values = load_recipe(name, kind="model")
        keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        if all(values[key] == getattr(model, key) for key in keys):
            return name
    return ""
