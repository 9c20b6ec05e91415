"""Sizes of networks: what is refused, and how the generator's follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig, generator_config

SMALL = ModelConfig(21128, 128, 256, 12, 4, 1024)
BASE = ModelConfig(21128, 768, 768, 12, 12, 3072)
LARGE = ModelConfig(21128, 1024, 1024, 24, 16, 4096)


@pytest.mark.parametrize(
    ("model", "layers", "share", "expected"),
    [
        # width, layers, heads, intermediate, embedding
        (SMALL, 1.0, 0.25, (64, 12, 1, 256, 128)),
        (SMALL, 1.0, 1.0, (256, 12, 4, 1024, 128)),
        (BASE, 1.0, 0.33333, (256, 12, 4, 1024, 768)),
        (LARGE, 1.0, 0.25, (256, 24, 4, 1024, 1024)),
        (BASE, 0.5, 0.25, (192, 6, 3, 768, 768)),
        # Whatever the discriminator's own heads and intermediate size are; at least one head.
        (ModelConfig(1200, 32, 64, 2, 4, 128), 1.0, 0.5, (32, 2, 1, 128, 32)),
    ],
)
def test_generator_sizes(
    model: ModelConfig, layers: float, share: float, expected: tuple[int, ...]
) -> None:
    found = generator_config(model, generator_layers=layers, generator_hidden_size=share)
    assert expected == (
        found.hidden_size,
        found.num_hidden_layers,
        found.num_attention_heads,
        found.intermediate_size,
        found.embedding_size,
    )


def test_untied_generator_embeddings_are_as_wide_as_it() -> None:
    found = generator_config(
        BASE, generator_layers=1.0, generator_hidden_size=0.25, untied_embeddings=True
    )
    assert found.embedding_size == found.hidden_size == 192


@pytest.mark.parametrize(
    ("fraction", "layers"), [(0.01, 1), (0.04, 1), (0.125, 2), (0.25, 3), (0.5, 6), (0.99, 12)]
)
def test_a_generator_has_at_least_one_layer(fraction: float, layers: int) -> None:
    found = generator_config(SMALL, generator_layers=fraction, generator_hidden_size=1.0)
    assert found.num_hidden_layers == layers


def test_a_generator_without_width_is_refused() -> None:
    with pytest.raises(UserError, match=r"generator_hidden_size 0.001 of a width of 256 leaves no"):
        generator_config(SMALL, generator_layers=1.0, generator_hidden_size=0.001)


def test_the_generator_s_heads_are_a_setting() -> None:
    found = generator_config(
        SMALL, generator_layers=1.0, generator_hidden_size=1.0, generator_heads=8
    )
    assert (found.hidden_size, found.num_attention_heads) == (256, 8)


def test_a_generator_width_that_its_heads_do_not_divide_is_refused() -> None:
    # 129 // 64 gives two heads.
    model = dataclasses.replace(SMALL, hidden_size=258, num_attention_heads=2)
    with pytest.raises(UserError, match=r"width of 129 is not a multiple of its 2 attention heads"):
        generator_config(model, generator_layers=1.0, generator_hidden_size=0.5)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab_size", 0, "vocab_size must be at least 1; received 0"),
        ("num_hidden_layers", -1, "at least 1 and at most 1,000; received -1"),
        ("num_attention_heads", 3, "hidden_size 256 is not a multiple of num_attention_heads 3"),
        (
            "hidden_dropout_prob",
            1.0,
            "prob must be at least 0 and below 1; received 1.0",
        ),
        ("attention_probs_dropout_prob", -0.1, "attention_probs_dropout_prob must be at least 0"),
        ("initializer_range", -0.02, "initializer_range must be above 0; received -0.02"),
        ("layer_norm_eps", 0.0, r"layer_norm_eps must be above 0; received 0\.0"),
        ("type_vocab_size", 0, "type_vocab_size must be at least 1; received 0"),
    ],
)
def test_refused_values(field: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **{field: value})
