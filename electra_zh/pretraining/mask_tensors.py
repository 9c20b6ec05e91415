"""Draws of the positions to predict: all on the device, with static shapes.

Shapes: B batch, L length, N masked positions of a sequence at most.

The kinds of masking (`masking.py`) are made of these functions. Each chooses positions and ends
with `mask_positions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from electra_zh.models import split
from electra_zh.models.random import RandomKey
from electra_zh.text.vocabulary import Vocabulary


class SpecialIds(NamedTuple):
    """Ids of the special tokens."""

    pad: int
    cls: int
    sep: int
    mask: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> SpecialIds:
        """Returns the ids in a vocabulary."""
        ids = vocabulary
        return cls(pad=ids.pad_id, cls=ids.cls_id, sep=ids.sep_id, mask=ids.mask_id)


class MaskedBatch(NamedTuple):
    """A batch with positions to predict."""

    input_ids: tf.Tensor  # int32 [B, L], what the generator sees
    positions: tf.Tensor  # int32 [B, N], distinct within a sequence; 0 in unused slots
    ids: tf.Tensor  # int32 [B, N], the true tokens there; 0 in unused slots
    weights: tf.Tensor  # float32 [B, N], 1 in used slots and 0 in unused ones


class ReplacementRates(NamedTuple):
    """Replacement rates at masked positions; by default the reference's 85 % [MASK]."""

    keep: float = 0.15  # fraction of the positions that show their true token
    # fraction of them that show a token drawn evenly from the vocabulary, BERT's 0.1
    random: float = 0.0
    vocab_size: int = 0  # number of tokens; only random tokens need it


class MaskingRequest(NamedTuple):
    """A batch to mask."""

    # int32 [B, L] `input_ids` and `input_mask`, and `word_starts` if the kind needs words: 1 where
    # a word begins and 0 inside words
    batch: Mapping[str, tf.Tensor]
    special: SpecialIds  # ids that are never masked, and the id to show
    key: RandomKey  # random key of the draw
    mask_prob: float | tf.Tensor  # fraction of the tokens to predict
    max_predictions: int  # N
    rates: ReplacementRates = ReplacementRates()


def uniform(request: MaskingRequest) -> MaskedBatch:
    """Masks positions drawn uniformly without replacement.

    The number in a sequence is the reference's, max(1, min(N, round(tokens * mask_prob))) with all
    its tokens counted, rounded half to even, but never more than it has candidates. Candidates
    are the tokens that are not [CLS], [SEP] or [MASK]. (The reference draws with replacement.)
    """
    slots, shape = request.max_predictions, request.batch["input_ids"].shape.as_list()
    # The candidates with the largest random numbers, as many as are wanted, are a uniform draw.
    bits = tf.bitwise.right_shift(request.key.bits("masking/positions", shape), 1)
    order = tf.where(candidates(request.batch, request.special), tf.bitcast(bits, tf.int32), -1)
    top, positions = tf.math.top_k(order, slots)
    tokens = tf.cast(tf.reduce_sum(request.batch["input_mask"], -1), tf.float32)
    wanted = tf.cast(tf.round(tokens * request.mask_prob), tf.int32)
    wanted = tf.clip_by_value(wanted, 1, slots)
    used = tf.logical_and(tf.range(slots)[None, :] < wanted[:, None], top >= 0)
    return mask_positions(request, positions, used)


def whole_words(request: MaskingRequest, fractions: Sequence[float] = ()) -> MaskedBatch:
    """Masks all tokens of words, or of n-grams of 1, 2, ... words with these fractions.

    The expected number of masked tokens is exactly w = mask_prob * tokens (at least 1; all tokens
    counted, as in `uniform`). Units, that is words or n-grams, are laid out in a random order, and
    one with `before` tokens before it is masked where u * length < w - before, u one number for
    the row: all that end by w, and the one across it with the probability that makes up the mean.
    A unit is cut only where the N slots end, and its length counted as what is left of it. A token
    after one that is never masked begins a word in any case.

    A unit's chance of being masked hardly depends on its length. Were the order even, long units
    would be at a disadvantage, as they seldom end by w; if it always began with the unit of a
    token drawn evenly, they would have the same advantage. So it begins that way in half of the
    rows.
    """
    batch, key = request.batch, request.key
    maskable = candidates(batch, request.special)
    units = _units(batch["word_starts"], maskable, fractions, key)
    order = _order(units, maskable, key)
    top, positions = tf.math.top_k(order, request.max_predictions)  # unit by unit
    before = tf.reduce_sum(tf.cast(top[:, None, :] > top[:, :, None], tf.float32), -1)
    length = tf.reduce_sum(tf.cast(top[:, None, :] == top[:, :, None], tf.float32), -1)  # [B, N]
    tokens = tf.cast(tf.reduce_sum(batch["input_mask"], -1, keepdims=True), tf.float32)
    wanted = tf.maximum(tokens * request.mask_prob, 1.0)
    draw = key.uniform("masking/last_unit", tokens.shape.as_list())
    used = tf.logical_and(draw * length < wanted - before, top >= 0)
    return mask_positions(request, positions, used)


def candidates(batch: Mapping[str, tf.Tensor], special: SpecialIds) -> tf.Tensor:
    """Returns bool [B, L]: the tokens that may be masked."""
    never = tf.constant([special.cls, special.sep, special.mask], tf.int32)
    is_special = tf.reduce_any(batch["input_ids"][:, :, None] == never, -1)
    return tf.logical_and(batch["input_mask"] > 0, tf.logical_not(is_special))


def _units(
    word_starts: tf.Tensor, candidates: tf.Tensor, fractions: Sequence[float], key: RandomKey
) -> tf.Tensor:
    """Returns int32 [B, L]: the number in its row, from 0, of the unit that a candidate is in."""
    run_starts = tf.logical_and(candidates, tf.logical_not(_shifted(candidates, 1)))
    starts = tf.logical_or(run_starts, tf.logical_and(candidates, word_starts > 0))
    words = tf.cumsum(tf.cast(starts, tf.int32), 1) - 1
    if not fractions:
        return words
    drawn = key.uniform("masking/ngrams", words.shape.as_list())
    lengths = tf.ones_like(words)
    for n in range(1, len(fractions)):
        lengths += tf.cast(drawn >= sum(fractions[:n]), tf.int32)
    # No n-gram crosses a token that is never masked: its words are counted from there.
    first_words = _running_max(tf.where(run_starts, words, 0))
    ngrams = tf.searchsorted(tf.cumsum(lengths, 1), words - first_words, side="right")
    new = tf.logical_or(run_starts, ngrams != _shifted(ngrams, 1))
    return tf.cumsum(tf.cast(tf.logical_and(starts, new), tf.int32), 1) - 1


def _shifted(x: tf.Tensor, count: int) -> tf.Tensor:
    """Returns [B, L] with x moved right by `count`, zeros (or False) before it."""
    return tf.pad(x[:, :-count], [[0, 0], [count, 0]])


def _running_max(x: tf.Tensor) -> tf.Tensor:
    """Returns [B, L]: the largest of a row's values up to each; they must not be negative."""
    reach = 1
    while reach < x.shape[1]:
        x = tf.maximum(x, _shifted(x, reach))
        reach *= 2
    return x


def _order(units: tf.Tensor, candidates: tf.Tensor, key: RandomKey) -> tf.Tensor:
    """Returns int32 [B, L]: a number that is a unit's own, random, and -1 for no candidates."""
    rows, length = units.shape
    index_bits = length.bit_length()
    random = tf.bitwise.right_shift(key.bits("masking/units", [rows, length]), index_bits + 1)
    random = tf.bitwise.left_shift(tf.bitcast(random, tf.int32), index_bits)
    # The low bits are the unit's number, so that no two units are equal.
    order = tf.gather(random + tf.range(length), tf.maximum(units, 0), batch_dims=1)
    ranks = tf.cumsum(tf.cast(candidates, tf.int32), 1)  # from 1
    # One candidate of the row, or with equal chance none: its unit comes first.
    draw = key.uniform("masking/first_unit", [rows, 1]) * 2.0 * tf.cast(ranks[:, -1:], tf.float32)
    chosen = tf.logical_and(candidates, ranks == 1 + tf.cast(draw, tf.int32))
    first = tf.reduce_max(tf.where(chosen, units, -1), 1, keepdims=True)
    order = tf.where(units == first, tf.int32.max, order)
    return tf.where(candidates, order, -1)


def mask_positions(request: MaskingRequest, positions: tf.Tensor, used: tf.Tensor) -> MaskedBatch:
    """Shows the used positions as [MASK], or some as they are or as random tokens.

    `positions` is int32 [B, N]; `used` is bool [B, N], the slots that count.
    """
    input_ids, key, rates = request.batch["input_ids"], request.key, request.rates
    positions = tf.where(used, positions, 0)
    ids = tf.where(used, tf.gather(input_ids, positions, batch_dims=1), 0)
    drawn = key.uniform("masking/shown", positions.shape.as_list())
    others = ids
    if rates.random:
        bits = tf.bitwise.right_shift(key.bits("masking/random", positions.shape.as_list()), 1)
        tokens = tf.math.floormod(tf.bitcast(bits, tf.int32), rates.vocab_size)
        others = tf.where(drawn < 1.0 - rates.keep, tokens, ids)
    values = tf.where(drawn < 1.0 - rates.keep - rates.random, request.special.mask, others)
    masked_ids = split.write_at(input_ids, positions, values, used)
    return MaskedBatch(masked_ids, positions, ids, tf.cast(used, tf.float32))
