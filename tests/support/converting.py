"""Shared by the tests of conversion: folders of runs and fine-tuned models with random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.convert.source import open_source
from electra_zh.convert.weights import Weights
from electra_zh.finetuning import model as models
from electra_zh.finetuning.kinds import head_form, make_kind
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.state import TrainState
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training.checkpoints import CheckpointStore
from support.networks import tiny

SENTENCES = (
    "天地玄黄，宇宙洪荒。",
    "日月盈昃，辰宿列张；寒来暑往，秋收冬藏！",
    "Hello，世界：BERT和ELECTRA的Café在2024年。",
)
# Every character of the sentences, pieces of their words, and one word that has none.
_CHARACTERS = "".join(dict.fromkeys(c for s in SENTENCES for c in s.lower() if c != "é"))
_PIECES = (*("##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789"), "hello", "bert")

_METRICS = {"multi_label": "f1", "tagging": "f1", "span": "f1", "regression": "spearman"}


def make_vocabulary() -> Vocabulary:
    """A small vocabulary that has the sentences' characters."""
    return Vocabulary((*SPECIAL_TOKENS, *_CHARACTERS, *_PIECES))


def _spread(module: tf.Module) -> None:
    """Gives every variable values that no layer has by default: biases, too, must count."""
    generator = np.random.default_rng(0)
    for variable in module.trainable_variables:
        start = 1.0 if variable.name.startswith("gamma") or "gamma" in variable.name else 0.0
        noise = generator.normal(start, 0.2, variable.shape)
        variable.assign(noise.astype(np.float32))


def make_run(folder: Path, *, model: Any = None, **changes: object) -> tuple[Run, TrainState]:
    """Writes a run with one checkpoint, of step 7."""
    vocabulary = make_vocabulary()
    size = {"vocab_size": vocabulary.size, **(model or {})}
    settings: PretrainConfig = tiny(model=size, **changes)
    run = Run(str(folder), settings, vocabulary, TokenizerSettings(), "made")
    run.save()
    state = TrainState(settings, vocabulary)
    _spread(state.objective)
    state.save(CheckpointStore(run.checkpoints, keep=1), 7, state={})
    return run, state


def make_start(**changes: object) -> Pretrained:
    """A random encoder with the vocabulary."""
    vocabulary = make_vocabulary()
    size = ModelConfig(vocabulary.size, 8, 16, 2, 2, 24, max_position_embeddings=64)
    size = dataclasses.replace(size, **changes)  # type: ignore[arg-type]
    return Pretrained("made", size, vocabulary, TokenizerSettings())


def make_fine_tuned(folder: Path, *tasks: Mapping[str, object]) -> models.FineTuned:
    """Writes a fine-tuned model with random weights."""
    start = make_start()
    read = [
        TaskConfig.from_dict(
            {
                "reader": "json_lines",
                "metric": _METRICS.get(str(task["kind"]), "accuracy"),
                "max_seq_length": 32,
                **task,
            },
            where="test",
        )
        for task in tasks
    ]
    kinds = {task.name: make_kind(task, max_position_embeddings=64) for task in read}
    model = TaskModel(start, kinds, seed=1)
    _spread(model)
    models.save(str(folder), start, kinds, model)
    return models.FineTuned(start, kinds, model)


def open_fine_tuned(folder: Path) -> Weights:
    """Opens a fine-tuned model to export it."""
    return open_source(str(folder)).with_head_forms(head_form)
