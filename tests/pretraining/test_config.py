"""Pretraining settings: the shipped recipes, overrides, and values that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining.config import PretrainConfig, resolve
from electra_zh.settings import recipe_names

# The reference's and HFL's published settings: (rate, batch, length, steps, mask, generator).
PUBLISHED = {
    "small": (5e-4, 128, 128, 1_000_000, 0.15, 0.25),
    "small-ex": (5e-4, 384, 512, 2_000_000, 0.15, 0.25),
    "base": (2e-4, 256, 512, 766_000, 0.15, 0.33333),
    "large": (2e-4, 2048, 512, 400_000, 0.25, 0.25),
}
SIZES = {
    "tiny": (4, 312, 12, 1200),
    "small": (12, 256, 4, 1024),
    "small-ex": (24, 256, 4, 1024),
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}


def _resolve(recipe: str = "nano", **overrides: str) -> PretrainConfig:
    return resolve(recipe, overrides, vocab_size=1000).settings


@pytest.mark.parametrize("name", recipe_names("pretrain"))
def test_every_recipe_resolves(name: str) -> None:
    settings = _resolve(name)
    assert settings.model.vocab_size == 1000
    assert PretrainConfig.from_dict(settings.to_dict(), where="x") == settings


@pytest.mark.parametrize(("old", "objective"), [(True, "electra"), (False, "masked_lm")])
def test_the_older_spelling_of_the_objective(old: bool, objective: str, tmp_path: Path) -> None:
    values = {name: each for name, each in _resolve().to_dict().items() if name != "objective"}
    found = PretrainConfig.from_dict({**values, "electra_objective": old}, where="x")
    assert found.objective == objective
    recipe = tmp_path / "old.yaml"
    recipe.write_text(f"include: nano\nelectra_objective: {str(old).lower()}\n")
    assert _resolve(str(recipe)).objective == objective


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name: str) -> None:
    found = _resolve(name)
    assert PUBLISHED[name] == (
        found.learning_rate,
        found.train_batch_size,
        found.max_seq_length,
        found.num_train_steps,
        found.mask_prob,
        found.generator_hidden_size,
    )
    assert (found.num_warmup_steps, found.weight_decay_rate, found.disc_weight) == (
        10_000,
        0.01,
        50,
    )


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name: str) -> None:
    model = _resolve(name).model
    assert SIZES[name] == (
        model.num_hidden_layers,
        model.hidden_size,
        model.num_attention_heads,
        model.intermediate_size,
    )


# HFL's published settings: (optimizer, rate, batch, length, steps, masking, layers, width).
BERT_LIKE = {
    "bert-wwm": ("lamb", 1e-4, 2560, 128, 100_000, "whole_word", 12, 768),
    "bert-wwm-512": ("lamb", 1e-4, 384, 512, 100_000, "whole_word", 12, 768),
    "roberta-wwm-ext": ("adamw", 1e-4, 384, 512, 1_000_000, "whole_word", 12, 768),
    "roberta-wwm-ext-large": ("adamw", 5e-5, 512, 512, 2_000_000, "whole_word", 24, 1024),
    "bert-ngram": ("adamw", 1e-4, 384, 512, 1_000_000, "ngram", 12, 768),
    "rbt3": ("adamw", 1e-4, 384, 512, 1_000_000, "whole_word", 3, 768),
    "rbt4": ("adamw", 1e-4, 384, 512, 1_000_000, "whole_word", 4, 768),
    "rbt6": ("adamw", 1e-4, 384, 512, 1_000_000, "whole_word", 6, 768),
    "rbtl3": ("adamw", 5e-5, 384, 512, 1_000_000, "whole_word", 3, 1024),
}


@pytest.mark.parametrize("name", BERT_LIKE)
def test_recipes_of_bert(name: str) -> None:
    found = _resolve(name)
    assert BERT_LIKE[name] == (
        found.optimizer,
        found.learning_rate,
        found.train_batch_size,
        found.max_seq_length,
        found.num_train_steps,
        found.masking,
        found.model.num_hidden_layers,
        found.model.hidden_size,
    )
    assert found.model.embedding_size == found.model.hidden_size
    assert (found.mask_prob, found.mask_keep_prob, found.mask_random_prob) == (0.15, 0.1, 0.1)
    assert found.objective == "masked_lm"


def test_small_with_whole_words_is_small_otherwise() -> None:
    assert _resolve("small-wwm") == _resolve("small", masking="whole_word")


def test_overrides_reach_the_run_and_the_model() -> None:
    settings = _resolve(learning_rate="1e-4", hidden_size="64", **{"model.num_hidden_layers": "3"})
    assert settings.learning_rate == 1e-4
    assert (settings.model.hidden_size, settings.model.num_hidden_layers) == (64, 3)


def test_another_model_size() -> None:
    settings = _resolve("small", model="tiny", intermediate_size="600")
    assert (settings.model.hidden_size, settings.model.intermediate_size) == (312, 600)


def test_max_predictions_is_the_reference_s() -> None:
    assert _resolve(max_seq_length="128").max_predictions_per_seq == 19
    assert _resolve(max_seq_length="512", mask_prob="0.25").max_predictions_per_seq == 130
    # The reference's formula exceeds the length here.
    assert _resolve(max_seq_length="512", mask_prob="0.999").max_predictions_per_seq == 512


def test_words_get_spare_slots_but_no_more_than_the_length() -> None:
    for masking in ("whole_word", "ngram"):
        assert _resolve(masking=masking, max_seq_length="128").max_predictions_per_seq == 22
        assert _resolve(masking=masking, mask_prob="0.999").max_predictions_per_seq == 64
        assert _resolve(masking=masking).needs_words
    assert not _resolve().needs_words


def test_the_batch_may_be_chosen_later() -> None:
    assert _resolve("small", train_batch_size="auto").train_batch_size == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lerning_rate": "1"}, r'unknown setting "lerning_rate". Did you mean "learning_rate"\?'),
        ({"use_tpu": "true"}, r'"use_tpu" is not a setting here: use --device tpu'),
        ({"model": "smal"}, r'No model recipe is named "smal". Did you mean "small"\?'),
    ],
)
def test_unknown_names(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _resolve(**overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mask_prob": "1.5"}, "mask_prob must be above 0 and below 1; received 1.5"),
        ({"train_batch_size": "0"}, "train_batch_size must be at least 1; received 0"),
        ({"train_batch_size": 0}, "train_batch_size must be at least 1; received 0"),
        ({"learning_rate": "-1"}, "learning_rate must be above 0"),
        ({"lr_decay_power": "-1"}, "lr_decay_power must be at least 0; received -1.0"),
        ({"layer_norm_eps": "-1"}, "layer_norm_eps must be above 0; received -1.0"),
        ({"disc_weight": "nan"}, "disc_weight must be a finite number; received 'nan'"),
        ({"max_seq_length": "600"}, r"max_position_embeddings \(512\); received 600"),
        (
            {"precision": "bf16"},
            'precision is "bf16"; allowed: auto, float32, bfloat16. Did you mean',
        ),
        ({"hidden_size": "130", "num_attention_heads": "4"}, "not a multiple"),
        ({"mask_prob": "0.001"}, "masks no position"),
        ({"masking": "words"}, 'masking is "words"; allowed: uniform, whole_word, ngram.'),
        ({"masking": "wholeword"}, 'Did you mean "whole_word"'),
        ({"masking": "ngram", "mask_prob": "0.01"}, "mask_prob 0.01 masks no position of 64"),
        ({"masking": "whole_word", "mask_prob": "1"}, "mask_prob must be above 0 and below 1"),
        (
            {"optimizer": "lam"},
            'optimizer is "lam"; allowed: adamw, lamb, muon. Did you mean "lamb"',
        ),
        ({"mask_keep_prob": "0.9", "mask_random_prob": "0.2"}, "at most 1; received 0.9 and 0.2"),
        ({"mask_random_prob": "-0.1"}, "mask_random_prob must be at least 0; received -0.1"),
        ({"uniform_generator": "yes", "untied_generator": "no"}, "uniform_generator"),
    ],
)
def test_values_that_are_refused(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _resolve(**overrides)
