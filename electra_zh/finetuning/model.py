"""Fine-tuned models: one encoder with a head for each task, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from electra_zh import files
from electra_zh.convert import model_folder
from electra_zh.convert.locate import find_folder
from electra_zh.convert.model_folder import ModelFolder, fine_tuned_section
from electra_zh.convert.source import open_source
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.kinds.base import Hidden, TaskKind
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models import layers
from electra_zh.models.encoder import Encoder
from electra_zh.models.random import RandomKey
from electra_zh.models.start import start_locally
from electra_zh.models.weight_names import variable_name
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import CheckpointStore

Kinds = Mapping[str, TaskKind[Any, Any]]


class TaskModel(tf.Module):
    """An encoder shared by the heads of one or several tasks.

    Variables are named `encoder/...`, as in pretraining, and `heads/TASK/...`.
    """

    def __init__(self, pretrained: Pretrained, kinds: Kinds, *, seed: int) -> None:
        """Makes the pretrained encoder, and heads with random weights of this seed."""
        super().__init__()
        self.encoder = Encoder(pretrained.model, "encoder", seed=seed)
        self.heads = {
            name: kind.make_head(pretrained.model, f"heads/{name}", seed=seed)
            for name, kind in kinds.items()
        }
        pretrained.restore(self.encoder)
        if pretrained.attention_start == "local":
            length = max(kind.task.max_seq_length for kind in kinds.values())
            start_locally(self.encoder, length=length, seed=seed)

    def weights(self) -> dict[str, tf.Variable]:
        """Returns the variables by the names that checkpoints have for them."""
        return {variable_name(variable.name): variable for variable in self.trainable_variables}

    def hidden(
        self,
        features: Mapping[str, tf.Tensor],
        *,
        dtype: tf.DType,
        key: RandomKey | None,
        first_only: bool = False,
    ) -> Hidden:
        """Runs the encoder on `input_ids`, `input_mask` and `segment_ids`, int32 [R, L]."""
        ids = features["input_ids"]
        rows, length = layers.shape_of(ids)

        def first(x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(x, [rows, length, x.shape[-1]])[:, 0]

        sequence = self.encoder(
            ids,
            features["input_mask"],
            features["segment_ids"],
            dtype=dtype,
            key=key,
            rows=first if first_only else None,
        )
        return Hidden(sequence, rows, 1 if first_only else length, key)


class FineTuned(NamedTuple):
    """A fine-tuned model in memory."""

    pretrained: Pretrained
    kinds: dict[str, TaskKind[Any, Any]]
    model: TaskModel


def save(
    folder: str,
    pretrained: Pretrained,
    kinds: Kinds,
    model: TaskModel,
    used: Mapping[str, float] | None = None,
) -> None:
    """Writes the folder of a fine-tuned model; an existing one is replaced at the end.

    Layout: `config.json` (section `finetuned`: model size, tasks with labels), the vocabulary,
    `checkpoints/ckpt-1/`. `used` are the values of training settings that stand for defaults.
    """
    tasks = [kind.task.to_dict() for kind in kinds.values()]
    for task in tasks:
        task["training"].update(used or {})
    section = fine_tuned_section(pretrained.model, tasks, start=pretrained.path)
    contents = ModelFolder(pretrained.vocabulary, pretrained.tokenizer, section, fine_tuned=True)
    with files.new_folder(folder, replace=True) as partial:
        store = CheckpointStore(files.join(partial, "checkpoints"), keep=1)
        store.save(1, model=model.weights(), optimizer={}, state={})
        contents.save(partial)


def load(path: str) -> FineTuned:
    """Reads the fine-tuned model that a path names.

    Raises:
      UserError: there is none at `path`, or its files are damaged.
    """
    folder = find_folder(path, fine_tuned=True).path
    saved, weights = model_folder.load(folder), open_source(folder)
    where = model_folder.config_path(folder)
    tasks = [TaskConfig.from_dict(values, where=where) for values in saved.tasks]
    limit = weights.model.max_position_embeddings
    kinds = {task.name: make_kind(task, max_position_embeddings=limit) for task in tasks}
    pretrained = Pretrained(folder, weights.model, saved.vocabulary, saved.tokenizer)
    model = TaskModel(pretrained, kinds, seed=0)
    checkpoints.assign(model.weights(), weights.tensors, where=folder)
    return FineTuned(pretrained, kinds, model)
