"""The networks as served graphs, for batches of any size and length.

Shapes: B rows, L length, T = B * L tokens, E embedding width, D hidden width, H heads, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.text_graph import TextGraph
from electra_zh.convert.weights import Weights

_IDS = ("input_ids", "input_mask", "segment_ids")
Outputs = dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """An encoder with the head of one task, or that of replaced token detection."""

    def __init__(self, weights: Weights, task: TaskHead | None, text: TextGraph | None) -> None:
        """Makes the variables.

        Args:
          weights: the model.
          task: the task that is served; None for a pretrained model.
          text: the tokenizer; None if only ids are served.
        """
        super().__init__()
        self._task, self._text = task, text
        self._size = weights.model
        self._head = f"heads/{task.name}" if task else "rtd_head"
        kept = {**weights.part("encoder"), **weights.part(self._head)}
        self._values = {
            name: tf.Variable(value, trainable=False, name=name) for name, value in kept.items()
        }

    def save(self, folder: str, *, assets: Sequence[str]) -> None:
        """Writes the SavedModel with copies of the files `assets`."""
        self._assets = [tf.saved_model.Asset(path) for path in assets]
        ids = _graph(self.outputs, _IDS, tf.TensorSpec([None, None], tf.int32))
        signatures = {"ids": ids, "serving_default": ids}
        if self._text is not None:
            text = tf.TensorSpec([None], tf.string)
            signatures["texts"] = _graph(self._of_texts, ("texts",), text)
            signatures["text_pairs"] = _graph(self._of_texts, ("texts", "second_texts"), text)
        tf.saved_model.save(self, folder, signatures=signatures)

    def outputs(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> Outputs:
        """Returns the outputs for rows, each int32 [B, L].

        Without a task, they are `hidden_states` [B, L, D], `pooled` [B, D] (the last layer at
        [CLS]) and `replaced` [B, L] (probabilities), if the model has that head. With a task, they
        are its `HeadForm.served`: probabilities [B, K] or [B, L, K], or values [B] or [B, L].
        """
        shape = tf.unstack(tf.shape(input_ids))
        flat = self._sequence(input_ids, input_mask, segment_ids)
        sequence = tf.reshape(flat, [*shape, self._size.hidden_size])
        if self._task is None:
            found = {"hidden_states": sequence, "pooled": sequence[:, 0]}
            if f"{self._head}/output/kernel" in self._values:
                found["replaced"] = tf.sigmoid(tf.reshape(self._projected(flat), shape))
            return found
        form = self._task.form
        if form.per_token:
            values = tf.reshape(self._projected(flat), [*shape, self._outputs()])
        else:
            values = self._projected(sequence[:, 0])
        if form.softmax:
            return {form.served[0]: tf.nn.softmax(values)}
        return dict(zip(form.served, tf.unstack(values, len(form.served), -1), strict=True))

    def _of_texts(self, texts: tf.Tensor, second_texts: tf.Tensor | None = None) -> Outputs:
        assert self._text is not None
        limit = self._size.max_position_embeddings
        if self._task is not None and self._task.max_seq_length is not None:
            limit = min(limit, self._task.max_seq_length)
        rows = self._text.rows(texts, second_texts, max_seq_length=limit)
        return {**rows, **self.outputs(*(rows[name] for name in _IDS))}

    def _outputs(self) -> int:
        return int(self._values[f"{self._head}/output/bias"].shape[0])

    def _projected(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the head's values, [rows, K] for [rows, D]: all heads are of this form."""
        if f"{self._head}/dense/kernel" in self._values:
            x = _gelu(self._dense(x, f"{self._head}/dense"))
        return self._dense(x, f"{self._head}/output")

    def _sequence(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> tf.Tensor:
        """Returns the last layer's output, [T, D]."""
        limit = self._size.max_position_embeddings
        length = tf.shape(input_ids)[1]
        message = f"rows are longer than the {limit} positions of the model"
        tf.debugging.assert_less_equal(length, limit, message)
        part = "encoder/embeddings"
        x = tf.gather(self._values[f"{part}/word_embeddings"], input_ids)
        x += tf.gather(self._values[f"{part}/token_type_embeddings"], segment_ids)
        x += self._values[f"{part}/position_embeddings"][:length]
        x = self._norm(tf.reshape(x, [-1, self._size.embedding_size]), f"{part}/layer_norm")
        if "encoder/projection/kernel" in self._values:
            x = self._dense(x, "encoder/projection")
        attention_bias = (1.0 - tf.cast(input_mask, tf.float32)[:, None, None, :]) * -10000.0
        for number in range(self._size.num_hidden_layers):
            path = f"encoder/layers/{number}"
            x = self._norm(
                x + self._attention(x, attention_bias, f"{path}/attention"),
                f"{path}/attention/layer_norm",
            )
            inner = _gelu(self._dense(x, f"{path}/intermediate"))
            x = self._norm(x + self._dense(inner, f"{path}/output"), f"{path}/layer_norm")
        return x

    def _attention(self, x: tf.Tensor, attention_bias: tf.Tensor, path: str) -> tf.Tensor:
        heads, width = self._size.num_attention_heads, self._size.hidden_size
        rows, length = tf.shape(attention_bias)[0], tf.shape(attention_bias)[3]

        def split(name: str) -> tf.Tensor:
            values = tf.reshape(
                self._dense(x, f"{path}/{name}"), [rows, length, heads, width // heads]
            )
            return tf.transpose(values, [0, 2, 1, 3])  # [B, H, L, D / H]

        scores = tf.matmul(split("query"), split("key"), transpose_b=True)
        probabilities = tf.nn.softmax(scores * (width // heads) ** -0.5 + attention_bias)
        context = tf.transpose(tf.matmul(probabilities, split("value")), [0, 2, 1, 3])
        return self._dense(tf.reshape(context, [-1, width]), f"{path}/output")

    def _dense(self, x: tf.Tensor, path: str) -> tf.Tensor:
        product = tf.matmul(x, self._values[f"{path}/kernel"])
        return tf.nn.bias_add(product, self._values[f"{path}/bias"])

    def _norm(self, x: tf.Tensor, path: str) -> tf.Tensor:
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + self._size.layer_norm_eps)
        return normal * self._values[f"{path}/gamma"] + self._values[f"{path}/beta"]


def _graph(function: Callable[..., Outputs], names: Sequence[str], spec: tf.TensorSpec) -> Any:
    inputs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name in names]
    # Autograph takes seconds, and nothing here branches on tensors.
    return tf.function(function, input_signature=inputs, autograph=False)


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=False)
