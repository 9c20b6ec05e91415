"""The table of weight names is one to one, complete, and matches the reference."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from electra_zh.convert.task_heads import TaskHead
from electra_zh.finetuning.kinds import head_form
from electra_zh.finetuning.tasks import kind_names
from electra_zh.models import weight_names
from electra_zh.models.weight_names import Naming
from electra_zh.pretraining.objectives import build_objective, objective_class
from electra_zh.settings import load_recipe, recipe_names
from support.networks import FURTHER_KINDS, GOLDEN, SPECIAL, tiny

KINDS: dict[str, dict[str, object]] = {
    "shared": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network for both": {"untied_generator": False},
    "uniform generator": {"uniform_generator": True},
    "masked lm": {"objective": "masked_lm"},
    "embeddings as wide as the layers": {"model": {"embedding_size": 16}},
}
# Networks and heads of the reference (scopes) that each kind has.
SCOPES = {
    "shared": {"electra", "generator", "generator_predictions", "discriminator_predictions"},
    "untied embeddings": {
        *("electra", "generator", "generator_predictions", "discriminator_predictions")
    },
    "one network for both": {"electra", "generator_predictions", "discriminator_predictions"},
    "uniform generator": {"electra", "discriminator_predictions"},
    "masked lm": {"electra", "generator_predictions"},
    "embeddings as wide as the layers": {
        *("electra", "generator", "generator_predictions", "discriminator_predictions")
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_variable_has_one_name_each_way(kind: str) -> None:
    objective = build_objective(tiny(**KINDS[kind]), SPECIAL)
    ours = [weight_names.variable_name(variable.name) for variable in objective.trainable_variables]
    google = [
        weight_names.GOOGLE_ELECTRA.theirs(variable.name)
        for variable in objective.trainable_variables
    ]
    assert len(set(ours)) == len(ours) == len(set(google))
    assert [weight_names.GOOGLE_ELECTRA.ours(name) for name in google] == ours
    assert {name.split("/")[0] for name in google} == SCOPES[kind]
    has_own = any(name.startswith("generator/embeddings/") for name in google)
    assert has_own == (kind == "untied embeddings")


@pytest.mark.parametrize("kind", [*KINDS, *FURTHER_KINDS])
def test_a_name_is_the_path_in_the_objective(kind: str) -> None:
    config = tiny(**{**KINDS, **FURTHER_KINDS}[kind])
    objective = build_objective(config, SPECIAL)
    shapes = objective_class(config.objective).networks(config).shapes(config)
    named = {weight_names.variable_name(each.name): each for each in objective.variables}
    assert shapes == {name: tuple(each.shape) for name, each in named.items()}
    for variable in objective.variables:
        place = objective
        for part in weight_names.variable_name(variable.name).split("/"):
            place = place[int(part)] if part.isdigit() else getattr(place, part)
        assert place is variable


def test_names_are_those_of_the_reference_checkpoint() -> None:
    with np.load(GOLDEN / "forward_weights.npz") as weights:
        expected = {name: weights[name].shape for name in weights}
    objective = build_objective(
        tiny(
            model={
                "vocab_size": 1200,
                "embedding_size": 32,
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_attention_heads": 4,
                "max_position_embeddings": 512,
            },
            generator_layers=1.0,
        ),
        SPECIAL,
    )
    found = {
        weight_names.GOOGLE_ELECTRA.theirs(variable.name): tuple(variable.shape)
        for variable in objective.trainable_variables
    }
    assert found == expected


def test_unknown_names_raise() -> None:
    for name in ("encoder/layers/0/attention/quary/kernel", "layers", "encoder/layers/x/output"):
        with pytest.raises(KeyError):
            weight_names.GOOGLE_ELECTRA.theirs(name)
    for name in ("electra/pooler/dense/kernel", "global_step", "bert/encoder/layer_0/x"):
        with pytest.raises(KeyError):
            weight_names.GOOGLE_ELECTRA.ours(name)


NAMINGS = {
    "google electra": weight_names.GOOGLE_ELECTRA,
    "google bert": weight_names.GOOGLE_BERT,
    "discriminator": weight_names.DISCRIMINATOR,
    "generator": weight_names.GENERATOR,
    "masked lm": weight_names.MASKED_LM_ELECTRA,
    "bert": weight_names.BERT,
    **{kind: TaskHead("tnews", kind, declared=head_form(kind)).naming() for kind in kind_names()},
}


@pytest.mark.parametrize("size", recipe_names("model"))
@pytest.mark.parametrize("naming", NAMINGS.values(), ids=NAMINGS)
def test_every_variable_of_every_size_goes_there_and_back(naming: Naming, size: str) -> None:
    recipe = load_recipe(size, kind="model")
    ours = {
        name.replace("{layer}", str(layer))
        for name in naming.pairs
        for layer in range(recipe["num_hidden_layers"])
    }
    theirs = {naming.theirs(name): name for name in ours}
    assert len(theirs) == len(ours)
    assert all(naming.ours(name) == our for name, our in theirs.items())


def test_names_of_transformers() -> None:
    expected = {
        "encoder/embeddings/layer_norm/gamma": "electra.embeddings.LayerNorm.weight",
        "encoder/projection/kernel": "electra.embeddings_project.weight",
        "encoder/layers/11/attention/key/bias": "electra.encoder.layer.11.attention.self.key.bias",
        "encoder/layers/0/attention/layer_norm/beta": (
            "electra.encoder.layer.0.attention.output.LayerNorm.bias"
        ),
        "encoder/layers/0/layer_norm/gamma": "electra.encoder.layer.0.output.LayerNorm.weight",
        "rtd_head/output/kernel": "discriminator_predictions.dense_prediction.weight",
    }
    for ours, theirs in expected.items():
        assert weight_names.DISCRIMINATOR.theirs(ours) == theirs
    assert weight_names.GENERATOR.theirs("masked_lm_head/output_bias") == "generator_lm_head.bias"
    assert (
        weight_names.BERT.ours("cls.predictions.transform.dense.weight")
        == "masked_lm_head/dense/kernel"
    )
    assert weight_names.GOOGLE_BERT.ours("cls/predictions/transform/LayerNorm/beta") == (
        "masked_lm_head/layer_norm/beta"
    )


def test_only_kernels_are_transposed_and_only_in_torch() -> None:
    kernel, table = "encoder/layers/0/output/kernel", "encoder/embeddings/word_embeddings"
    tensors = {kernel: np.zeros((2, 3)), table: np.zeros((4, 5))}
    for naming, shape in ((weight_names.BERT, (3, 2)), (weight_names.GOOGLE_BERT, (2, 3))):
        written = naming.to_file(tensors)
        assert [value.shape for value in written.values()] == [shape, (4, 5)]
        found, unused = naming.from_file({**written, "pooler": np.zeros(1)})
        assert {name: value.shape for name, value in found.items()} == {
            kernel: (2, 3),
            table: (4, 5),
        }
        assert unused == ["pooler"]


def test_large_layer_numbers() -> None:
    name = "generator/encoder/layer_23/output/LayerNorm/gamma"
    assert weight_names.GOOGLE_ELECTRA.ours(name) == "generator/layers/23/layer_norm/gamma"
    assert weight_names.GOOGLE_ELECTRA.theirs("generator/layers/23/layer_norm/gamma:0") == name


def test_initial_values_of_no_two_variables_share_a_stream() -> None:
    """Initial values depend on a checksum of the name: none of 24 layers' may collide."""
    ours = {
        name.replace("{layer}", str(layer))
        for name in weight_names.GOOGLE_ELECTRA.pairs
        for layer in range(24)
    }
    assert len({zlib.crc32(name.encode()) % 2**31 for name in ours}) == len(ours)
