"""The networks as served graphs, for batches of any size and length.

Shapes: B rows, L length, T = B * L tokens, D hidden width, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.text_graph import TextGraph
from electra_zh.convert.weights import Weights
from electra_zh.models import layers
from electra_zh.models.encoder import Encoder
from electra_zh.models.layers import Dense
from electra_zh.models.weight_names import variable_name

_IDS = ("input_ids", "input_mask", "segment_ids")
Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """An encoder with the head of one task, or that of replaced token detection."""

    def __init__(self, weights: Weights, task: TaskHead | None, text: TextGraph | None) -> None:
        """Makes the variables; `task` is None for a pretrained model, `text` to serve only ids."""
        super().__init__()
        self._task, self._text = task, text
        self._encoder = Encoder(weights.model, "encoder", seed=0)
        head = f"heads/{task.name}" if task else "rtd_head"
        kernels = {n: weights.tensors.get(f"{head}/{n}/kernel") for n in ("dense", "output")}
        # All served heads are of this form: an optional dense layer with GELU, then the outputs.
        self._head = [
            Dense(f"{head}/{name}", kernel.shape, seed=0, stddev=None)
            for name, kernel in kernels.items()
            if kernel is not None
        ]
        for variable in self.variables:
            variable.assign(weights.tensors[variable_name(variable.name)])

    def save(self, folder: str, *, assets: Sequence[str]) -> None:
        """Writes the SavedModel with copies of the files `assets`."""
        self._assets = [tf.saved_model.Asset(path) for path in assets]
        ids = _graph(self.outputs, _IDS, tf.TensorSpec([None, None], tf.int32))
        signatures = {"ids": ids, "serving_default": ids}
        if self._text is not None:
            text = tf.TensorSpec([None], tf.string)
            signatures["texts"] = _graph(self._of_texts, ("texts",), text)
            signatures["text_pairs"] = _graph(self._of_texts, ("texts", "second_texts"), text)
        with layers.plain_operations():
            tf.saved_model.save(self, folder, signatures=signatures)

    def outputs(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> Outputs:
        """Returns the outputs for rows, each int32 [B, L].

        Without a task, they are `hidden_states` [B, L, D], `pooled` [B, D] (the last layer at
        [CLS]) and `replaced` [B, L] (probabilities), if the model has that head. With a task, they
        are its `HeadForm.served`: probabilities [B, K] or [B, L, K], or values [B] or [B, L].
        """
        shape = layers.shape_of(input_ids)
        limit = self._encoder.config.max_position_embeddings
        message = f"rows are longer than the {limit} positions of the model"
        check = tf.debugging.assert_less_equal(shape[1], limit, message)
        # Before the positions are added, whose error would say less.
        with tf.control_dependencies([] if check is None else [check]):
            input_ids = tf.identity(input_ids)
        flat = self._encoder(input_ids, input_mask, segment_ids)
        sequence = tf.reshape(flat, [*shape, flat.shape[-1]])
        if self._task is None:
            found = {"hidden_states": sequence, "pooled": sequence[:, 0]}
            if self._head:
                found["replaced"] = tf.sigmoid(tf.reshape(self._values(flat), shape))
            return found
        form = self._task.form
        values = self._values(flat if form.per_token else sequence[:, 0])
        if form.per_token:
            values = tf.reshape(values, [*shape, values.shape[-1]])
        if form.activation:
            activation = tf.sigmoid if form.activation == "sigmoid" else tf.nn.softmax
            return {form.served[0]: activation(values)}
        return dict(zip(form.served, tf.unstack(values, axis=-1), strict=True))

    def _values(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the values of the head, [rows, K] for [rows, D]."""
        *dense, output = self._head
        for layer in dense:
            x = layers.gelu(layer(x))
        return output(x)

    def _of_texts(self, texts: tf.Tensor, second_texts: tf.Tensor | None = None) -> Outputs:
        assert self._text is not None
        limit = self._encoder.config.max_position_embeddings
        if self._task is not None and self._task.max_seq_length is not None:
            limit = min(limit, self._task.max_seq_length)
        rows = self._text.rows(texts, second_texts, max_seq_length=limit)
        return {**rows, **self.outputs(*(rows[name] for name in _IDS))}


def _graph(function: Callable[..., Outputs], names: Sequence[str], spec: tf.TensorSpec) -> Any:
    inputs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name in names]
    # Autograph takes seconds, and nothing here branches on tensors.
    return tf.function(function, input_signature=inputs, autograph=False)
