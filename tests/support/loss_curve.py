"""The loss curve of a nano run on made-up data, by the real step and the real loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np

from electra_zh.pretraining.config import resolve
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.run import PretrainStep
from electra_zh.pretraining.state import TrainState
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training import loop
from support.networks import GOLDEN

FILE = GOLDEN / "loss_curve.json"
STEPS = 50
CURVES = ("loss", "gen_loss", "disc_loss")
# Half of a warm-up of 100 steps: rates that learn, but do not amplify differences in rounding.
OVERRIDES = {
    "num_warmup_steps": 100,
    "num_train_steps": 100,
    "max_seq_length": 32,
    "precision": "float32",
}
VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *(chr(0x4E00 + i) for i in range(300))])


def make_state() -> tuple[TrainState, Iterator[dict[str, np.ndarray]]]:
    """The state before the first step, and the batches."""
    config = resolve("nano", OVERRIDES, vocab_size=VOCABULARY.size).settings
    batches = make_batches(config.train_batch_size, config.max_seq_length)
    return TrainState(config, VOCABULARY), batches


def compute() -> dict[str, list[float]]:
    """The curve of TensorFlow's steps."""
    state, batches = make_state()
    steps = loop.make_inner_loop(PretrainStep(state).compiled(), batches)
    return curve_of(steps)


def curve_of(inner: Callable[[int], StepSums]) -> dict[str, list[float]]:
    """The losses of each step, by name, and the norms of the gradients."""
    curve: dict[str, list[float]] = {name: [] for name in (*CURVES, "gradient_norm")}
    for _ in range(STEPS):
        sums = inner(1)
        for name in CURVES:
            curve[name].append(float(getattr(sums.objective, name)))
        curve["gradient_norm"].append(float(sums.gradient_norm))
    return curve


def make_batches(rows: int, length: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of [CLS] tokens [SEP] padding; the n-th commonest token has frequency 1 / n."""
    generator = random.Random(0)
    tokens = range(len(SPECIAL_TOKENS), VOCABULARY.size)
    weights = [1 / (1 + rank) for rank in range(len(tokens))]
    while True:
        ids = np.zeros([rows, length], np.int32)
        for row in ids:
            count = length - 2 - int(generator.random() * 10)
            row[1 : count + 1] = generator.choices(tokens, weights, k=count)
            row[0], row[count + 1] = VOCABULARY.cls_id, VOCABULARY.sep_id
        yield {
            "input_ids": ids,
            "input_mask": (ids > 0).astype(np.int32),
            "segment_ids": np.zeros_like(ids),
        }
