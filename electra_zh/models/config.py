"""The size of a transformer, and the generator's size derived from the discriminator's.

This module does not import TensorFlow, so settings can be checked without loading it.
"""

from __future__ import annotations

import dataclasses

from electra_zh.errors import UserError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Size and fixed settings of one transformer, under the field's usual names.

    Attributes:
      vocab_size: number of tokens.
      embedding_size: width of the embeddings; projected where it differs from `hidden_size`.
      hidden_size: width of the layers.
      num_hidden_layers: number of layers.
      num_attention_heads: heads of a layer; divides `hidden_size`.
      intermediate_size: width of the feed-forward part's inner layer.
      hidden_dropout_prob: dropout after the embeddings and each dense part of a layer.
      attention_probs_dropout_prob: dropout on the attention probabilities.
      max_position_embeddings: positions that have an embedding.
      type_vocab_size: number of segment ids.
      initializer_range: standard deviation of the initial kernels and embeddings.
      layer_norm_eps: added to the variance in layer norm.
    """

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for field in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"):
            self._check_positive(field)
        for field in ("num_attention_heads", "intermediate_size", "max_position_embeddings"):
            self._check_positive(field)
        self._check_positive("type_vocab_size")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, field) < 1:
                raise UserError(f"{field} must be at least 0 and below 1: {getattr(self, field)}")
        for field in ("initializer_range", "layer_norm_eps"):
            if not getattr(self, field) > 0:
                raise UserError(f"{field} must be above 0; received {getattr(self, field)}")

    def _check_positive(self, field: str) -> None:
        if getattr(self, field) < 1:
            raise UserError(f"{field} must be at least 1; received {getattr(self, field)}")


def generator_config(
    model: ModelConfig,
    *,
    generator_layers: float,
    generator_hidden_size: float,
    untied_embeddings: bool = False,
) -> ModelConfig:
    """Returns the generator's size (reference: run_pretraining.py, `get_generator_config`).

    Parity: the intermediate size is 4 times the width and a head is 64 wide whatever the
    discriminator's own settings are.

    Args:
      model: the discriminator's size.
      generator_layers: the generator's layers as a share of the discriminator's.
      generator_hidden_size: the generator's width as a share of the discriminator's.
      untied_embeddings: the generator has embeddings of its own, as wide as itself.

    Raises:
      UserError: a share gives a generator without layers or width.
    """
    hidden_size = round(model.hidden_size * generator_hidden_size)
    num_layers = round(model.num_hidden_layers * generator_layers)
    if hidden_size < 1 or num_layers < 1:
        raise UserError(
            f"generator_layers {generator_layers} and generator_hidden_size "
            f"{generator_hidden_size} leave a generator of {num_layers} layers of {hidden_size}"
        )
    return dataclasses.replace(
        model,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        intermediate_size=4 * hidden_size,
        num_attention_heads=max(1, hidden_size // 64),
        embedding_size=hidden_size if untied_embeddings else model.embedding_size,
    )
