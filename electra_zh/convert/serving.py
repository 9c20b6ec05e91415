"""The networks as plain TensorFlow operations for batches of any size and length.

The networks that train have static shapes and kernels compiled for them. This is the same function
without either, for graphs that are served.

Shapes: B rows, L length, T = B * L tokens, E embedding width, D hidden width, H heads, K outputs.
"""

from __future__ import annotations

import tensorflow as tf

from electra_zh.convert.weights import TaskHead, Weights


class ServedModel(tf.Module):
    """An encoder with the head of one task, or that of replaced token detection.

    Attributes:
      task: whose outputs it has; None for a pretrained model.
    """

    def __init__(self, weights: Weights, task: TaskHead | None) -> None:
        super().__init__()
        self.task = task
        self._size = weights.model
        self._head = f"heads/{task.name}" if task else "rtd_head"
        kept = {**weights.part("encoder"), **weights.part(self._head)}
        self._values = {
            name: tf.Variable(value, trainable=False, name=name) for name, value in kept.items()
        }

    def outputs(
        self, input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns what is computed of rows, each int32 [B, L].

        Returns:
          Without a task, `hidden_states` [B, L, D], `pooled` [B, D] (the last layer at [CLS]) and
          `replaced` [B, L] (probabilities), if there is that head. Else, by the kind of task,
          `probabilities` [B, K], `value` [B], `tag_probabilities` [B, L, K], `start_logits` and
          `end_logits` [B, L], or `logits` [B], a row being one choice.
        """
        shape = tf.shape(input_ids)
        flat = self._sequence(input_ids, input_mask, segment_ids)
        sequence = tf.reshape(flat, [shape[0], shape[1], self._size.hidden_size])
        first = sequence[:, 0]
        if self.task is None:
            found = {"hidden_states": sequence, "pooled": first}
            if f"{self._head}/output/kernel" in self._values:
                logits = tf.reshape(self._projected(flat), shape)
                found["replaced"] = tf.sigmoid(logits)
            return found
        kind = self.task.kind
        if kind == "classification":
            return {"probabilities": tf.nn.softmax(self._projected(first))}
        if kind == "tagging":
            logits = tf.reshape(self._projected(flat), [shape[0], shape[1], -1])
            return {"tag_probabilities": tf.nn.softmax(logits)}
        if kind == "span":
            start, end = tf.unstack(
                tf.reshape(self._projected(flat), [*tf.unstack(shape), 2]), 2, -1
            )
            return {"start_logits": start, "end_logits": end}
        assert kind in ("regression", "choice", "cloze"), kind
        name = "value" if kind == "regression" else "logits"
        return {name: tf.squeeze(self._projected(first), -1)}

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


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=False)
