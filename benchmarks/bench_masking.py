"""Cost of the kinds of masking and of LAMB: the complete pretraining step, and masking alone.

    python benchmarks/bench_masking.py [--model tiny] [--precision P] [--rounds 5] [--steps 3]

Made batches of 32 full sequences of 128 tokens, words of 1.7 tokens as in Chinese text. Word
masking has 22 slots per sequence, uniform masking 19. `22 slots` is uniform masking with 22 slots,
to separate the cost of the slots from that of the drawing. The variants take
turns, round by round, in one process. Printed: medians of the rounds, and ratios within this run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import environment

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from electra_zh.models.random import RandomKey
from electra_zh.pretraining.config import resolve
from electra_zh.pretraining.run import PretrainStep
from electra_zh.pretraining.state import TrainState
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training import loop

BATCH, LENGTH, VOCAB = 32, 128, 21128
# Of words with 1, 2, 3 and 4 tokens, counted by jieba in Chinese text of several kinds.
WORD_LENGTHS = (0.45, 0.475, 0.047, 0.028)

VARIANTS: dict[str, dict[str, str]] = {
    "uniform": {},
    "uniform, 22 slots": {"mask_prob": "0.172"},
    "whole_word": {"masking": "whole_word"},
    "ngram": {"masking": "ngram"},
    "uniform, LAMB": {"optimizer": "lamb"},
}


def make_batch(vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Full sequences of two segments."""
    generator = np.random.default_rng(0)
    ids = generator.integers(5, VOCAB, [BATCH, LENGTH]).astype(np.int32)
    ids[:, 0], ids[:, 64], ids[:, -1] = vocabulary.cls_id, vocabulary.sep_id, vocabulary.sep_id
    starts = np.zeros_like(ids)
    for row in starts:
        words = 1 + generator.choice(len(WORD_LENGTHS), LENGTH, p=WORD_LENGTHS)
        begins = np.concatenate([[0, 1], 1 + np.cumsum(words)])
        row[begins[begins < LENGTH]] = 1
    starts[ids < 5] = 1
    segments = np.repeat((np.arange(LENGTH) > 64)[None], BATCH, 0).astype(np.int32)
    return {
        "input_ids": ids,
        "input_mask": np.ones_like(ids),
        "segment_ids": segments,
        "word_starts": starts,
    }


def make_calls(
    model: str, precision: str, changes: Mapping[str, str]
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns one training step, and the masking of one batch alone."""
    common = {"train_batch_size": str(BATCH), "precision": precision, "max_seq_length": str(LENGTH)}
    config = resolve(model, {**common, **changes}, vocab_size=VOCAB).settings
    rest = VOCAB - len(SPECIAL_TOKENS)
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *(f"t{i}" for i in range(rest))])
    batch = make_batch(vocabulary)
    if not config.needs_words:
        del batch["word_starts"]
    state = TrainState(config, vocabulary)
    batches = itertools.repeat(batch)
    inner = loop.make_inner_loop(PretrainStep(state).compiled(), batches)
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    step = tf.Variable(0, dtype=tf.int64)

    @tf.function(autograph=False)
    def mask() -> tf.Tensor:
        key = RandomKey(0, step.assign_add(1))
        return state.objective.draw(tensors, key=key).masked.input_ids

    return lambda: inner(1), lambda: mask().numpy()


def measure(calls: Mapping[str, Callable[[], object]], rounds: int, times: int) -> dict[str, float]:
    """Returns the median seconds of each call over rounds in which they take turns."""
    for call in calls.values():
        call()
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(times):
                call()
            seconds[name].append((time.perf_counter() - start) / times)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps of a turn")
    environment.add_flags(parser)
    args = parser.parse_args()
    print(environment.header())
    if args.quick:
        args.model, args.rounds, args.steps = "nano", 1, 1
    made = {name: make_calls(args.model, args.precision, c) for name, c in VARIANTS.items()}
    steps = measure({name: calls[0] for name, calls in made.items()}, args.rounds, args.steps)
    masks = measure({name: calls[1] for name, calls in made.items()}, args.rounds, 50)
    figures = {"step": steps, "masking alone": masks}
    environment.record(args.json, "masking", sys.argv, figures)
    print(f"{args.model}, {args.precision}, batch {BATCH}, length {LENGTH}")
    for name, seconds in steps.items():
        print(
            f"  {name:20s} {1e3 * seconds:7.1f} ms a step, {seconds / steps['uniform']:.3f} of "
            f"uniform; masking alone {1e3 * masks[name]:.2f} ms, {masks[name] / seconds:.2%}"
        )


if __name__ == "__main__":
    main()
