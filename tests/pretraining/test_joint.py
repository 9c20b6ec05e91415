"""Masked LM and detection of tokens from other places of the batch, in one network."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.pretraining import metrics
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import PretrainOutput
from support.networks import SPECIAL, VOCAB_SIZE, make_batch, tiny

CONFIG = tiny(objective="joint", mask_prob=0.2, fake_prob=0.25, gen_weight=0.5, disc_weight=3.0)


def _run(step: int = 3, rows: int = 32) -> tuple[dict[str, np.ndarray], PretrainOutput]:
    batch = make_batch(rows)
    output = build_objective(CONFIG, SPECIAL)(batch, step=step, training=False)
    return {name: value.numpy() for name, value in batch.items()}, output


def _is_masked(output: PretrainOutput, shape: tuple[int, ...]) -> np.ndarray:
    masked, found = output.mlm.masked, np.zeros(shape, bool)
    for row, positions in enumerate(masked.positions.numpy()):
        found[row, positions[masked.weights.numpy()[row] > 0]] = True
    return found


def test_fakes_are_tokens_of_the_batch_where_nothing_is_masked() -> None:
    batch, output = _run()
    disc, original = output.disc, batch["input_ids"]
    assert disc is not None
    shown, replaced = disc.input_ids.numpy(), disc.is_replaced.numpy() > 0
    is_masked = _is_masked(output, original.shape)
    assert np.array_equal(replaced, (shown != original) & ~is_masked)
    assert not np.any(replaced & ((original < 5) | (batch["input_mask"] == 0)))
    usable = set(original[(original >= 5) & (batch["input_mask"] > 0)].tolist())
    assert set(shown[replaced].tolist()) <= usable
    assert np.array_equal(shown[is_masked], output.mlm.masked.input_ids.numpy()[is_masked])
    # A quarter of the tokens that are neither special nor masked, but for equal tokens.
    open_places = (original >= 5) & ~is_masked
    assert replaced.sum() / open_places.sum() == pytest.approx(0.25, abs=0.06)


def test_fakes_are_as_frequent_as_their_tokens() -> None:
    objective = build_objective(CONFIG, SPECIAL)
    batch = make_batch(32)
    ids = tf.where(batch["input_ids"] > 40, 7, batch["input_ids"])
    drawn = []
    for step in range(20):
        disc = objective({**batch, "input_ids": ids}, step=step, training=False).disc
        assert disc is not None
        drawn.append(disc.input_ids.numpy()[disc.is_replaced.numpy() > 0])
    counts = np.bincount(np.concatenate(drawn), minlength=VOCAB_SIZE)
    usable = ids.numpy()[(ids.numpy() >= 5) & (batch["input_mask"].numpy() > 0)]
    # A fake differs from the token it replaces; of the others, each is as frequent as in the text.
    expected = np.bincount(usable, minlength=VOCAB_SIZE) / len(usable)
    expected *= 1 - expected
    expected *= counts.sum() / expected.sum()
    assert abs(counts[7] - expected[7]) < 5 * expected[7] ** 0.5


def test_the_losses_are_over_their_own_positions() -> None:
    batch, output = _run()
    disc, mlm = output.disc, output.mlm
    assert disc is not None
    counted = (batch["input_mask"] > 0) & ~_is_masked(output, batch["input_ids"].shape)
    assert np.array_equal(disc.counted.numpy() > 0, counted)
    assert not np.any(disc.losses.numpy()[~counted])
    expected = disc.losses.numpy()[counted].mean()
    assert float(disc.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.loss) == pytest.approx(0.5 * float(mlm.loss) + 3 * expected, rel=1e-5)


def test_metrics_do_not_count_masked_positions() -> None:
    batch, output = _run()
    assert output.disc is not None
    sums = metrics.evaluation_sums(output, tf.constant(batch["input_mask"]))
    assert float(sums.counted) == output.disc.counted.numpy().sum() < batch["input_mask"].sum()
    found = metrics.evaluation_results(sums)
    # Nothing is sampled.
    assert "sampled_masked_lm_accuracy" not in found
    assert 0.3 < found["disc_auc_real"] < 0.7
