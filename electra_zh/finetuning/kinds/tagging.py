"""Tagging: entities or chunks of a sentence, as BIOES tags of its words.

A word's first piece carries its tag. Sentences that are too long are cut into overlapping windows;
every word is tagged once, in the window where it has the most context.

Shapes: G windows of a batch (one row each), L length, D hidden width, K tags.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, did_you_mean
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.encoding.sequences import build_pairs
from electra_zh.finetuning.encoding.tags import FILE_TAG, OUTSIDE, tag_names, tags_to_entities
from electra_zh.finetuning.encoding.windows import Windows, cut_windows
from electra_zh.finetuning.encoding.words import Words, find_words, gold_tags
from electra_zh.finetuning.examples import BadExampleError, Entity, TaggedExample
from electra_zh.finetuning.heads.tag_paths import best_tags
from electra_zh.finetuning.kinds.base import (
    ErrorTable,
    Features,
    Hidden,
    Outputs,
    TaskKind,
)
from electra_zh.finetuning.scores.entity_scores import TypeScore, entity_scores, mention_scores
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense
from electra_zh.text.tokenizer import TokenizedTexts, Tokenizer

_SPECIAL = re.compile(r"\[[A-Z]+\]")


class TokenHead(tf.Module):
    """Every token to K values: dropout and one dense layer, as transformers has it."""

    def __init__(self, model: ModelConfig, path: str, outputs: int, *, seed: int) -> None:
        super().__init__()
        self._rate = model.hidden_dropout_prob
        sizes = (model.hidden_size, outputs)
        self.output = Dense(f"{path}/output", sizes, seed=seed, stddev=model.initializer_range)

    def __call__(self, hidden: Hidden) -> tf.Tensor:
        """Returns float32 [G, L, K]."""
        logits = self.output(hidden.dropout(hidden.sequence, "tokens", self._rate))
        shape = [hidden.rows, hidden.length, logits.shape[-1]]
        return tf.reshape(tf.cast(logits, tf.float32), shape)


class TagPrediction(NamedTuple):
    """The entities of a sentence, over the characters of its text, in the order of their starts."""

    entities: tuple[Entity, ...]


def _unfit_notes(
    examples: Sequence[TaggedExample], unfit: Sequence[tuple[int, Entity]]
) -> tuple[str, ...]:
    """Returns the note on entities that have no tags; they stay in the gold of the scores."""
    if not unfit:
        return ()
    total = sum(len(example.entities or ()) for example in examples)
    sentence, entity = unfit[0]
    example = examples[sentence]
    mention = example.text[entity.start : entity.end]
    return (
        f"{len(unfit):,} of {total:,} entities do not fit word boundaries or overlap with others, "
        f'first "{mention}" in {example.place}',
    )


def _at_first_pieces(
    values: Mapping[str, np.ndarray], words: Words, tokens: TokenizedTexts, windows: Windows
) -> dict[str, np.ndarray]:
    """Gives the words' values, [W], to their first pieces in all windows; 0 elsewhere."""
    spread = {}
    for name, of_words in values.items():
        of_tokens = np.zeros(len(tokens.ids), np.int32)
        of_tokens[words.first_tokens] = of_words
        of_windows = windows.cut(of_tokens, tokens.text_ends).ids
        spread[name] = windows.with_special_tokens(of_windows)
    return spread


class Tagging(TaskKind[TaggedExample, TagPrediction]):
    """Entities of sentences.

    Attributes:
      tags: the K tags, in the order of the head's outputs.
    """

    example_type = TaggedExample
    metric_names = ("f1", "precision", "recall", "macro_f1")
    plain_reader = "plain_sentences"
    any_length = True
    submission_forms = ("entities",)
    head_form = HeadForm(
        "ElectraForTokenClassification",
        {"output": "classifier"},
        served=("tag_probabilities",),
        per_token=True,
        activation="softmax",
        takes_text=True,
        output_names=tag_names,
    )

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        super().__init__(task, max_seq_length=max_seq_length)
        self.tags = tag_names(task.labels.names)
        self._types = {name: number for number, name in enumerate(task.labels.names)}

    @classmethod
    def labels_from(cls, task: TaskConfig, seen: Sequence[str]) -> tuple[str, ...]:
        """Returns the types of the training data.

        Raises:
          UserError: no sentence has an entity.
        """
        if not seen:
            raise UserError(f"task {task.name}: no training example has an entity")
        return super().labels_from(task, seen)

    @classmethod
    def usual_labels(cls, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the types of entities where tags are listed, special tokens among them."""
        tags = [name for name in names if not _SPECIAL.fullmatch(name)]
        if not all(map(FILE_TAG.fullmatch, tags)) or set(tags) <= {OUTSIDE}:
            return tuple(names)
        return tuple(dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE))

    def check_example(self, example: TaggedExample) -> None:
        """Checks for missing text, unknown entity types and spans outside the text."""
        if not example.text.strip():
            raise BadExampleError("a sentence without text")
        for entity in example.entities or ():
            if entity.type not in self._types:
                hint = did_you_mean(entity.type, self._types)
                detail = f'"{entity.type}"; allowed: {", ".join(self._types)}.{hint}'
                raise BadExampleError("entity type not in the list", detail)
            if not 0 <= entity.start < entity.end <= len(example.text):
                detail = f"characters {entity.start} to {entity.end} of {len(example.text)}"
                raise BadExampleError("span outside the text", detail)

    def encode(
        self, examples: Sequence[TaggedExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns one row per window.

        Per token: `word_start` and `word_end` int32, at first pieces the characters of the word,
        else 0; `label_mask` float32, 1 where a word is tagged in this window; with `training`,
        `label` int32. Per window: `inside` float32 [G, 2], whether it begins and ends inside its
        sentence.
        """
        tokens = tokenizer.encode_batch([example.text for example in examples])
        words = find_words(examples, tokens)
        gold = gold_tags(examples, words, self._types)
        windows = self._windows(np.diff(tokens.text_ends, prepend=0))
        # Segment ids are 0 throughout. The reference tags with 1 (an oddity: its pretraining gives
        # 1 to second segments only); other tools run exported models with 0.
        built = build_pairs(
            windows.cut(tokens.ids, tokens.text_ends),
            None,
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=self.max_seq_length,
        )
        values = {"word_start": words.starts, "word_end": words.ends}
        if training:
            values["label"] = gold.tags
        per_token = _at_first_pieces(values, words, tokens, windows)
        here = windows.with_special_tokens(windows.has_max_context())
        per_token["label_mask"] = (here & (per_token["word_end"] > 0)).astype(np.float32)
        return EncodedSplit(
            *built,
            example=windows.texts,
            per_token=per_token,
            per_group={"inside": windows.inside.astype(np.float32)},
            notes=_unfit_notes(examples, gold.unfit),
        )

    def _windows(self, lengths: np.ndarray) -> Windows:
        """Returns the windows of sentences with tokens; neighbours overlap by at least half."""
        used = np.flatnonzero(lengths)
        limit = self.max_seq_length - 2
        room = np.full(len(used), limit)
        windows = cut_windows(lengths[used], room, stride=max(1, limit // 2), even=True)
        return windows._replace(texts=used[windows.texts])

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> TokenHead:
        """Returns the head, with a value for each tag."""
        return TokenHead(model, path, len(self.tags), seed=seed)

    def losses(self, head: TokenHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the cross-entropy summed over the words of each window, [G]."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(features["label"], head(hidden))
        return tf.reduce_sum(losses * features["label_mask"], 1)

    def outputs(self, head: TokenHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns `tag` int32 [G, L], at first pieces the number of the word's tag."""
        is_word = features["word_end"] > 0
        return {"tag": best_tags(head(hidden), is_word, features["inside"], tags=self.tags)}

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[TaggedExample]
    ) -> list[TagPrediction]:
        """Returns the entities of each sentence.

        Words without tokens are O; inside an entity they do not end it.
        """
        if not rows.groups:
            return [TagPrediction(()) for _ in examples]
        tagged = np.flatnonzero(rows.per_token["label_mask"] > 0)
        row = np.searchsorted(rows.ends, tagged, side="right")
        numbers = outputs["tag"][row, tagged - rows.starts[row]]
        starts = rows.per_token["word_start"][tagged].tolist()
        ends = rows.per_token["word_end"][tagged].tolist()
        last = np.searchsorted(rows.example[row], np.arange(len(examples)), side="right").tolist()
        found = []
        for first, end in zip([0, *last[:-1]], last, strict=True):
            entities = [
                Entity(each.type, starts[first + each.start], ends[first + each.end - 1])
                for each in self._entities(numbers[first:end])
            ]
            found.append(TagPrediction(tuple(entities)))
        return found

    def _entities(self, numbers: np.ndarray) -> list[Entity]:
        """Returns the entities of a sentence's tags, over its words.

        Tags are legal within a window. Where windows meet they may not be, and are read leniently.
        """
        if not numbers.any():
            return []
        return tags_to_entities([self.tags[number] for number in numbers.tolist()])

    def scores(
        self, examples: Sequence[TaggedExample], predictions: Sequence[TagPrediction]
    ) -> dict[str, float]:
        """Returns `f1`, `precision` and `recall` of entities, and CLUENER's `macro_f1`.

        The first three are strict, over all types together; see `entity_scores` and
        `mention_scores`.
        """
        gold = [example.entities or () for example in examples]
        found = [prediction.entities for prediction in predictions]
        micro = entity_scores(gold, found).micro
        texts = [example.text for example in examples]
        return {
            "f1": micro.f1,
            "precision": micro.precision,
            "recall": micro.recall,
            "macro_f1": mention_scores(texts, gold, predicted=found).macro_f1,
        }

    def table(
        self, examples: Sequence[TaggedExample], predictions: Sequence[TagPrediction]
    ) -> ErrorTable:
        """Returns strict precision, recall, F1 and counts, one row per type."""
        gold = [example.entities or () for example in examples]
        types = entity_scores(gold, [each.entities for each in predictions]).types
        return ErrorTable("types", TypeScore._fields, [each.cells() for each in types])

    def one_answer(self, prediction: TagPrediction) -> str:
        """Returns the words for a sentence without entities."""
        return "" if prediction.entities else "without entities"

    def describe(self, example: TaggedExample, prediction: TagPrediction) -> dict[str, Any]:
        """Returns `text`, `entities` and `gold`."""

        def plain(entities: Sequence[Entity]) -> list[dict[str, Any]]:
            return [
                {**dataclasses.asdict(each), "mention": example.text[each.start : each.end]}
                for each in entities
            ]

        gold = None if example.entities is None else plain(example.entities)
        return {"text": example.text, "entities": plain(prediction.entities), "gold": gold}
