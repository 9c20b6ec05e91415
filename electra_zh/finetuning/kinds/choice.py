"""Multiple choice: a context, a question, and two or more choices, one of which is right.

Each choice is a row of its own, "[CLS] context [SEP] question [SEP] choice [SEP]", with segment 1
from the question on, as the authors of C3 arrange it (nlpdata/c3, run_classifier.py) and CLUE's
baseline after them. Rows that are too long are cut at the end of the context alone; they cut the
longest of the three, which is nearly always the context.

Shapes: G groups of a batch (examples), S choices, R = G * S rows, D hidden width.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.encoding.sequences import (
    RaggedTokens,
    build_pairs,
    concatenate,
    distinct,
)
from electra_zh.finetuning.examples import ChoiceExample
from electra_zh.finetuning.kinds.base import (
    ExampleT,
    Features,
    Hidden,
    Outputs,
    PredictionT,
    TaskKind,
)
from electra_zh.finetuning.scores import label_scores
from electra_zh.models import layers
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense
from electra_zh.text.tokenizer import Tokenizer

# Logit of a choice that an example does not have: its probability is 0.
_ABSENT = -1e9


class ChoiceHead(tf.Module):
    """[CLS] to one value: dense, GELU, dropout, projection, as transformers has it."""

    def __init__(self, model: ModelConfig, path: str, *, seed: int) -> None:
        super().__init__()
        width, stddev = model.hidden_size, model.initializer_range
        self._rate = model.hidden_dropout_prob
        self.dense = Dense(f"{path}/dense", (width, width), seed=seed, stddev=stddev)
        self.output = Dense(f"{path}/output", (width, 1), seed=seed, stddev=stddev)

    def __call__(self, hidden: Hidden, choice_mask: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [G, S].

        Args:
          hidden: the encoder's output for G * S rows.
          choice_mask: float32 [G, S], 0 where an example has no such choice.
        """
        x = hidden.dropout(layers.gelu(self.dense(hidden.first())), "dense", self._rate)
        logits = tf.reshape(tf.cast(self.output(x), tf.float32), choice_mask.shape)
        return tf.where(choice_mask > 0, logits, _ABSENT)


class OneOfSeveral(TaskKind[ExampleT, PredictionT]):
    """Base of the kinds of task where one of S rows is the right one.

    Rows have `choice_mask` float32 [G, S]; with `training`, `label` int32 [G].
    """

    first_only = True
    any_length = True
    head_form = HeadForm(
        "ElectraForMultipleChoice",
        {"dense": "sequence_summary.summary", "output": "classifier"},
        served=("logits",),
    )

    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns the groups of rows; with `training`, with labels."""
        rows = self.make_rows(examples, tokenizer)
        if not training:
            return rows
        label = np.array(self.answers(examples), np.int32)
        return dataclasses.replace(rows, per_group={**rows.per_group, "label": label})

    @abc.abstractmethod
    def make_rows(self, examples: Sequence[ExampleT], tokenizer: Tokenizer) -> EncodedSplit:
        """Returns groups of rows with `choice_mask`."""

    @abc.abstractmethod
    def answers(self, examples: Sequence[ExampleT]) -> list[int]:
        """Returns the right row of each group; -1 where it is unknown."""

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> ChoiceHead:
        """Returns the head."""
        return ChoiceHead(model, path, seed=seed)

    def losses(self, head: ChoiceHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the cross-entropy over the existing choices, float32 [G]."""
        logits = head(hidden, features["choice_mask"])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(features["label"], logits)

    def outputs(self, head: ChoiceHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns `log_probabilities` float32 [G, S]."""
        return {"log_probabilities": tf.nn.log_softmax(head(hidden, features["choice_mask"]))}


def _choice_rows(
    examples: Sequence[ChoiceExample], tokenizer: Tokenizer, max_seq_length: int
) -> EncodedSplit:
    """Returns S rows per example, S being the largest number of choices; `choice_mask` [G, S]."""
    counts = np.array([len(example.choices) for example in examples], np.int64)
    size = int(counts.max(initial=1))
    exists = np.arange(size) < counts[:, None]  # [G, S]
    contexts, context_of = distinct(example.context for example in examples)
    choices = [choice for example in examples for choice in example.choices]
    questions = [example.question for example in examples]
    found = tokenizer.encode_batch([*contexts, *questions, *choices, ""])
    texts = RaggedTokens(found.ids, found.text_ends)
    nothing = len(texts.ends) - 1  # an absent choice is a row of [CLS] [SEP]
    question_of = len(contexts) + np.arange(len(examples))
    choice_of = np.full(exists.shape, nothing)
    choice_of[exists] = len(contexts) + len(questions) + np.arange(len(choices))
    second = _questions_and_choices(
        texts,
        np.where(exists, question_of[:, None], nothing).ravel(),
        choice_of.ravel(),
        sep_id=tokenizer.vocabulary.sep_id,
        room=max_seq_length - 3,
    )
    built = build_pairs(
        texts.take(np.where(exists, context_of[:, None], nothing).ravel()),
        second,
        cls_id=tokenizer.vocabulary.cls_id,
        sep_id=tokenizer.vocabulary.sep_id,
        max_seq_length=max_seq_length,
        cut="first",
    )
    mask = {"choice_mask": exists.astype(np.float32)}
    return EncodedSplit(*built, np.arange(len(examples)), group=size, per_group=mask)


def _questions_and_choices(
    texts: RaggedTokens, questions: np.ndarray, choices: np.ndarray, *, sep_id: int, room: int
) -> RaggedTokens:
    """Returns "question [SEP] choice" of each row, no tokens for an absent choice.

    The question is cut where both together have more than `room` tokens.
    """
    absent = choices == len(texts.ends) - 1
    second = texts.take(choices)
    lengths = texts.lengths()[questions]
    kept = np.minimum(lengths, np.maximum(room - 1 - second.lengths(), 0))
    first = texts.slices(questions, np.zeros_like(questions), kept)
    between = np.where(absent, 0, 1)
    separators = RaggedTokens(np.full(between.sum(), sep_id, np.int32), np.cumsum(between))
    return concatenate(first, separators, second)


class ChoicePrediction(NamedTuple):
    """The index of the most probable choice, and the probability of each."""

    choice: int
    probabilities: np.ndarray


class Choice(OneOfSeveral[ChoiceExample, ChoicePrediction]):
    """One right choice among those of an example."""

    example_type = ChoiceExample
    metric_names = ("accuracy",)
    submission_forms = ("choices",)
    has_probabilities = True

    def make_rows(self, examples: Sequence[ChoiceExample], tokenizer: Tokenizer) -> EncodedSplit:
        """Returns a group of rows per example."""
        return _choice_rows(examples, tokenizer, self.max_seq_length)

    def answers(self, examples: Sequence[ChoiceExample]) -> list[int]:
        """Returns the right choice of each example."""
        return [-1 if example.answer is None else example.answer for example in examples]

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[ChoiceExample]
    ) -> list[ChoicePrediction]:
        """Returns the most probable choice of each example."""
        assert rows.groups == len(examples)
        found = []
        for index, example in enumerate(examples):
            probabilities = np.exp(outputs["log_probabilities"][index, : len(example.choices)])
            found.append(ChoicePrediction(int(probabilities.argmax()), probabilities))
        return found

    def scores(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[ChoicePrediction]
    ) -> dict[str, float]:
        """Returns the accuracy."""
        predicted = [prediction.choice for prediction in predictions]
        return {"accuracy": label_scores.accuracy(self.answers(examples), predicted)}

    def one_answer(self, prediction: ChoicePrediction) -> str:
        """Returns the number of the choice."""
        return f"choice {prediction.choice}"

    def probabilities(self, prediction: ChoicePrediction) -> list[float]:
        """Returns the probability of each choice."""
        return [round(float(value), 6) for value in prediction.probabilities]

    def describe(self, example: ChoiceExample, prediction: ChoicePrediction) -> dict[str, Any]:
        """Returns the index of the choice, probabilities, and the right index."""
        return {
            "label": prediction.choice,
            "probabilities": self.probabilities(prediction),
            "gold": example.answer,
        }
