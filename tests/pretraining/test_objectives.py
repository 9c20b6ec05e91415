"""The objectives: what is shared, what is drawn, and what is summed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.models.random import RandomKey
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch
from electra_zh.pretraining.objectives import build_objective, objective_class, objective_names
from electra_zh.pretraining.objectives.base import MaskedLmOutput, PretrainOutput
from electra_zh.pretraining.objectives.electra import Electra
from electra_zh.pretraining.objectives.masked_lm import MaskedLM
from support.networks import FURTHER_KINDS, LENGTH, SPECIAL, VOCAB_SIZE, make_batch, tiny

KINDS: dict[str, dict[str, Any]] = {
    "shared": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network for both": {"untied_generator": False},
    "uniform generator": {"uniform_generator": True},
    "masked lm": {"objective": "masked_lm"},
    "whole words": {"masking": "whole_word"},
    "n-grams as BERT": {"masking": "ngram", "mask_keep_prob": 0.1, "mask_random_prob": 0.1},
}
ELECTRA_KINDS = [kind for kind in KINDS if kind != "masked lm"]
ALL_KINDS = {**KINDS, **FURTHER_KINDS}


@functools.cache
def _objective(kind: str = "shared") -> Electra | MaskedLM:
    return build_objective(tiny(**ALL_KINDS[kind]), SPECIAL)


def _run(
    kind: str = "shared", *, step: int = 3, training: bool = False, seed: int = 0
) -> PretrainOutput:
    return _objective(kind)(make_batch(seed=seed), step=step, training=training)


def _gradients(objective: Electra | MaskedLM, *, step: int = 3) -> dict[str, np.ndarray | None]:
    with tf.GradientTape() as tape:
        loss = objective(make_batch(), step=step, training=True).loss
    variables = objective.trainable_variables
    return {
        variable.name.partition(":")[0]: None
        if gradient is None
        else tf.convert_to_tensor(gradient).numpy()
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True)
    }


# --- What is shared --------------------------------------------------------------------------


def test_shared_embeddings_are_one_variable() -> None:
    objective = _objective("shared")
    assert isinstance(objective, Electra)
    assert objective.generator is not None
    assert objective.generator.embeddings is objective.encoder.embeddings
    names = [variable.name for variable in objective.trainable_variables]
    assert sum("word_embeddings" in name for name in names) == 1
    assert len({id(variable) for variable in objective.variables}) == len(objective.variables)
    before = objective(make_batch(), step=3, training=False)
    table = objective.encoder.embeddings.word_embeddings
    start = table.numpy()
    table.assign(start + np.random.default_rng(0).normal(0.0, 0.1, start.shape))
    after = objective(make_batch(), step=3, training=False)
    table.assign(start)
    assert not np.allclose(before.mlm.logits, after.mlm.logits)
    assert before.disc is not None
    assert after.disc is not None
    assert not np.allclose(before.disc.logits, after.disc.logits)


def test_untied_embeddings_have_the_generator_s_width() -> None:
    config = tiny(untied_generator_embeddings=True, generator_hidden_size=0.75)
    objective = build_objective(config, SPECIAL)
    assert isinstance(objective, Electra)
    assert objective.generator is not None
    assert objective.masked_lm_head is not None
    assert objective.generator.embeddings.word_embeddings.shape == [VOCAB_SIZE, 12]
    assert objective.encoder.embeddings.word_embeddings.shape == [VOCAB_SIZE, 8]
    assert objective.generator.projection is None
    assert objective.masked_lm_head.dense.kernel.shape == [12, 12]


def test_one_network_serves_both() -> None:
    objective = _objective("one network for both")
    assert isinstance(objective, Electra)
    assert objective.generator is None
    gradients = _gradients(objective)
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_variable_learns_and_is_float32(kind: str) -> None:
    objective = _objective(kind)
    gradients = _gradients(objective)
    assert len(gradients) == len(objective.trainable_variables)
    frozen = [v for v in objective.variables if v.name.split("/")[0] in objective.generator_parts]
    expected = frozen if objective.config.is_generator_frozen else []
    assert len(objective.variables) - len(gradients) == len(expected)
    assert all(variable.dtype == tf.float32 for variable in objective.variables)
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert np.all(np.isfinite(gradient)), name
        # The scores' softmax does not see a bias of the keys.
        if not name.endswith("key/bias"):
            assert gradient.any(), name


# --- The losses ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ELECTRA_KINDS)
def test_the_loss_is_the_weighted_sum(kind: str) -> None:
    output = _run(kind)
    mlm, disc = output.mlm, output.disc
    assert disc is not None
    expected = 1.0 * float(mlm.loss) + 50.0 * float(disc.loss)
    assert float(output.loss) == pytest.approx(expected, rel=1e-6)
    weights, real = mlm.masked.weights.numpy(), make_batch()["input_mask"].numpy()
    assert float(mlm.loss) == pytest.approx(np.average(mlm.losses, weights=weights), rel=1e-5)
    assert float(disc.loss) == pytest.approx(np.average(disc.losses, weights=real), rel=1e-5)
    labels = disc.is_replaced.numpy().astype(np.float32)
    probability = 1.0 / (1.0 + np.exp(-disc.logits.numpy()))
    plain = -np.log(np.where(labels == 1, probability, 1.0 - probability)) * real
    np.testing.assert_allclose(disc.losses, plain, rtol=1e-4, atol=1e-6)


def test_the_weights_are_the_settings() -> None:
    objective = build_objective(tiny(gen_weight=0.5, disc_weight=3.0), SPECIAL)
    output = objective(make_batch(), step=3, training=False)
    assert output.disc is not None
    expected = 0.5 * float(output.mlm.loss) + 3.0 * float(output.disc.loss)
    assert float(output.loss) == pytest.approx(expected, rel=1e-6)


def test_masked_lm_alone() -> None:
    output = _run("masked lm")
    assert isinstance(_objective("masked lm"), MaskedLM)
    assert output.disc is None
    assert float(output.loss) == float(output.mlm.loss)
    # Untrained, it knows nothing.
    assert float(output.loss) == pytest.approx(np.log(VOCAB_SIZE), rel=0.05)
    plain = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(output.mlm.masked.ids, [-1]), output.mlm.logits
    )
    np.testing.assert_allclose(tf.reshape(output.mlm.losses, [-1]), plain, rtol=1e-5)


def test_unused_slots_do_not_count() -> None:
    batch = make_batch()
    masked = _run().mlm.masked
    weights = masked.weights.numpy()
    assert weights.min() == 0.0
    garbage = tf.where(weights > 0, masked.ids, VOCAB_SIZE - 1)
    sampled = tf.fill(masked.ids.shape, 11)
    objective = _objective()
    assert isinstance(objective, Electra)
    outputs = [
        objective(
            batch, step=3, training=False, masked=masked._replace(ids=ids), sampled_ids=sampled
        )
        for ids in (masked.ids, garbage)
    ]
    assert float(outputs[0].loss) == float(outputs[1].loss)


# --- The corrupted input ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ELECTRA_KINDS)
def test_the_corrupted_input_starts_from_the_original(kind: str) -> None:
    batch = make_batch()
    original = batch["input_ids"].numpy()
    for step in range(5):
        output = _run(kind, step=step)
        assert output.disc is not None
        masked, disc = output.mlm.masked, output.disc
        assert disc.sampled_ids is not None
        corrupted, sampled = disc.input_ids.numpy(), disc.sampled_ids.numpy()
        used = masked.weights.numpy() > 0
        expected = original.copy()
        for row in range(len(original)):
            expected[row, masked.positions.numpy()[row][used[row]]] = sampled[row][used[row]]
        assert np.array_equal(corrupted, expected)
        assert np.array_equal(disc.is_replaced, corrupted != original)
        # 15 % of the masked positions show their token; some are drawn right.
        assert np.all(disc.is_replaced.numpy().sum(-1) <= used.sum(-1))


@pytest.mark.parametrize("masking", ["whole_word", "ngram"])
def test_words_are_masked_whole_and_within_the_slots(masking: str) -> None:
    config = tiny(masking=masking, objective="masked_lm")
    objective = build_objective(config, SPECIAL)
    batch = make_batch(16)
    masked = objective(batch, step=1, training=False).mlm.masked
    slots = config.max_predictions_per_seq
    assert masked.positions.shape == [16, slots]
    special, real = batch["input_ids"].numpy() < 5, batch["input_mask"].numpy()
    starts = batch["word_starts"].numpy() | np.roll(special, 1, 1)
    words = np.cumsum(starts, 1)
    for row in range(16):
        used = masked.positions.numpy()[row][masked.weights.numpy()[row] > 0]
        tokens = np.flatnonzero(np.isin(words[row], words[row][used]) & (real[row] > 0))
        if len(used) < slots:
            assert set(tokens) == set(used)


def test_what_is_drawn_right_is_not_replaced() -> None:
    batch, masked = make_batch(), _run().mlm.masked
    output = _objective()(batch, step=3, training=False, masked=masked, sampled_ids=masked.ids)
    assert output.disc is not None
    assert np.array_equal(output.disc.input_ids, batch["input_ids"])
    assert not np.any(output.disc.is_replaced)


def test_no_gradient_through_sampling() -> None:
    """With the masked LM's loss off, the discriminator's moves nothing of the generator's own."""
    objective = build_objective(tiny(gen_weight=0.0), SPECIAL)
    for name, gradient in _gradients(objective).items():
        if name.startswith(("generator/", "masked_lm_head/")):
            assert gradient is None or not gradient.any(), name
        elif not name.endswith("key/bias"):
            assert gradient is not None, name
            assert gradient.any(), name


def test_the_discriminator_s_network_does_not_get_the_masked_lm_s_gradient() -> None:
    objective = build_objective(tiny(disc_weight=0.0), SPECIAL)
    for name, gradient in _gradients(objective).items():
        if name.startswith(("encoder/layers", "encoder/projection", "rtd_head/")):
            assert gradient is None or not gradient.any(), name


# --- What is drawn ---------------------------------------------------------------------------


def _sampled(config: PretrainConfig, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of tokens drawn at fixed masked positions, and the counts expected by the logits."""
    objective = build_objective(config, SPECIAL)
    assert isinstance(objective, Electra)
    # Untrained logits are nearly flat.
    objective.encoder.embeddings.word_embeddings.assign(
        objective.encoder.embeddings.word_embeddings * 40.0
    )
    batch = make_batch(32)
    fixed = objective(batch, step=0, training=False).mlm.masked

    @tf.function(autograph=False)
    def draw(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        output = objective(batch, step=step, training=False, masked=fixed)
        assert output.disc is not None
        return output.disc.sampled_ids, output.mlm.logits

    counts = np.zeros(VOCAB_SIZE)
    for step in range(steps):
        sampled, logits = draw(tf.constant(step, tf.int64))
        counts += np.bincount(sampled.numpy().ravel(), minlength=VOCAB_SIZE)
    scaled = logits.numpy().astype(np.float64) / config.temperature
    if config.disallow_correct:
        assert not np.any(sampled == fixed.ids)
        scaled[np.arange(len(scaled)), fixed.ids.numpy().ravel()] -= 1000.0
    expected = np.exp(scaled - scaled.max(-1, keepdims=True))
    return counts, steps * (expected / expected.sum(-1, keepdims=True)).sum(0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"uniform_generator": True}, {"temperature": 0.5, "disallow_correct": True}],
    ids=["generator", "uniform", "temperature, disallow_correct"],
)
def test_tokens_are_drawn_by_the_softmax(changes: dict[str, Any]) -> None:
    counts, expected = _sampled(tiny(**changes), 250)
    assert counts.sum() == pytest.approx(expected.sum())
    statistic = np.sum((counts - expected) ** 2 / expected)
    # Positions differ, so the statistic varies a little less than a chi-square.
    assert abs(statistic - (VOCAB_SIZE - 1)) < 5 * (2 * VOCAB_SIZE) ** 0.5
    if changes.get("uniform_generator"):
        np.testing.assert_allclose(expected, expected.mean(), rtol=1e-6)
    else:
        assert expected.max() > 2 * expected.min()


def test_a_uniform_generator_has_no_network() -> None:
    objective = _objective("uniform generator")
    assert isinstance(objective, Electra)
    assert objective.generator is None
    assert objective.masked_lm_head is None
    output = _run("uniform generator")
    assert float(output.mlm.loss) == pytest.approx(np.log(VOCAB_SIZE), rel=1e-5)


def test_a_step_fixes_masks_samples_and_dropout() -> None:
    def arrays(output: PretrainOutput) -> list[np.ndarray]:
        assert output.disc is not None
        disc = output.disc
        assert disc.sampled_ids is not None
        return [value.numpy() for value in (*output.mlm.masked, disc.sampled_ids, output.loss)]

    for training in (False, True):
        again = [arrays(_run(step=3, training=training)) for _ in range(2)]
        assert all(np.array_equal(one, other) for one, other in zip(*again, strict=True))
        other = arrays(_run(step=4, training=training))
        assert not np.array_equal(again[0][1], other[1])
        assert not np.array_equal(again[0][4], other[4])
    # Dropout changes what is computed, not what is masked.
    trained, evaluated = _run(training=True), _run(training=False)
    for one, other in zip(trained.mlm.masked, evaluated.mlm.masked, strict=True):
        assert np.array_equal(one, other)
    assert not np.allclose(trained.mlm.logits, evaluated.mlm.logits)


def test_the_seed_changes_weights_and_masks() -> None:
    one = _run().mlm.masked
    objective = build_objective(tiny(seed=1), SPECIAL)
    other = objective(make_batch(), step=3, training=False).mlm.masked
    assert not np.array_equal(one.positions, other.positions)
    table = objective.encoder.embeddings.word_embeddings
    assert not np.any(table == _objective().encoder.embeddings.word_embeddings)


def test_a_step_may_be_a_number_or_a_tensor() -> None:
    found = _objective()(make_batch(), step=tf.constant(3, tf.int64), training=True)
    assert float(found.loss) == float(_run(step=3, training=True).loss)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_draw_of_a_step_has_a_stream_of_its_own(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that share one would drop or draw the same."""
    plain, seeds = RandomKey.stateless_seed, []

    def record(key: RandomKey, stream: str) -> tf.Tensor:
        seed = plain(key, stream)
        seeds.append((stream, tuple(seed.numpy().tolist())))
        return seed

    monkeypatch.setattr(RandomKey, "stateless_seed", record)
    _run(kind, training=True)
    assert len(seeds) >= 9
    assert len({seed for _, seed in seeds}) == len(seeds)


def test_without_dropout_training_is_evaluation() -> None:
    none: dict[str, object] = {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    objective = build_objective(tiny(model=none), SPECIAL)
    losses = [objective(make_batch(), step=3, training=on).loss for on in (False, True)]
    assert float(losses[0]) == float(losses[1])


# --- For looking at a run --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["shared", "masked lm"])
def test_generator_logits_are_the_masked_lm_s(kind: str) -> None:
    output = _run(kind)
    masked: MaskedBatch = output.mlm.masked
    batch = make_batch() | {"input_ids": masked.input_ids}
    logits = _objective(kind).generator_logits(batch, masked.positions)
    assert logits.shape == [*masked.positions.shape, VOCAB_SIZE]
    np.testing.assert_allclose(tf.reshape(logits, [-1, VOCAB_SIZE]), output.mlm.logits, rtol=1e-6)


def test_replaced_probabilities_are_the_discriminator_s() -> None:
    output, objective = _run(), _objective()
    assert isinstance(objective, Electra)
    assert output.disc is not None
    batch = make_batch() | {"input_ids": output.disc.input_ids}
    found = objective.replaced_probabilities(batch)
    assert found.shape == [4, LENGTH]
    np.testing.assert_allclose(found, tf.sigmoid(output.disc.logits), rtol=1e-6)


def test_a_masked_lm_output_names_its_positions() -> None:
    mlm: MaskedLmOutput = _run().mlm
    batch = make_batch()
    true = np.take_along_axis(batch["input_ids"].numpy(), mlm.masked.positions.numpy(), 1)
    used = mlm.masked.weights.numpy() > 0
    assert np.array_equal(mlm.masked.ids.numpy()[used], true[used])


def test_an_objective_is_registered_by_its_module() -> None:
    assert objective_names() == ("electra", "electric", "joint", "masked_lm")
    for name in objective_names():
        config = tiny(objective=name)
        objective = build_objective(config, SPECIAL)
        assert type(objective) is objective_class(name)
        generator, masked_lm, has_detection, *_ = objective_class(name).networks(config)
        assert (generator is None) == (objective.generator is None)
        assert (masked_lm is None) == (objective.masked_lm_head is None)
        assert has_detection == hasattr(objective, "rtd_head")
