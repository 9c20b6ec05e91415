"""Tagging: entities or chunks of a sentence, as BIOES tags of its words.

A word's first piece carries its tag. Sentences that are too long are read in overlapping windows;
every word is tagged once, in the window where it stands nearest to the middle.

Shapes: G windows of a batch (one row each), L length, D hidden width, K tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh.errors import did_you_mean
from electra_zh.finetuning import scorers
from electra_zh.finetuning.examples import BadExamples, Entity, TaggedExample
from electra_zh.finetuning.kinds.base import Hidden, Table, TaskKind
from electra_zh.finetuning.rows import EncodedSplit
from electra_zh.finetuning.sequences import build_pairs
from electra_zh.finetuning.tag_schemes import tag_names, tags_to_entities
from electra_zh.finetuning.tagging_paths import best_tags
from electra_zh.finetuning.tagging_words import (
    Windows,
    Words,
    cut_windows,
    find_words,
    gold_tags,
)
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.models.layers import Dense
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.text.wordpiece.offsets import TokenizedTexts, tokenize_texts


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


class _Unfit:
    """Entities that tags cannot show, of one use of the data."""

    def __init__(self, of: str) -> None:
        self._of = of
        self._total = self._count = 0
        self._first = ""

    def add(self, examples: Sequence[TaggedExample], unfit: Sequence[tuple[int, Entity]]) -> None:
        self._total += sum(len(example.entities or ()) for example in examples)
        self._count += len(unfit)
        if unfit and not self._first:
            sentence, entity = unfit[0]
            example = examples[sentence]
            mention = example.text[entity.start : entity.end]
            self._first = f'"{mention}" in {example.place}'

    def lines(self) -> list[str]:
        if not self._count:
            return []
        return [
            f"{self._count:,} of {self._total:,} {self._of} entities do not fit word boundaries "
            f"or overlap with others, first {self._first}"
        ]


def _at_first_pieces(
    values: Mapping[str, np.ndarray], words: Words, tokens: TokenizedTexts, windows: Windows
) -> dict[str, np.ndarray]:
    """Gives the words' values, [W], to their first pieces in all windows; 0 elsewhere."""
    spread = {}
    for name, of_words in values.items():
        of_tokens = np.zeros(len(tokens.ids), np.int32)
        of_tokens[words.first_tokens] = of_words
        spread[name] = windows.framed(windows.of(of_tokens, tokens.text_ends).ids)
    return spread


class Tagging(TaskKind[TaggedExample, TagPrediction]):
    """Entities of sentences.

    Attributes:
      tags: the K tags, in the order of the head's outputs.
    """

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        super().__init__(task, max_seq_length=max_seq_length)
        self.tags = tag_names(task.labels.names)
        self._types = {name: number for number, name in enumerate(task.labels.names)}
        self._unfit = {True: _Unfit("training"), False: _Unfit("evaluation")}

    def check(
        self, examples: Sequence[TaggedExample], problems: BadExamples
    ) -> list[TaggedExample]:
        """Returns the examples with text, whose entities have the task's types and lie in it."""
        good = []
        for example in examples:
            found = self._problem(example)
            if found is None:
                good.append(example)
            else:
                problems.add(example.place, found[0], detail=found[1])
        return good

    def _problem(self, example: TaggedExample) -> tuple[str, str] | None:
        if not example.text.strip():
            return "a sentence without text", ""
        for entity in example.entities or ():
            if entity.type not in self._types:
                names = self.task.labels.names
                hint = did_you_mean(entity.type, names)
                return "entity type not in the list", (
                    f'"{entity.type}"; allowed: {", ".join(names)}.{hint}'
                )
            if not 0 <= entity.start < entity.end <= len(example.text):
                return "span outside the text", (
                    f"characters {entity.start} to {entity.end} of {len(example.text)}"
                )
        return None

    def encode(
        self, examples: Sequence[TaggedExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns one row a window.

        Per token: `word_start` and `word_end` int32, the characters of the word that a first piece
        stands for, 0 and 0 elsewhere; `label_mask` float32, 1 where a word is tagged in this
        window; with `training`, `label` int32. Per window: `inside` float32 [G, 2], whether it
        begins and ends inside its sentence.
        """
        tokens = tokenize_texts(tokenizer, [example.text for example in examples])
        words = find_words(examples, tokens)
        gold = gold_tags(examples, words, self._types)
        self._unfit[training].add(examples, gold.unfit)
        lengths = np.diff(tokens.text_ends, prepend=0)
        windows = cut_windows(lengths, self.max_seq_length - 2)
        # Segment ids are 0 throughout. The reference tags with 1 (an oddity: its pretraining gives
        # 1 to second segments only); exported models are run with 0 by others.
        built = build_pairs(
            windows.of(tokens.ids, tokens.text_ends),
            None,
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=self.max_seq_length,
        )

        values = {"word_start": words.starts, "word_end": words.ends}
        if training:
            values["label"] = gold.tags
        per_token = _at_first_pieces(values, words, tokens, windows)
        own = windows.framed(windows.own()) & (per_token["word_end"] > 0)
        per_token["label_mask"] = own.astype(np.float32)
        return EncodedSplit(
            built.ids,
            built.ends,
            built.segments,
            windows.sentences,
            per_token=per_token,
            per_group={"inside": windows.inside.astype(np.float32)},
        )

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> TokenHead:
        """Returns the head, with a value for each tag."""
        return TokenHead(model, path, len(self.tags), seed=seed)

    def losses(
        self, head: TokenHead, hidden: Hidden, features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Returns the cross-entropy summed over the words of each window, [G]."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(features["label"], head(hidden))
        return tf.reduce_sum(losses * features["label_mask"], 1)

    def outputs(
        self, head: TokenHead, hidden: Hidden, features: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns `tag` int32 [G, L], at first pieces the number of the word's tag."""
        is_word = features["word_end"] > 0
        return {"tag": best_tags(head(hidden), is_word, features["inside"], tags=self.tags)}

    def predictions(
        self,
        outputs: Mapping[str, np.ndarray],
        rows: EncodedSplit,
        examples: Sequence[TaggedExample],
    ) -> list[TagPrediction]:
        """Returns the entities of each sentence.

        Words that the tokenizer drops are O. Inside an entity they do not end it.
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

        Tags are legal within a window. Where windows meet they need not be, and are read leniently.
        """
        if not numbers.any():
            return []
        return tags_to_entities([self.tags[number] for number in numbers.tolist()])

    def scores(
        self, examples: Sequence[TaggedExample], predictions: Sequence[TagPrediction]
    ) -> dict[str, float]:
        """Returns `f1`, `precision` and `recall` of entities, and CLUENER's `macro_f1`.

        The first three are strict, over all types together; see `scorers.entity_scores` and
        `scorers.mention_scores`.
        """
        gold = [example.entities or () for example in examples]
        found = [prediction.entities for prediction in predictions]
        micro = scorers.entity_scores(gold, found).micro
        texts = [example.text for example in examples]
        return {
            "f1": micro.f1,
            "precision": micro.precision,
            "recall": micro.recall,
            "macro_f1": scorers.mention_scores(texts, gold, predicted=found).macro_f1,
        }

    def table(
        self, examples: Sequence[TaggedExample], predictions: Sequence[TagPrediction]
    ) -> Table:
        """Returns strict precision, recall, F1 and counts, one row for each type."""
        gold = [example.entities or () for example in examples]
        types = scorers.entity_scores(gold, [each.entities for each in predictions]).types
        rows = [
            [str(cell) if isinstance(cell, str | int) else f"{cell:.2f}" for cell in each]
            for each in types
        ]
        return Table("types", scorers.TypeScore._fields, rows)

    def to_json(self, example: TaggedExample, prediction: TagPrediction) -> dict[str, Any]:
        """Returns `id`, `text`, `entities`, and `gold` where there are labels."""
        line: dict[str, Any] = {
            "id": example.id,
            "text": example.text,
            "entities": _entities_json(example.text, prediction.entities),
        }
        if example.entities is not None:
            line["gold"] = _entities_json(example.text, example.entities)
        return line

    def notes(self) -> list[str]:
        """Returns how many entities have no tags; they stay in the gold of the scores."""
        return [line for unfit in self._unfit.values() for line in unfit.lines()]


def _entities_json(text: str, entities: Sequence[Entity]) -> list[dict[str, Any]]:
    return [
        {
            "type": entity.type,
            "start": entity.start,
            "end": entity.end,
            "mention": text[entity.start : entity.end],
        }
        for entity in entities
    ]
