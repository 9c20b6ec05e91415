"""Embeddings and transformer (BERT's: Devlin et al. 2018; reference: model/modeling.py).

Shapes: B batch, L length, T = B * L tokens, E embedding width, D hidden width, H heads, S width of
a head (D / H), V vocabulary.
"""

from __future__ import annotations

import tensorflow as tf

from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense, LayerNorm
from electra_zh.models.random import RandomKey, truncated_normal


class Embeddings(tf.Module):
    """Sum of word, token type and position embeddings, layer norm, dropout."""

    def __init__(self, config: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        self._config = config

        def table(name: str, rows: int) -> tf.Variable:
            shape, stddev = [rows, config.embedding_size], config.initializer_range
            return truncated_normal(f"{path}/{name}", shape, stddev=stddev, seed=seed)

        self.word_embeddings = table("word_embeddings", config.vocab_size)
        self.token_type_embeddings = table("token_type_embeddings", config.type_vocab_size)
        self.position_embeddings = table("position_embeddings", config.max_position_embeddings)
        self.layer_norm = LayerNorm(
            f"{path}/layer_norm", config.embedding_size, eps=config.layer_norm_eps
        )

    def __call__(
        self,
        input_ids: tf.Tensor,
        segment_ids: tf.Tensor,
        *,
        dtype: tf.DType,
        key: RandomKey | None,
        stream: str,
    ) -> tf.Tensor:
        """Returns [T, E] in `dtype` for int32 [B, L] ids; `key` None leaves dropout off."""
        batch, length = layers.shape_of(input_ids)
        size = self._config.embedding_size
        words = tf.gather(self.word_embeddings, tf.reshape(input_ids, [-1]))  # [T, E]
        # A product with one-hot rows: its derivative is a product too, not a scatter.
        types = tf.one_hot(tf.reshape(segment_ids, [-1]), self._config.type_vocab_size)
        total = words + tf.matmul(types, self.token_type_embeddings)
        total = tf.reshape(total, [batch, length, size]) + self.position_embeddings[:length]
        total = self.layer_norm(tf.reshape(total, [-1, size]), dtype=dtype)
        rate = self._config.hidden_dropout_prob
        dropped = layers.draw_dropout(key, f"{stream}/embeddings", [batch * length, size], rate)
        return layers.dropout(total, dropped)


class Attention(tf.Module):
    """Multi-head self-attention with its output projection and residual norm."""

    def __init__(self, config: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        self._config = config
        width = config.hidden_size

        def make(name: str) -> Dense:
            stddev = config.initializer_range
            return Dense(f"{path}/{name}", (width, width), seed=seed, stddev=stddev)

        self.query, self.key, self.value = make("query"), make("key"), make("value")
        self.output = make("output")
        self.layer_norm = LayerNorm(f"{path}/layer_norm", width, eps=config.layer_norm_eps)

    def __call__(
        self, x: tf.Tensor, attention_bias: tf.Tensor, *, key: RandomKey | None, stream: str
    ) -> tf.Tensor:
        """Returns [T, D] for x [T, D]; `attention_bias` [B, 1, 1, L] is added to the scores."""
        batch, _, _, length = layers.shape_of(attention_bias)
        heads = self._config.num_attention_heads
        width = self._config.hidden_size
        parts = (self.query, self.key, self.value)
        # One product for the three: fewer and wider products run faster.
        kernel = tf.concat([part.kernel for part in parts], 1)
        bias = tf.concat([part.bias for part in parts], 0)
        qkv = tf.reshape(layers.dense(x, kernel, bias), [batch, length, 3, heads, width // heads])
        query, keys, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # each [B, H, L, S]
        scores = tf.matmul(query, keys, transpose_b=True)  # [B, H, L, L]
        rate = self._config.attention_probs_dropout_prob
        shape = [batch, heads, length, length]
        dropped = layers.draw_dropout(key, f"{stream}/probabilities", shape, rate)
        factor = (width // heads) ** -0.5
        probs = layers.attention_probabilities(scores, attention_bias, factor, dropped)
        context = tf.transpose(tf.matmul(probs, value), [0, 2, 1, 3])  # [B, L, H, S]
        out = self.output(tf.reshape(context, [batch * length, width]))
        rate = self._config.hidden_dropout_prob
        dropped = layers.draw_dropout(key, f"{stream}/output", [batch * length, width], rate)
        return self.layer_norm.add(x, out, dropped)


class TransformerLayer(tf.Module):
    """Attention and feed-forward part, each followed by residual and norm (post-norm)."""

    def __init__(self, config: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        self._rate = config.hidden_dropout_prob
        sizes = (config.hidden_size, config.intermediate_size)
        stddev = config.initializer_range
        self.attention = Attention(config, f"{path}/attention", seed=seed)
        self.intermediate = Dense(f"{path}/intermediate", sizes, seed=seed, stddev=stddev)
        self.output = Dense(f"{path}/output", (sizes[1], sizes[0]), seed=seed, stddev=stddev)
        self.layer_norm = LayerNorm(f"{path}/layer_norm", sizes[0], eps=config.layer_norm_eps)

    def __call__(
        self, x: tf.Tensor, attention_bias: tf.Tensor, *, key: RandomKey | None, stream: str
    ) -> tf.Tensor:
        """Returns [T, D] for x [T, D]; `attention_bias` [B, 1, 1, L] is added to the scores."""
        x = self.attention(x, attention_bias, key=key, stream=f"{stream}/attention")
        out = self.output(layers.gelu(self.intermediate(x)))
        dropped = layers.draw_dropout(key, f"{stream}/output", layers.shape_of(x), self._rate)
        return self.layer_norm.add(x, out, dropped)


class Encoder(tf.Module):
    """A transformer: embeddings, projection where the widths differ, layers.

    `path` is the prefix of the names of variables and random streams. `embeddings` may be those of
    another encoder.
    """

    def __init__(
        self, config: ModelConfig, path: str, *, seed: int, embeddings: Embeddings | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self._path = path
        self.embeddings = embeddings or Embeddings(config, f"{path}/embeddings", seed=seed)
        self.projection: Dense | None = None
        if config.embedding_size != config.hidden_size:
            sizes = (config.embedding_size, config.hidden_size)
            self.projection = Dense(f"{path}/projection", sizes, seed=seed, stddev=None)
        self.layers = [
            TransformerLayer(config, f"{path}/layers/{index}", seed=seed)
            for index in range(config.num_hidden_layers)
        ]

    def __call__(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor,
        segment_ids: tf.Tensor,
        *,
        dtype: tf.DType = tf.float32,
        key: RandomKey | None = None,
        stream: str = "",
    ) -> tf.Tensor:
        """Returns the last layer's output, [T, D].

        Args:
          input_ids: int32 [B, L], of static shape except in `layers.plain_operations`.
          input_mask: int32 [B, L], 1 at tokens and 0 at padding.
          segment_ids: int32 [B, L].
          dtype: type of the activations; weights, softmax and norms are float32 in any case.
          key: random key of dropout; None turns dropout off.
          stream: prefix of the names of random streams, one for each call within a step.
        """
        stream = f"{stream}{self._path}"
        x = self.embeddings(input_ids, segment_ids, dtype=dtype, key=key, stream=stream)
        if self.projection is not None:
            x = self.projection(x)
        attention_bias = (1.0 - tf.cast(input_mask, tf.float32)[:, None, None, :]) * -10000.0
        for index, layer in enumerate(self.layers):
            x = layer(x, attention_bias, key=key, stream=f"{stream}/{index}")
        return x
