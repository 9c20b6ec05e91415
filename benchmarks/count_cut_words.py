"""Counts of sequences with a word, or an n-gram of words, that is masked in part.

Words are masked completely, except where a sequence's slots for predictions end. Made rows of 128
tokens, with words of 1.7 tokens on average as in Chinese text, masked as a run masks them.

    python benchmarks/count_cut_words.py
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import tensorflow as tf
from bench_masking import LENGTH, WORD_LENGTHS

from electra_zh.models import split
from electra_zh.models.random import RandomKey
from electra_zh.pretraining import mask_tensors
from electra_zh.pretraining.masking import NGRAM_FRACTIONS

SPECIAL = mask_tensors.SpecialIds(pad=0, cls=2, sep=3, mask=4)
MASK_PROB = 0.15
ROWS = 1024


def main() -> None:
    """Counts for both kinds of masking, and for one to three spare slots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=200, help="of 1,024 rows (%(default)s)")
    batches = parser.parse_args().batches
    for name, shares in (("words", ()), ("n-grams", NGRAM_FRACTIONS)):
        for spare in (1, 2, 3):
            slots = math.ceil(MASK_PROB * LENGTH) + spare
            counts = _count(shares, slots=slots, batches=batches)
            print(f"{name}, {slots} slots: {_show(counts, batches * ROWS)}")


def _count(shares: tuple[float, ...], *, slots: int, batches: int) -> np.ndarray:
    """Returns int64 [4]: units masked, of them in part; rows with such a one; rows with a word."""
    count = tf.function(lambda starts, step: _count_batch(starts, step, shares, slots))
    generator = np.random.default_rng(0)
    total = np.zeros(4, np.int64)
    for step in range(batches):
        starts = tf.constant(_word_starts(generator), tf.int32)
        total += count(starts, tf.constant(step, tf.int64)).numpy()
    return total


def _word_starts(generator: np.random.Generator) -> np.ndarray:
    """Returns int32 [B, L], 1 where a word begins; the first and last tokens are special."""
    words = 1 + generator.choice(len(WORD_LENGTHS), [ROWS, LENGTH], p=WORD_LENGTHS)
    begins = 1 + np.cumsum(words, 1) - words
    starts = np.zeros([ROWS, LENGTH], np.int32)
    rows, which = np.nonzero(begins < LENGTH - 1)
    starts[rows, begins[rows, which]] = 1
    starts[:, [0, -1]] = 1
    return starts


def _count_batch(
    starts: tf.Tensor, step: tf.Tensor, shares: tuple[float, ...], slots: int
) -> tf.Tensor:
    ids = np.full([ROWS, LENGTH], 9, np.int32)
    ids[:, 0], ids[:, -1] = SPECIAL.cls, SPECIAL.sep
    batch = {
        "input_ids": tf.constant(ids),
        "input_mask": tf.ones([ROWS, LENGTH], tf.int32),
        "word_starts": starts,
    }
    key = RandomKey(0, step)
    request = mask_tensors.MaskingRequest(batch, SPECIAL, key, MASK_PROB, slots)
    found = mask_tensors.whole_words(request, shares)
    used = found.weights > 0
    zeros = tf.zeros([ROWS, LENGTH], tf.int32)
    masked = split.write_at(zeros, found.positions, tf.ones_like(found.positions), used)
    candidates = mask_tensors._candidates(request)
    # The same key draws the same n-grams.
    units = _cut(mask_tensors._units(starts, candidates, shares, key), masked, candidates)
    words = _cut(mask_tensors._units(starts, candidates, (), key), masked, candidates)
    return tf.stack([units[0], units[1], units[2], words[2]])


def _cut(units: tf.Tensor, masked: tf.Tensor, candidates: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns the numbers of masked units, of units masked in part, and of rows with one."""
    number = tf.maximum(units, 0) + LENGTH * tf.range(ROWS)[:, None]
    sizes, hidden = (
        tf.reshape(
            tf.math.unsorted_segment_sum(
                tf.reshape(value, [-1]), tf.reshape(number, [-1]), ROWS * LENGTH
            ),
            [ROWS, LENGTH],
        )
        for value in (tf.cast(candidates, tf.int32), masked)
    )
    in_part = tf.logical_and(hidden > 0, hidden < sizes)
    flags = (hidden > 0, in_part, tf.reduce_any(in_part, 1))
    return tuple(tf.math.count_nonzero(flag) for flag in flags)


def _show(counts: np.ndarray, rows: int) -> str:
    units, in_part, in_rows, word_rows = counts.tolist()
    return (
        f"{in_part / units:.3%} of {units:,} masked in part; in {in_rows / rows:.3%} of rows "
        f"(one in {rows / max(in_rows, 1):.0f}), a word in {word_rows / rows:.3%}"
    )


if __name__ == "__main__":
    main()
