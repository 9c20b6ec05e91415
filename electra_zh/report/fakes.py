"""The fakes of a run's generator in held-out text, as its discriminator judges them.

`judge` loads TensorFlow; nothing else of the report does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.errors import UserError
from electra_zh.pretraining.folder import Run, open_run
from electra_zh.text.characters import is_cjk, is_punctuation

_BATCHES = 16
_SENTENCES = 8
_TOKENS = 60

KINDS = ("Chinese character", "Latin", "digits", "punctuation", "other")


class JudgedToken(NamedTuple):
    """A token of the discriminator's input."""

    shown: str
    original: str  # differs from `shown` if the token was replaced
    probability: float  # of a replacement, by the discriminator


class KindScore(NamedTuple):
    """Detection of the fakes for one kind of true token."""

    kind: str
    tokens: int  # all tokens
    replaced: int  # of them, those that were replaced
    found: int  # of these, those with a probability above 0.5


class Judgement(NamedTuple):
    """Examples, and the recall by kind of token."""

    sentences: list[list[JudgedToken]]
    kinds: list[KindScore]


def kind_of(token: str) -> str:
    """Returns the kind of a token of the vocabulary."""
    text = token.removeprefix("##").removeprefix("▁")
    if not text or text.startswith("["):
        return "other"
    if any(is_cjk(ord(char)) for char in text):
        return "Chinese character"
    if all(map(is_punctuation, text)):
        return "punctuation"
    if text.isnumeric():
        return "digits"
    return "Latin" if text.isascii() else "other"


def judge(model: str, data: Sequence[str] = ()) -> Judgement:
    """Judges fakes in held-out data, by default the run's own.

    Raises:
      UserError: a run without discriminator, or without held-out data.
    """
    run, step = open_run(model)
    folders = data or run.eval_data
    if not folders:
        raise UserError(f"{run.folder} has no held-out data: give --data DIR")
    tokens, kinds = run.vocabulary.tokens, [kind_of(token) for token in run.vocabulary.tokens]
    counts = {name: Counter[str]() for name in ("tokens", "replaced", "found")}
    sentences: list[list[JudgedToken]] = []
    for batch in _batches(run, folders, step):
        replaced = (batch.shown != batch.original) & batch.real
        found = replaced & (batch.logits > 0)
        for name, where in (("tokens", batch.real), ("replaced", replaced), ("found", found)):
            counts[name].update(kinds[token] for token in batch.original[where].tolist())
        for row in range(min(len(batch.original), _SENTENCES - len(sentences))):
            places = np.flatnonzero(batch.real[row])[:_TOKENS]
            probabilities = 1 / (1 + np.exp(-batch.logits[row, places].astype(float)))
            sentences.append(
                [
                    JudgedToken(
                        tokens[batch.shown[row, i]], tokens[batch.original[row, i]], float(p)
                    )
                    for i, p in zip(places.tolist(), probabilities, strict=True)
                ]
            )
    scores = [KindScore(kind, *(counts[name][kind] for name in counts)) for kind in KINDS]
    return Judgement(sentences, [each for each in scores if each.tokens])


class _FakesBatch(NamedTuple):
    """Arrays [B, L] of a batch."""

    original: np.ndarray  # int32, the true tokens
    shown: np.ndarray  # int32, the discriminator's input
    logits: np.ndarray  # float32, above 0 where it takes a token to be replaced
    real: np.ndarray  # bool, without padding, [CLS] and [SEP]


def _batches(run: Run, folders: Sequence[str], step: int | None) -> Iterator[_FakesBatch]:
    import tensorflow as tf

    from electra_zh.data import pipeline
    from electra_zh.pretraining.inference import check_detection
    from electra_zh.pretraining.objectives.base import EVALUATION_STEP
    from electra_zh.pretraining.running.data import open_held_out
    from electra_zh.pretraining.state import restore_objective

    config, ends = run.config, [run.vocabulary.cls_id, run.vocabulary.sep_id]
    check_detection(run)
    shards = open_held_out(run, folders)
    objective = restore_objective(run, checkpoint=step)
    size = min(config.eval_batch_size, sum(shard.examples for shard in shards))
    reading = pipeline.Reading(config.max_seq_length, config.needs_words)
    for number, batch in enumerate(pipeline.OnePass(shards, reading, size, max_batches=_BATCHES)):
        features = {name: tf.constant(values) for name, values in batch.items()}
        drawn = tf.constant(EVALUATION_STEP + number, tf.int64)
        disc = objective(features, step=drawn, training=False).disc
        assert disc is not None
        original = batch["input_ids"]
        real = (disc.counted.numpy() > 0) & ~np.isin(original, ends)
        yield _FakesBatch(original, disc.input_ids.numpy(), disc.logits.numpy(), real)
