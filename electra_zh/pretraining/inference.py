"""Use of a run's networks: the generator fills masks, the discriminator detects replacements."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from electra_zh.errors import UserError
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.networks import of_objective
from electra_zh.pretraining.state import restore_objective
from electra_zh.text.tokenizer import Tokenizer, pad
from electra_zh.text.vocabulary import MASK
from electra_zh.training import checkpoints

_BATCH = 16


class Fill(NamedTuple):
    """One candidate for a [MASK]."""

    token: str  # the vocabulary's token
    probability: float  # the generator's, between 0 and 1


class FilledSentence(NamedTuple):
    """A sentence with the candidates for each [MASK] in it, most probable first."""

    text: str
    fills: list[list[Fill]]


class DetectedSentence(NamedTuple):
    """A sentence's tokens with the probability of each that it was replaced."""

    text: str
    tokens: list[str]
    probabilities: list[float]


class _Batch(NamedTuple):
    """Sentences as one padded batch; `features` int32 [B, L]."""

    texts: list[str]
    rows: list[list[int]]
    features: dict[str, tf.Tensor]


def fill_mask(
    run: Run, texts: Iterable[str], *, top: int, checkpoint: int | None = None
) -> Iterator[FilledSentence]:
    """Yields the generator's `top` most probable tokens for every [MASK] of each sentence.

    Raises:
      UserError: a sentence without [MASK] or too long, or a run without a generator.
    """
    if not 1 <= top <= run.vocabulary.size:
        raise UserError(f"--top must be from 1 to {run.vocabulary.size}; received {top}")
    networks = of_objective(run.config)
    if networks.masked_lm is None and networks.towers is None:
        raise UserError(
            f"{run.folder} was trained with a uniform generator and has no masked LM. Use another "
            "run."
        )
    objective, vocabulary = restore_objective(run, checkpoint=checkpoint), run.vocabulary
    for batch in _batches(run, texts, checkpoint):
        slots = [
            [place for place, token in enumerate(row) if token == vocabulary.mask_id]
            for row in batch.rows
        ]
        for text, places in zip(batch.texts, slots, strict=True):
            if not places:
                raise UserError(f'There is no {MASK} in "{text}". Mark the place to fill with it.')
        width = max(map(len, slots))
        positions = np.array([[*places, *[0] * (width - len(places))] for places in slots])
        logits = objective.generator_logits(batch.features, tf.constant(positions, tf.int32))
        values, ids = tf.math.top_k(tf.nn.softmax(logits), top)  # [B, N, top]
        results = zip(batch.texts, slots, values.numpy(), ids.numpy(), strict=True)
        for text, places, probabilities, tokens in results:
            count = len(places)
            fills = [
                [
                    Fill(vocabulary.tokens[id_], float(value))
                    for id_, value in zip(*both, strict=True)
                ]
                for both in zip(tokens[:count], probabilities[:count], strict=True)
            ]
            yield FilledSentence(text, fills)


def detect(
    run: Run, texts: Iterable[str], *, checkpoint: int | None = None
) -> Iterator[DetectedSentence]:
    """Yields the probability of each token of each sentence that it was replaced.

    Raises:
      UserError: a sentence too long, or a run without a discriminator.
    """
    check_detection(run)
    objective = restore_objective(run, checkpoint=checkpoint)
    for batch in _batches(run, texts, checkpoint):
        probabilities = objective.replaced_probabilities(batch.features).numpy()
        for text, row, values in zip(batch.texts, batch.rows, probabilities, strict=True):
            inner = slice(1, len(row) - 1)  # without [CLS] and [SEP]
            tokens = [run.vocabulary.tokens[token] for token in row[inner]]
            yield DetectedSentence(text, tokens, [float(value) for value in values[inner]])


def check_detection(run: Run) -> None:
    """Raises a UserError for a run without a trained discriminator."""
    if not of_objective(run.config).has_detection or run.config.discriminator_frozen:
        what = "generator" if run.config.discriminator_frozen else "masked LM"
        raise UserError(f"{run.folder} was trained as a {what} and has no discriminator")


def _batches(run: Run, texts: Iterable[str], checkpoint: int | None) -> Iterator[_Batch]:
    """Yields padded batches of at most 16 sentences, in their order.

    The first that is longer than the sequences of the training is warned about.
    """
    tokenizer = run.make_tokenizer()
    path = checkpoints.find(run.checkpoints, step=checkpoint)
    trained = run.trained_length(checkpoints.step_of(path))
    encoded = ((text, _encode(run, tokenizer, text)) for text in texts)
    while pending := list(itertools.islice(encoded, _BATCH)):
        rows = [row for _, row in pending]
        if longer := [(text, row) for text, row in pending if len(row) > trained]:
            text, row = longer[0]
            logging.warning(
                "A sentence has %d tokens, the run was trained with at most %d: later positions "
                'are untrained. "%s..."',
                *(len(row), trained, text[:30]),
            )
            trained = run.config.model.max_position_embeddings  # warn once
        ids, mask = map(tf.constant, pad(rows, run.config.model.max_position_embeddings))
        features = {"input_ids": ids, "input_mask": mask, "segment_ids": tf.zeros_like(ids)}
        yield _Batch([text for text, _ in pending], rows, features)


def _encode(run: Run, tokenizer: Tokenizer, text: str) -> list[int]:
    """Returns [CLS] text [SEP], every written [MASK] as the special token."""
    vocabulary = run.vocabulary
    row = [vocabulary.cls_id]
    for index, part in enumerate(text.split(MASK)):
        if index:
            row.append(vocabulary.mask_id)
        row += tokenizer.encode(part, inside=index > 0)
    row.append(vocabulary.sep_id)
    longest = run.config.model.max_position_embeddings
    if len(row) > longest:
        raise UserError(
            f'A sentence has {len(row)} tokens; at most {longest} are possible: "{text[:30]}..."'
        )
    return row
