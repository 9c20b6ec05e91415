"""A look at a run: what its generator fills in, what its discriminator finds replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.objectives import objective_class
from electra_zh.pretraining.state import restore_objective
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.text.vocabulary import MASK

_BATCH = 16


class Fill(NamedTuple):
    """One candidate for a [MASK].

    Attributes:
      token: the vocabulary's token.
      probability: the generator's, between 0 and 1.
    """

    token: str
    probability: float


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
    """Yields the generator's most probable tokens for every [MASK] of each sentence.

    Args:
      run: a pretraining run.
      texts: sentences with at least one [MASK].
      top: candidates for each [MASK].
      checkpoint: the step of a kept checkpoint; the newest unless given.

    Raises:
      UserError: a sentence without [MASK] or too long, or a run without a generator.
    """
    if not 1 <= top <= run.vocabulary.size:
        raise UserError(f"--top must lie between 1 and {run.vocabulary.size}; received {top}")
    if objective_class(run.config.objective).networks(run.config).masked_lm is None:
        raise UserError(
            f"{run.folder} was trained with a uniform generator and has no masked LM. Use another "
            "run."
        )
    objective = restore_objective(run, checkpoint=checkpoint)
    tokenizer = run.make_tokenizer()
    for batch in _batches(run, tokenizer, texts):
        mask_id = run.vocabulary.mask_id
        slots = [[i for i, token in enumerate(row) if token == mask_id] for row in batch.rows]
        for text, found in zip(batch.texts, slots, strict=True):
            if not found:
                raise UserError(f'there is no {MASK} in "{text}"')
        width = max(len(found) for found in slots)
        positions = np.array([found + [0] * (width - len(found)) for found in slots], np.int32)
        logits = objective.generator_logits(batch.features, tf.constant(positions))
        values, ids = tf.math.top_k(tf.nn.softmax(logits), top)
        for text, found, probabilities, tokens in zip(
            batch.texts, slots, values.numpy(), ids.numpy(), strict=True
        ):
            yield FilledSentence(
                text,
                [
                    [
                        Fill(run.vocabulary.tokens[token], float(probability))
                        for token, probability in zip(
                            tokens[slot], probabilities[slot], strict=True
                        )
                    ]
                    for slot in range(len(found))
                ],
            )


def detect(
    run: Run, texts: Iterable[str], *, checkpoint: int | None = None
) -> Iterator[DetectedSentence]:
    """Yields, for each token of each sentence, how likely it was replaced.

    Args:
      run: a pretraining run.
      texts: sentences.
      checkpoint: the step of a kept checkpoint; the newest unless given.

    Raises:
      UserError: a sentence too long, or a run without a discriminator.
    """
    if not objective_class(run.config.objective).networks(run.config).has_detection:
        raise UserError(f"{run.folder} was trained as a masked LM and has no discriminator.")
    objective = restore_objective(run, checkpoint=checkpoint)
    tokenizer = run.make_tokenizer()
    for batch in _batches(run, tokenizer, texts):
        probabilities = objective.replaced_probabilities(batch.features).numpy()
        for text, row, values in zip(batch.texts, batch.rows, probabilities, strict=True):
            inner = slice(1, len(row) - 1)  # without [CLS] and [SEP]
            tokens = [run.vocabulary.tokens[token] for token in row[inner]]
            yield DetectedSentence(text, tokens, [float(value) for value in values[inner]])


def _batches(run: Run, tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[_Batch]:
    """Yields padded batches of at most 16 sentences, in their order."""
    max_length = run.config.model.max_position_embeddings
    pending: list[tuple[str, list[int]]] = []
    for text in texts:
        pending.append((text, _encode(run, tokenizer, text)))
        if len(pending) == _BATCH:
            yield _pad(pending, max_length)
            pending = []
    if pending:
        yield _pad(pending, max_length)


def _encode(run: Run, tokenizer: Tokenizer, text: str) -> list[int]:
    """Returns [CLS] text [SEP], every written [MASK] as the special token."""
    vocabulary = run.vocabulary
    row = [vocabulary.cls_id]
    for index, part in enumerate(text.split(MASK)):
        if index:
            row.append(vocabulary.mask_id)
        row += tokenizer.encode(part, inside=index > 0)
    row.append(vocabulary.sep_id)
    if len(row) > run.config.model.max_position_embeddings:
        raise UserError(
            f"a sentence has {len(row)} tokens, at most "
            f'{run.config.model.max_position_embeddings} are possible: "{text[:30]}..."'
        )
    return row


def _pad(pending: list[tuple[str, list[int]]], max_length: int) -> _Batch:
    rows = [row for _, row in pending]
    # Few different lengths, so that few shapes are compiled.
    length = min(-(-max(len(row) for row in rows) // 16) * 16, max_length)
    input_ids = np.zeros([len(rows), length], np.int32)
    input_mask = np.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = row
        input_mask[index, : len(row)] = 1
    features = {
        "input_ids": tf.constant(input_ids),
        "input_mask": tf.constant(input_mask),
        "segment_ids": tf.zeros_like(input_ids),
    }
    return _Batch([text for text, _ in pending], rows, features)
