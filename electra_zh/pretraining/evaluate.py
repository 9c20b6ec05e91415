"""Evaluation of a run on held-out data, by the reference's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.data.cutting import SENTENCE_ENDS
from electra_zh.data.source import open_data_source
from electra_zh.errors import UserError
from electra_zh.models import layers
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health.measures import make_measure
from electra_zh.pretraining.objectives.base import Objective
from electra_zh.pretraining.state import restore_objective

# Evaluation draws its masks and samples from steps that training never reaches, always the same.
_FIRST_STEP = 2**33


def open_shards(
    run: Run, data: str, *, on_damage: pipeline.OnDamage | None = None
) -> tuple[pipeline.Shard, ...]:
    """Opens data for a run, with the words that the masking needs; longer examples are cut."""
    tokens = {token: index for index, token in enumerate(run.vocabulary.tokens)}
    return pipeline.open_shards(
        data,
        max_seq_length=run.config.max_seq_length,
        words=run.config.needs_words,
        sentence_ends=tuple(tokens[token] for token in SENTENCE_ENDS if token in tokens),
        on_damage=on_damage,
    )


def open_held_out(
    run: Run, folders: Sequence[str], *, on_damage: pipeline.OnDamage | None = None
) -> tuple[pipeline.Shard, ...]:
    """Opens folders that must also have the vocabulary and tokenizer of a run."""
    shards: tuple[pipeline.Shard, ...] = ()
    for data in folders:
        open_data_source(data, default=run.vocabulary).check_fits(run.vocabulary, run.tokenizer)
        shards += open_shards(run, data, on_damage=on_damage)
    return shards


def make_evaluation(
    objective: Objective,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    *,
    max_batches: int,
    on_damage: pipeline.OnDamage | None = None,
    before_batch: Callable[[], None] = lambda: None,
) -> Callable[[], dict[str, float]]:
    """Returns a function that evaluates the networks as they then are, by `evaluation_results`.

    At most `max_batches` batches are evaluated, 0 for all, without a last partial batch. Less than
    one batch of data is one smaller batch. What `before_batch` raises ends an evaluation.
    """
    examples = sum(shard.examples for shard in shards)
    batch_size = min(config.eval_batch_size, examples)
    reading = pipeline.Reading(config.max_seq_length, config.needs_words, on_damage)
    batches = pipeline.OnePass(shards, reading, batch_size, max_batches=max_batches or None)

    @tf.function(autograph=False)
    def evaluate_batch(batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> metrics.EvaluationSums:
        output = objective(batch, step=step, training=False)
        return metrics.evaluation_sums(output, batch["input_mask"])

    def evaluate() -> dict[str, float]:
        totals: metrics.EvaluationSums | None = None
        for index, batch in enumerate(batches):
            before_batch()
            sums = evaluate_batch(batch, tf.constant(_FIRST_STEP + index, tf.int64))
            # float64 on the host: counts of many batches do not fit float32.
            values = tf.nest.map_structure(lambda value: value.numpy().astype(np.float64), sums)
            totals = values if totals is None else tf.nest.map_structure(np.add, totals, values)
        assert totals is not None
        return metrics.evaluation_results(totals)

    return evaluate


def make_sample(
    objective: Objective,
    run: Run,
    shards: tuple[pipeline.Shard, ...],
    *,
    on_damage: pipeline.OnDamage | None = None,
) -> Callable[[], str]:
    """Returns a function that fills the masks of the first example, as Markdown.

    Right fills are bold; a wrong one is followed by the true token in parentheses. Without a
    masked LM the text is empty.
    """
    reading = pipeline.Reading(run.config.max_seq_length, run.config.needs_words, on_damage)
    (batch,) = pipeline.OnePass(shards, reading, 1, max_batches=1)
    features = {name: tf.constant(values) for name, values in batch.items()}
    shown = batch["input_ids"][0, : int(batch["input_mask"][0].sum())].tolist()

    def sample() -> str:
        if objective.masked_lm_head is None:
            return ""
        with layers.plain_operations():
            mlm = objective(features, step=tf.constant(_FIRST_STEP, tf.int64), training=False).mlm
        best = tf.argmax(mlm.logits, -1).numpy()
        used = mlm.masked.weights.numpy()[0] > 0
        positions = mlm.masked.positions.numpy()[0]
        fills = dict(zip(positions[used].tolist(), best[used].tolist(), strict=True))
        words = []
        for position, token in enumerate(shown):
            true, fill = (run.vocabulary.tokens[i] for i in (token, fills.get(position, token)))
            wrong = f"{fill}({true})"
            words.append(
                true if position not in fills else f"**{true}**" if fill == true else wrong
            )
        return " ".join(words)

    return sample


def evaluate_run(
    run: Run, data: Sequence[str], *, checkpoint: int | None = None, max_batches: int = 0
) -> dict[str, float]:
    """Evaluates the newest checkpoint of a run, or that of a step, and measures its health.

    Raises:
      UserError: data that does not fit the run, or no such checkpoint.
    """
    if max_batches < 0:
        raise UserError(f"--batches must not be negative; received {max_batches}")
    shards = open_held_out(run, data)
    objective = restore_objective(run, checkpoint=checkpoint)
    results = make_evaluation(objective, run.config, shards, max_batches=max_batches)()
    return results | make_measure(objective, run.config, shards)()
