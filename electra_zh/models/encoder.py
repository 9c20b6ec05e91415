"""Embeddings and transformer (BERT's: Devlin et al. 2018; reference: model/modeling.py).

Shapes: B batch, L length, T = B * L tokens, E embedding width, D hidden width, H heads, S width of
a head (D / H), V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from electra_zh.models import layers, marked_attention, split
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense, LayerNorm, custom_gradient, fused
from electra_zh.models.random import RandomKey, truncated_normal
from electra_zh.models.recompute import recomputed

# Picks the rows [M, D] of [T, D] that a last layer computes, the same number of each sequence.
Rows = Callable[[tf.Tensor], tf.Tensor]


class Embeddings(tf.Module):
    """Sum of word, token type and position embeddings, layer norm, dropout."""

    def __init__(self, config: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        self.config = config

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
        size = self.config.embedding_size
        words = self.rows(tf.reshape(input_ids, [-1]))  # [T, E]
        # A product with one-hot rows: its derivative is a product too, not a scatter.
        types = tf.one_hot(tf.reshape(segment_ids, [-1]), self.config.type_vocab_size)
        total = words + tf.matmul(types, self.token_type_embeddings)
        total = tf.reshape(total, [batch, length, size]) + self.positions(length)
        total = self.layer_norm(tf.reshape(total, [-1, size]), dtype=dtype)
        rate = self.config.hidden_dropout_prob
        dropped = layers.draw_dropout(key, f"{stream}/embeddings", rate)
        return layers.dropout(total, dropped)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the word embeddings of tokens, [T, E] for int32 [T]."""
        return split.rows_of_table(self.word_embeddings, ids)

    def table(self) -> tf.Tensor:
        """Returns all word embeddings, [V, E]."""
        return self.word_embeddings

    def positions(self, length: int | tf.Tensor) -> tf.Tensor:
        """Returns the embeddings of the first positions, [L, E]."""
        return self.position_embeddings[:length]


class DisentangledEmbeddings(Embeddings):
    """Embeddings that are another network's plus a difference, which starts at zero.

    Gradients reach the difference alone (gradient-disentangled embedding sharing: He et al. 2021,
    DeBERTaV3, section 3.2). Token types and the layer norm are not shared.
    """

    def __init__(self, config: ModelConfig, path: str, base: Embeddings, *, seed: int) -> None:
        tf.Module.__init__(self)
        self.config = config
        self.base = base
        size, stddev = config.embedding_size, config.initializer_range
        self.word_embeddings_delta = tf.Variable(
            tf.zeros([config.vocab_size, size]), name=f"{path}/word_embeddings_delta"
        )
        self.position_embeddings_delta = tf.Variable(
            tf.zeros([config.max_position_embeddings, size]),
            name=f"{path}/position_embeddings_delta",
        )
        self.token_type_embeddings = truncated_normal(
            f"{path}/token_type_embeddings",
            [config.type_vocab_size, size],
            stddev=stddev,
            seed=seed,
        )
        self.layer_norm = LayerNorm(f"{path}/layer_norm", size, eps=config.layer_norm_eps)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the word embeddings of tokens, [T, E] for int32 [T]."""
        delta = split.rows_of_table(self.word_embeddings_delta, ids)
        return _moved(self.base.rows(ids), delta)

    def table(self) -> tf.Tensor:
        """Returns all word embeddings, [V, E]."""
        return _moved(self.base.table(), self.word_embeddings_delta)

    def positions(self, length: int | tf.Tensor) -> tf.Tensor:
        """Returns the embeddings of the first positions, [L, E]."""
        return _moved(self.base.positions(length), self.position_embeddings_delta[:length])


@custom_gradient
def _moved(base: tf.Tensor, delta: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Returns base + delta, with a derivative by delta alone."""
    return _sum(tf.convert_to_tensor(base), tf.convert_to_tensor(delta)), lambda dy: (None, dy)


@fused
def _sum(base: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    # A kernel of its own: Grappler would fold it and the additions after it into one.
    return base + delta


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
        self,
        x: tf.Tensor,
        attention_bias: tf.Tensor,
        *,
        key: RandomKey | None,
        stream: str,
        rows: Rows | None = None,
    ) -> tf.Tensor:
        """Returns [T, D] for x [T, D]; `attention_bias` is added to the scores.

        It is [B, 1, 1, L], or [B, 1, L, L] where positions do not all see the same. With `rows` and
        the first, the result is [M, D], the output at the positions that they pick.
        """
        batch, _, _, length = layers.shape_of(attention_bias)
        heads, width = self._config.num_attention_heads, self._config.hidden_size
        parts = (self.key, self.value) if rows else (self.query, self.key, self.value)
        shape = [batch, length, len(parts), heads, width // heads]
        joint = tf.reshape(_joint_dense(x, *parts), shape)
        attend: Callable[..., tf.Tensor] = self._attend
        if split.is_split() and attention_bias.shape[2] == 1 and not rows:
            attend, inputs = self._attend_marked, [joint]
        else:
            inputs = tf.unstack(tf.transpose(joint, [2, 0, 3, 1, 4]))  # each [B, H, L, S]
        if rows:
            x = rows(x)
            query = tf.reshape(self.query(x), [batch, -1, heads, width // heads])
            inputs = [tf.transpose(query, [0, 2, 1, 3]), *inputs]
        attend = functools.partial(attend, key=key, stream=stream)
        context = recomputed("attention", attend, *inputs, attention_bias)
        out = self.output(context)
        dropped = layers.draw_dropout(key, f"{stream}/output", self._config.hidden_dropout_prob)
        return self.layer_norm.add(x, out, dropped)

    def _attend_marked(
        self, qkv: tf.Tensor, attention_bias: tf.Tensor, *, key: RandomKey | None, stream: str
    ) -> tf.Tensor:
        """Returns [T, D] for [B, L, 3, H, S], as `_attend` of its parts."""
        batch, length, _, heads, width = qkv.shape
        rate = self._config.attention_probs_dropout_prob
        dropped = layers.draw_dropout(key, f"{stream}/probabilities", rate)
        context = marked_attention.attend(qkv, attention_bias, factor=width**-0.5, dropped=dropped)
        return tf.reshape(context, [batch * length, heads * width])

    def _attend(
        self,
        query: tf.Tensor,
        keys: tf.Tensor,
        value: tf.Tensor,
        attention_bias: tf.Tensor,
        *,
        key: RandomKey | None,
        stream: str,
    ) -> tf.Tensor:
        """Returns [B * Q, D] for query [B, H, Q, S], keys and value [B, H, L, S]."""
        scores = tf.matmul(query, keys, transpose_b=True)  # [B, H, Q, L]
        rate = self._config.attention_probs_dropout_prob
        dropped = layers.draw_dropout(key, f"{stream}/probabilities", rate)
        factor = (self._config.hidden_size // self._config.num_attention_heads) ** -0.5
        probs = layers.attention_probabilities(scores, attention_bias, factor, dropped)
        context = tf.transpose(tf.matmul(probs, value), [0, 2, 1, 3])  # [B, Q, H, S]
        return tf.reshape(context, [-1, self._config.hidden_size])


def _joint_dense(x: tf.Tensor, *parts: Dense) -> tf.Tensor:
    """Returns the outputs of dense layers, next to each other.

    One product for all: fewer and wider products run faster.
    """
    kernel = tf.concat([part.kernel for part in parts], 1)
    bias = tf.concat([part.bias for part in parts], 0)
    return layers.dense(x, kernel, bias)


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
        self,
        x: tf.Tensor,
        attention_bias: tf.Tensor,
        *,
        key: RandomKey | None,
        stream: str,
        rows: Rows | None = None,
    ) -> tf.Tensor:
        """Returns [T, D] for x [T, D]; `attention_bias` is that of `Attention`.

        With `rows` it returns [M, D], the output at the positions that they pick.
        """
        x = self.attention(x, attention_bias, key=key, stream=f"{stream}/attention", rows=rows)
        out = self.output(layers.gelu(self.intermediate(x)))
        dropped = layers.draw_dropout(key, f"{stream}/output", self._rate)
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
        self.path = path
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
        rows: Rows | None = None,
    ) -> tf.Tensor:
        """Returns the last layer's output, [T, D], or [M, D] with `rows`.

        Args:
          input_ids: int32 [B, L], of static shape except in `layers.plain_operations`.
          input_mask: int32 [B, L], 1 at tokens and 0 at padding.
          segment_ids: int32 [B, L].
          dtype: type of the activations; weights, softmax and norms are float32 in any case.
          key: random key of dropout; None turns dropout off.
          stream: prefix of the names of random streams, one for each call within a step.
          rows: picks the positions that the last layer computes; None for all. Few of them save a
            fifth of the work of 4 layers.
        """
        stream = f"{stream}{self.path}"
        x = self.embeddings(input_ids, segment_ids, dtype=dtype, key=key, stream=stream)
        visible = tf.cast(input_mask, tf.float32)[:, None, :]
        return self.transform(x, visible, key=key, stream=stream, rows=rows)

    def transform(
        self,
        x: tf.Tensor,
        visible: tf.Tensor,
        *,
        key: RandomKey | None,
        stream: str,
        rows: Rows | None = None,
    ) -> tf.Tensor:
        """Returns the last layer's output, [T, D], or [M, D] with `rows`, for embeddings x [T, E].

        `visible` is float32 [B, 1, L], or [B, L, L] by position, then without `rows`: 1 where it is
        attended to.
        `stream` is the complete prefix of the random streams.
        """
        if self.projection is not None:
            x = self.projection(x)
        attention_bias = (1.0 - visible[:, None]) * -10000.0
        for index, layer in enumerate(self.layers):
            last = rows if index == len(self.layers) - 1 else None
            call = functools.partial(layer, key=key, stream=f"{stream}/{index}", rows=last)
            x = recomputed("layers", call, x, attention_bias)
        return x
