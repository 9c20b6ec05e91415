"""Helpers of the fine-tuning tests: a tiny model, and texts whose labels can be learnt."""

from __future__ import annotations

import random

from electra_zh.finetuning.examples import TextExample
from electra_zh.finetuning.kinds.classification import Classification
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
LABELS = ("100", "101")


def make_start(*, layers: int = 1, width: int = 16) -> Pretrained:
    """A network of random weights that computes in milliseconds."""
    tokens = (*SPECIAL_TOKENS, *CHARACTERS)
    size = ModelConfig(len(tokens), 8, width, layers, 2, 2 * width, max_position_embeddings=64)
    return Pretrained("start", size, Vocabulary(tokens), TokenizerSettings())


def make_texts(count: int, *, seed: int = 0, pairs: bool = False) -> list[TextExample]:
    """Texts whose label is whether their first character is 天."""
    generator = random.Random(seed)

    def text(length: int) -> str:
        return "".join(generator.choices(CHARACTERS[2:], k=length))

    examples = []
    for number in range(count):
        label = generator.randrange(2)
        first = "地天"[label] + text(generator.randint(0, 24))
        second = text(generator.randint(1, 12)) if pairs else None
        place = f"texts.json, line {number + 1}"
        examples.append(TextExample(number, first, second, LABELS[label], place))
    return examples


def make_task(**changes: object) -> TaskConfig:
    """A classification with short sequences and quick training."""
    values: dict[str, object] = {
        "name": "texts",
        "kind": "classification",
        "reader": "json_lines",
        "metric": "accuracy",
        "labels": list(LABELS),
        "max_seq_length": 32,
        "training": {
            "train_batch_size": 8,
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "layerwise_lr_decay": 1,
        },
    }
    return TaskConfig.from_dict({**values, **changes}, where="test")


def make_classification(**changes: object) -> Classification:
    """The kind of `make_task`."""
    task = make_task(**changes)
    return Classification(task, max_seq_length=task.max_seq_length)
