"""Shared by the tests of networks: the smallest settings, a batch, and the reference's figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import tensorflow as tf

from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import PretrainOutput
from electra_zh.pretraining.objectives.electra import Electra

GOLDEN = Path(__file__).parent.parent / "golden"
SPECIAL = SpecialIds(pad=0, cls=2, sep=3, mask=4)
# Two blocks of the sampler, the second of them not full.
VOCAB_SIZE = 150
LENGTH = 16

# Settings that add to the official networks, objectives and draws.
FURTHER_KINDS: dict[str, dict[str, Any]] = {
    "masked LM of the discriminator, dot head": {"clm_weight": 1.0, "rtd_head": "dot"},
    "disentangled embeddings": {"gdes": True, "clm_weight": 1.0, "rtd_head": "dot"},
    "frozen generator, schedules": {
        **{"generator_frozen": True, "untied_generator_embeddings": True},
        **{"mask_prob_end": 0.15, "temperature_start": 2.0},
    },
    "joint": {"objective": "joint", "rtd_head": "dot"},
    "electric": {"objective": "electric"},
    "electric, untied embeddings": {"objective": "electric", "untied_generator_embeddings": True},
}


def tiny(*, model: Any = None, **changes: object) -> PretrainConfig:
    """Settings whose networks compute in milliseconds."""
    size = ModelConfig(VOCAB_SIZE, 8, 16, 2, 2, 24, max_position_embeddings=32)
    size = dataclasses.replace(size, **cast(Any, model or {}))
    base = PretrainConfig(
        size,
        generator_layers=0.5,
        generator_hidden_size=0.5,
        mask_prob=0.3,
        max_seq_length=LENGTH,
        train_batch_size=4,
        num_train_steps=1000,
        num_warmup_steps=10,
        precision="float32",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def make_batch(rows: int = 4, *, seed: int = 0) -> dict[str, tf.Tensor]:
    """Sequences [CLS] first [SEP] second [SEP] of 6 to 16 tokens, then padding, with words."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, VOCAB_SIZE, [rows, LENGTH])
    lengths = generator.integers(6, LENGTH + 1, [rows, 1])
    lengths[0] = LENGTH
    columns = np.arange(LENGTH)
    ids[:, 0] = SPECIAL.cls
    ids[(columns == lengths // 2) | (columns == lengths - 1)] = SPECIAL.sep
    mask = columns < lengths
    arrays = {
        "input_ids": np.where(mask, ids, SPECIAL.pad),
        "input_mask": mask,
        "segment_ids": mask & (columns > lengths // 2),
        "word_starts": mask & ((ids < 5) | (generator.random(ids.shape) < 0.6)),
    }
    return {name: tf.constant(value, tf.int32) for name, value in arrays.items()}


def thin_out(values: np.ndarray) -> np.ndarray:
    """The evenly spaced values that the fixtures keep of an array (make_golden_forward.py)."""
    return np.ravel(values)[:: (np.size(values) // 512) | 1]


class Golden(NamedTuple):
    """The reference's figures, and networks with its weights.

    Attributes:
      figures: arrays of tests/golden/forward.npz.
      config: its settings.
      objective: networks that hold its weights.
      variables: those of the networks by the reference's names.
    """

    figures: dict[str, np.ndarray]
    config: PretrainConfig
    objective: Electra
    variables: dict[str, tf.Variable]

    def tensors(self, *keys: str) -> list[tf.Tensor]:
        return [tf.constant(self.figures[key]) for key in keys]

    def compute(self) -> tuple[PretrainOutput, list[tf.Tensor]]:
        """Outputs and gradients for the reference's batch, masks and samples."""
        keys = ("input_ids", "input_mask", "segment_ids")
        kept = ("gen_input_ids", "masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
        with tf.GradientTape() as tape:
            output = self.objective(
                dict(zip(keys, self.tensors(*keys), strict=True)),
                step=0,
                training=False,
                masked=MaskedBatch(*self.tensors(*kept)),
                sampled_ids=self.tensors("sampled_tokids")[0],
            )
        return output, tape.gradient(output.loss, list(self.variables.values()))


def golden_figures() -> dict[str, np.ndarray]:
    """The arrays of tests/golden/forward.npz."""
    with np.load(GOLDEN / "forward.npz") as file:
        return dict(file)


def load_golden() -> Golden:
    """Reads the fixtures and makes the networks."""
    figures = golden_figures()
    config = PretrainConfig(
        ModelConfig(1200, 32, 64, 2, 4, 128),
        generator_hidden_size=0.5,
        max_seq_length=64,
        train_batch_size=4,
        learning_rate=2e-3,
        num_train_steps=1000,
        num_warmup_steps=200,
        precision="float32",
    )
    objective = build_objective(config, SpecialIds(*figures["special_ids"].tolist()))
    assert isinstance(objective, Electra)
    variables = {
        weight_names.GOOGLE_ELECTRA.theirs(value.name): value
        for value in objective.trainable_variables
    }
    with np.load(GOLDEN / "forward_weights.npz") as weights:
        for name, variable in variables.items():
            variable.assign(weights[name])
    return Golden(figures, config, objective, variables)
