"""Helpers of the span extraction tests: a tokenizer, a small kind, questions, features."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import Answer, QuestionExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.span import Span
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张"
PIECES = ("new", "york", "a", "##b", "##c", "1", "##9", "，", "。")
TOKENIZER = WordPieceTokenizer(Vocabulary((*SPECIAL_TOKENS, *LETTERS, *PIECES)))
TOKENS = TOKENIZER.vocabulary.tokens
SMALL = ModelConfig(len(TOKENS), 8, 16, 1, 2, 32, max_position_embeddings=64)


def make_span(
    *, metric: str = "em", length: int = 32, labels: tuple[str, ...] = (), **reading: object
) -> Span:
    """The kind, with small windows; keys of `SpanConfig` are among the settings."""
    task = TaskConfig.from_dict(
        {
            "name": "reading",
            "kind": "span",
            "reader": "squad",
            "metric": metric,
            "labels": list(labels),
            "reading": {"doc_stride": 8, "max_query_length": 6, "max_answer_length": 5, **reading},
        },
        where="test",
    )
    return Span(task, max_seq_length=length)


def ask(
    context: str,
    *answers: tuple[str, int],
    question: str = "何",
    answer_type: str = "",
    name: str = "Q0",
) -> QuestionExample:
    """A question with its answers, each a text and an offset."""
    found = tuple(Answer(*answer) for answer in answers)
    return QuestionExample(name, question, context, found, answer_type, f"a.json, question {name}")


def decode(rows: EncodedSplit, row: int) -> str:
    """The tokens of a row."""
    start = 0 if row == 0 else rows.ends[row - 1]
    return " ".join(TOKENS[index] for index in rows.ids[start : rows.ends[row]])


def make_features(rows: EncodedSplit, length: int) -> dict[str, tf.Tensor]:
    """The features of all rows in one batch."""
    lengths = rows.ends - rows.starts
    real = np.arange(length) < lengths[:, None]
    places = np.where(real, rows.starts[:, None] + np.arange(length), 0)
    found = {name: np.where(real, values[places], 0) for name, values in rows.per_token.items()}
    found |= {
        "input_ids": np.where(real, rows.ids[places], 0),
        "segment_ids": np.where(real, rows.segments[places], 0),
        "input_mask": real.astype(np.int32),
        **rows.per_group,
    }
    return {name: tf.constant(value) for name, value in found.items()}


def random_hidden(rows: int, length: int, *, seed: int = 0) -> Hidden:
    """Hidden states of no encoder."""
    values = np.random.default_rng(seed).normal(size=[rows * length, SMALL.hidden_size])
    return Hidden(tf.constant(values, tf.float32), rows, length, None)
