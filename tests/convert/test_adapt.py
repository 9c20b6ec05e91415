"""Rows and layers that are copied when a model is fitted to another run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from electra_zh.convert import adapt
from electra_zh.convert.weights import TrainedWith, Weights, check
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import part_shapes
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

OLD = (*SPECIAL_TOKENS, "[unused1]", "中", "国", "##国", "un", "##able", "a", "##b")


def _made(*, depth: int = 4, generator_depth: int = 4, filler: int = 0) -> Weights:
    """A model whose numbers encode their positions: tensor * 1000 + flat index."""
    size = ModelConfig(len(OLD) + filler, 2, 4, depth, 1, 6, max_position_embeddings=8)
    small = dataclasses.replace(size, hidden_size=2, num_hidden_layers=generator_depth)
    shapes = {
        **part_shapes("encoder", size),
        **part_shapes("generator", small, embeddings=False),
        **part_shapes("masked_lm_head", small),
    }
    tensors = {
        name: (number * 1000 + np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
        for number, (name, shape) in enumerate(shapes.items())
    }
    return check(
        Weights("made", "made", size, tensors, generator=small, vocabulary=Vocabulary(OLD))
    )


def test_layers_are_taken_in_the_order_given() -> None:
    old = _made()
    new = check(adapt.select_layers(old, [3, 0, 3]))
    assert new.generator is not None
    assert (new.model.num_hidden_layers, new.generator.num_hidden_layers) == (3, 3)
    for part in ("encoder", "generator"):
        for to, origin in enumerate([3, 0, 3]):
            found = new.tensors[f"{part}/layers/{to}/output/kernel"]
            assert np.array_equal(found, old.tensors[f"{part}/layers/{origin}/output/kernel"])
    assert new.tensors["masked_lm_head/output_bias"] is old.tensors["masked_lm_head/output_bias"]


def test_a_generator_of_another_depth_keeps_its_layers() -> None:
    old = _made(generator_depth=2)
    new = check(adapt.select_layers(old, [0]))
    assert new.generator is not None
    assert (new.model.num_hidden_layers, new.generator.num_hidden_layers) == (1, 2)
    assert new.part("generator").keys() == old.part("generator").keys()


def test_a_missing_layer() -> None:
    with pytest.raises(UserError, match="has the 4 layers 0 to 3; there is no layer 4"):
        adapt.select_layers(_made(), [0, 4])


@pytest.mark.parametrize(
    ("token", "origins"),
    [
        ("国", ["国"]),
        ("中国", ["中", "##国"]),
        ("unable", ["un", "##able"]),
        ("##ab", ["a", "##b"]),
        ("##中", ["中"]),
        ("b", ["##b"]),
        ("中x国", ["中", "国"]),
        ("xyz", []),
        ("[unused9]", []),
        ("##", []),
    ],
)
def test_the_row_of_a_token(token: str, origins: list[str]) -> None:
    old = _made()
    table = old.tensors["encoder/embeddings/word_embeddings"]
    bias = old.tensors["masked_lm_head/output_bias"]
    wanted = Vocabulary((*SPECIAL_TOKENS[::-1][-1:], *SPECIAL_TOKENS[:0:-1], token))
    new, counts = adapt.with_vocabulary(old, wanted, seed=1)
    new = check(new)
    rows = new.tensors["encoder/embeddings/word_embeddings"]
    for number, special in enumerate(wanted.tokens[:5]):
        assert np.array_equal(rows[number], table[OLD.index(special)])
    if origins:
        expected = np.mean([table[OLD.index(origin)] for origin in origins], axis=0)
        assert np.array_equal(rows[5], expected)
    else:
        assert 0 < abs(rows[5]).max() < 0.1
    shared = token in OLD
    known = bias[OLD.index(token)] if shared else bias.mean()
    assert new.tensors["masked_lm_head/output_bias"][5] == pytest.approx(known)
    assert counts == (5 + shared, bool(origins) and not shared, not origins, 8 - shared)


def test_random_rows_depend_on_the_seed() -> None:
    wanted = Vocabulary((*SPECIAL_TOKENS, *(chr(0xAC00 + number) for number in range(2000))))
    name = "encoder/embeddings/word_embeddings"
    drawn = [
        adapt.with_vocabulary(_made(), wanted, seed=seed)[0].tensors[name] for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert drawn[0][5:].std() == pytest.approx(0.02, rel=0.05)


def test_the_same_vocabulary_changes_nothing_but_filler() -> None:
    old = _made(filler=3)
    new, counts = adapt.with_vocabulary(old, Vocabulary(OLD), seed=0)
    assert counts == (len(OLD), 0, 0, 0)
    for name, value in check(new).tensors.items():
        assert np.array_equal(value, old.tensors[name][: len(value)]), name


@pytest.mark.parametrize(
    ("positions", "length", "trained", "rows", "kept"),
    [
        (8, 8, None, [0, 1, 2, 3, 4, 5, 6, 7], 8),
        (3, 3, None, [0, 1, 2], 3),
        (11, 11, None, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2], 8),
        # Rows that exist but were never trained.
        (8, 8, 3, [0, 1, 2, 0, 1, 2, 0, 1], 3),
        # They are not used here, and stay.
        (8, 3, 3, [0, 1, 2, 3, 4, 5, 6, 7], 8),
    ],
)
def test_positions(
    positions: int, length: int, trained: int | None, rows: list[int], kept: int
) -> None:
    old = _made()
    if trained:
        old = dataclasses.replace(old, trained=TrainedWith(trained, 8, 1e-3))
    new, found = adapt.with_positions(old, positions, length=length)
    name = "encoder/embeddings/position_embeddings"
    assert found == kept
    assert np.array_equal(check(new).tensors[name], old.tensors[name][rows])
