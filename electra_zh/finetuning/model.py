"""The network that is fine-tuned: one encoder, one head for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from electra_zh.finetuning.kinds.base import Hidden, TaskKind
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.models.encoder import Encoder
from electra_zh.models.random import RandomKey
from electra_zh.models.weight_names import variable_name

Kinds = Mapping[str, TaskKind[Any, Any]]


class TaskModel(tf.Module):
    """An encoder shared by the heads of one or several tasks.

    Variables are named `encoder/...`, as in pretraining, and `heads/TASK/...`.
    """

    def __init__(self, start: Pretrained, kinds: Kinds, *, seed: int) -> None:
        """Makes the variables: the encoder's from `start`, the heads' random by `seed`."""
        super().__init__()
        self.encoder = Encoder(start.model, "encoder", seed=seed)
        self.heads = {
            name: kind.make_head(start.model, f"heads/{name}", seed=seed)
            for name, kind in kinds.items()
        }
        start.restore(self.encoder)

    def weights(self) -> dict[str, tf.Variable]:
        """Returns the variables by the names that checkpoints have for them."""
        return {variable_name(variable.name): variable for variable in self.trainable_variables}

    def hidden(
        self, features: Mapping[str, tf.Tensor], *, dtype: tf.DType, key: RandomKey | None
    ) -> Hidden:
        """Runs the encoder on `input_ids`, `input_mask` and `segment_ids`, int32 [R, L]."""
        ids = features["input_ids"]
        sequence = self.encoder(
            ids, features["input_mask"], features["segment_ids"], dtype=dtype, key=key
        )
        return Hidden(sequence, ids.shape[0], ids.shape[1], key)
