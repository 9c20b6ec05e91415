"""Evaluation of a run on held-out data, by the reference's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from electra_zh.data import pipeline
from electra_zh.errors import UserError
from electra_zh.models import layers
from electra_zh.pretraining import metrics
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.health import tensors
from electra_zh.pretraining.health.measures import make_measure
from electra_zh.pretraining.objectives.base import EVALUATION_STEP, Objective
from electra_zh.pretraining.programs.evaluation import DeviceEvaluation
from electra_zh.pretraining.programs.lower import lower_evaluation
from electra_zh.pretraining.running.data import evaluation_batches, open_held_out
from electra_zh.pretraining.state import restore_objective, variables_by_name
from electra_zh.runtime.device import CPU, Device
from electra_zh.training import side_by_side


def make_evaluation(
    objective: Objective,
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    *,
    max_batches: int,
    on_damage: pipeline.OnDamage | None = None,
    before_batch: Callable[[], None] = lambda: None,
    device: Device = CPU,
) -> Callable[[], dict[str, float]]:
    """Returns a function that evaluates the networks as they then are, by `evaluation_results`.

    The batches are those of `evaluation_batches`. What `before_batch` raises ends an evaluation. On
    devices of JAX it is called before some batches.
    """
    batches = evaluation_batches(config, shards, max_batches=max_batches, on_damage=on_damage)
    if device.found:
        program = lower_evaluation(objective, batches.batch_size)
        on_device = DeviceEvaluation(program, batches, device, before_batch=before_batch)
        weights = variables_by_name(objective)
        return lambda: on_device({name: value.numpy() for name, value in weights.items()})

    @tf.function(autograph=False)
    def evaluate_batch(batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> metrics.EvaluationSums:
        output = objective(batch, step=step, training=False)
        return metrics.evaluation_sums(output, batch["input_mask"])

    @side_by_side.in_order
    def evaluate_all(item: tuple[int, pipeline.Batch]) -> metrics.EvaluationSums:
        index, batch = item
        tensors = {name: tf.constant(value) for name, value in batch.items()}
        found: metrics.EvaluationSums
        found = evaluate_batch(tensors, tf.constant(EVALUATION_STEP + index, tf.int64))
        return found

    def numbered() -> Iterator[tuple[int, pipeline.Batch]]:
        for index, batch in enumerate(batches):
            before_batch()
            yield index, batch

    def evaluate() -> dict[str, float]:
        totals: metrics.EvaluationSums | None = None
        for sums in evaluate_all(numbered()):
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
            mlm = objective(
                features, step=tf.constant(EVALUATION_STEP, tf.int64), training=False
            ).mlm
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
    run: Run,
    data: Sequence[str],
    *,
    checkpoint: int | None = None,
    max_batches: int = 0,
    device: Device = CPU,
) -> dict[str, float]:
    """Evaluates the newest checkpoint of a run, or that of a step, and measures its health.

    Raises:
      UserError: data that does not fit the run, or no such checkpoint.
    """
    if max_batches < 0:
        raise UserError(f"--batches must not be negative; received {max_batches}")
    shards = open_held_out(run, data)
    objective = restore_objective(run, checkpoint=checkpoint)
    evaluate = make_evaluation(
        objective, run.config, shards, max_batches=max_batches, device=device
    )
    compute = tensors.compute(objective)
    return evaluate() | make_measure(compute, run.config, run.vocabulary, shards)()
