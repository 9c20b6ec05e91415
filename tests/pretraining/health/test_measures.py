"""Measures of networks by hand, and of whole objectives on a few examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.pretraining.health import measures, tensors
from electra_zh.pretraining.mask_tensors import MaskedBatch
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import MaskedLmOutput, Objective
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support import networks


def test_effective_rank() -> None:
    generator = np.random.default_rng(0)
    assert measures.effective_rank(generator.normal(size=[5000, 20])) == pytest.approx(20, rel=0.01)
    line = np.outer(generator.normal(size=200), generator.normal(size=20))
    assert measures.effective_rank(line + 7.0) == pytest.approx(1)
    assert measures.effective_rank(np.ones([10, 4])) == 1.0
    # Half of the variance in each of two directions.
    plane = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert measures.effective_rank(plane) == pytest.approx(2)


def test_entropy() -> None:
    assert measures.entropy(np.array([5, 5, 0, 5, 5])) == pytest.approx(np.log(4))
    assert measures.entropy(np.zeros(3)) == 0.0


def _shards(folder: Path) -> tuple[pipeline.Shard, ...]:
    """The shards of 24 examples of `networks.make_batch`."""
    batch = {name: value.numpy() for name, value in networks.make_batch(24).items()}
    with tf.io.TFRecordWriter(str(folder / "x.tfrecord")) as writer:
        for row in range(24):
            features = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values[row]))
                for name, values in batch.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return pipeline.open_shards(str(folder), max_seq_length=networks.LENGTH)


def _make_measure(objective: Objective, folder: Path) -> Callable[[], dict[str, float]]:
    letters = map(chr, range(0x4E00, 0x4E00 + networks.VOCAB_SIZE - len(SPECIAL_TOKENS)))
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *letters])
    compute = tensors.compute(objective)
    return measures.make_measure(compute, objective.config, vocabulary, _shards(folder))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"masked_lm_gain", "copy_accuracy", "disc_auc_tokens", "generator_effective_rank"}),
        ({"objective": "masked_lm"}, {"masked_lm_gain", "copy_accuracy"}),
        ({"mask_keep_prob": 0.0, "objective": "masked_lm"}, {"masked_lm_gain"}),
        ({"uniform_generator": True}, {"disc_auc_tokens"}),
    ],
)
def test_an_objective_is_measured(
    tmp_path: Path, changes: dict[str, object], names: set[str]
) -> None:
    config = networks.tiny(**changes)
    objective = build_objective(config, networks.SPECIAL)
    measure = _make_measure(objective, tmp_path)
    found = measure()
    always = {"unigram_entropy", "effective_rank", "neighbour_attention"}
    if "generator_effective_rank" in names:
        names = names | {"generator_neighbour_attention"}
    assert set(found) == always | names
    assert measure() == found
    assert 1 < found["effective_rank"] <= 16
    # Small initial weights: attention is even over the real positions, 6 to 16 in a row.
    assert 4 / 16 < found["neighbour_attention"] < 4 / 6
    assert found["unigram_entropy"] == pytest.approx(np.log(networks.VOCAB_SIZE), abs=0.5)


def test_a_collapse_is_seen(tmp_path: Path) -> None:
    config = networks.tiny()
    objective = build_objective(config, networks.SPECIAL)
    # All states are the bias of the last norm.
    objective.encoder.layers[-1].layer_norm.gamma.assign(tf.zeros([16]))
    found = _make_measure(objective, tmp_path)()
    assert found["effective_rank"] == pytest.approx(1, abs=0.01)
    assert found["generator_effective_rank"] > 2


def test_gain_and_copies_by_hand() -> None:
    # Three masked positions: one shows its token 3, one shows [MASK], one is an unused slot.
    masked = MaskedBatch(
        input_ids=tf.constant([[2, 3, 4, 7]]),
        positions=tf.constant([[1, 2, 0]]),
        ids=tf.constant([[3, 5, 0]]),
        weights=tf.constant([[1.0, 1.0, 0.0]]),
    )
    logits = tf.one_hot([3, 6, 0], 8)
    losses = tf.constant([[0.1, 0.5, 9.0]])
    mlm = MaskedLmOutput(tf.constant(0.3), losses, logits, masked)
    counts = np.array([0, 0, 0, 2, 0, 4, 1, 2])
    frequencies = measures.frequencies(counts)
    # Of eight others, three are token 5. By the one that occurs once and the two that occur
    # twice, a quarter of a token is unseen.
    np.testing.assert_allclose(frequencies[[3, 5, 6]], [1 / 8, 3 / 8, 1 / 9 / 1.25])
    arrays = {name: value.numpy() for name, value in tensors._masked_lm(mlm).items()}
    found = measures._masked_lm(arrays, -np.log(frequencies))
    assert found == {"copy_accuracy": 1.0, "masked_lm_gain": pytest.approx(np.log(8 / 3) - 0.5)}


def test_frequencies_of_a_small_sample_do_not_fit_it() -> None:
    generator = np.random.default_rng(0)
    true = 1 / np.arange(1, 2001)
    true /= true.sum()
    for size in (2_000, 20_000, 200_000):
        counts = np.bincount(generator.choice(2000, size, p=true), minlength=21128)
        found = -np.log(measures.frequencies(counts)) @ counts / size
        # The samples' own entropy is 0.45, 0.05 and 0.01 nats below.
        assert found == pytest.approx(measures.entropy(true), abs=0.1)


def test_local_attention_is_seen() -> None:
    mask = tf.constant([[1, 1, 1, 1, 0]])
    left = np.zeros([1, 2, 5, 5], np.float32)
    left[0, 0] = np.eye(5)
    left[0, 1, range(5), [1, 0, 1, 2, 3]] = 1.0
    found = tensors._neighbours(tf.constant(left), mask)
    np.testing.assert_allclose(found, [0.0, 1.0])
