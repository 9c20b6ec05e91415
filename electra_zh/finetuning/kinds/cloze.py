"""Cloze: blanks of texts, each to be filled with one of the item's candidates.

A blank is a group, and each candidate a row of it: "[CLS] idiom [SEP] text around the blank [SEP]".
As in CLUE's baseline for ChID, the idiom comes first, the window is centred on the blank (room that
one side cannot use goes to the other), and other blanks are masked. Two things differ. The blank
itself is four times [MASK] and another blank one [MASK], where the baseline has [unused1], which
not every vocabulary has, and four times [MASK]. Segment ids distinguish idiom and text.

An item uses each idiom at most once, so its blanks are decided together: linear assignment finds
the most probable way to give each blank a candidate of its own.

Shapes: G blanks of a batch, S candidates, R = G * S rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.encoding.sequences import (
    RaggedTokens,
    build_pairs,
    concatenate,
    distinct,
)
from electra_zh.finetuning.examples import ClozeExample
from electra_zh.finetuning.kinds.base import Outputs
from electra_zh.finetuning.kinds.choice import OneOfSeveral
from electra_zh.finetuning.scores import label_scores
from electra_zh.text.tokenizer import Tokenizer

# [MASK]s that mark the blank itself; most idioms have four characters.
_MARK_TOKENS = 4
# Number of blanks whose rows are built together: ChID has half a million, with ten rows each.
_BLANKS_AT_ONCE = 1 << 10


class _Blanks(NamedTuple):
    """The blanks of all examples, in the tokens of their texts.

    Attributes:
      ids: int32 [T], tokens of all texts with blanks; a blank is one [MASK].
      positions: int64 [G], index of each blank in `ids`.
      begins: int64 [G], where its text begins.
      ends: int64 [G], where its text ends.
    """

    ids: np.ndarray
    positions: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


def _find_blanks(examples: Sequence[ClozeExample], tokenizer: Tokenizer) -> _Blanks:
    """Tokenises the texts between the blanks and joins them with [MASK]."""
    parts: list[str] = []
    found: list[tuple[int, int, int]] = []  # parts: before the blank, first and last of its text
    for example in examples:
        for number, blanks in itertools.groupby(example.blanks, lambda blank: blank.text):
            text, end, first_part = example.texts[number], 0, len(parts)
            for blank in blanks:
                parts.append(text[end : blank.start])
                end = blank.end
            parts.append(text[end:])
            last_part = len(parts) - 1
            found.extend((part, first_part, last_part) for part in range(first_part, last_part))
    before, first, last = np.array(found, np.int64).reshape(-1, 3).T
    has_blank = np.zeros(len(parts), np.bool_)
    has_blank[before] = True
    inside = np.append(False, has_blank[:-1])[: len(parts)]
    tokens = tokenizer.encode_batch(parts, inside=inside.tolist())
    masks = np.full(len(before), tokenizer.vocabulary.mask_id, np.int32)
    joined = concatenate(
        RaggedTokens(tokens.ids, tokens.text_ends), RaggedTokens(masks, np.cumsum(has_blank))
    )
    begins = joined.ends - joined.lengths()
    return _Blanks(joined.ids, joined.ends[before] - 1, begins[first], joined.ends[last])


def _windows(blanks: _Blanks, rooms: np.ndarray, *, mask_id: int) -> RaggedTokens:
    """Returns the text around each marked blank, at most `rooms` int64 [G] tokens."""
    context = rooms - _MARK_TOKENS
    before, after = blanks.positions - blanks.begins, blanks.ends - blanks.positions - 1
    left = np.minimum(before, np.maximum(context // 2, context - after))
    right = np.minimum(after, context - left)
    texts = RaggedTokens(blanks.ids, np.array([len(blanks.ids)], np.int64))
    first = np.zeros_like(left)
    marks = np.full(len(first) * _MARK_TOKENS, mask_id, np.int32)
    return concatenate(
        texts.slices(first, blanks.positions - left, left),
        RaggedTokens(marks, np.arange(1, len(first) + 1) * _MARK_TOKENS),
        texts.slices(first, blanks.positions + 1, right),
    )


class _Candidates(NamedTuple):
    """The candidates of all examples.

    Attributes:
      idioms: tokens of each distinct one, cut so that the blank has room; the last one is empty.
      numbers: int64 [examples, S], which idioms; the last where an example has fewer than S.
    """

    idioms: RaggedTokens
    numbers: np.ndarray


def _candidates(
    examples: Sequence[ClozeExample], tokenizer: Tokenizer, max_seq_length: int
) -> _Candidates:
    texts, flat = distinct(idiom for example in examples for idiom in example.candidates)
    found = tokenizer.encode_batch([*texts, ""])
    idioms = RaggedTokens(found.ids, found.text_ends)
    longest = max((max_seq_length - 3 - _MARK_TOKENS) // 2, 1)
    every = np.arange(len(texts) + 1)
    idioms = idioms.slices(every, np.zeros_like(every), np.minimum(idioms.lengths(), longest))
    counts = np.array([len(example.candidates) for example in examples], np.int64)
    exists = np.arange(counts.max(initial=1)) < counts[:, None]
    numbers = np.full(exists.shape, len(texts), np.int64)
    numbers[exists] = flat
    return _Candidates(idioms, numbers)


def _cloze_rows(
    examples: Sequence[ClozeExample], tokenizer: Tokenizer, max_seq_length: int
) -> EncodedSplit:
    """Returns a group of S rows for each blank, in their order; `choice_mask` [G, S]."""
    idioms, numbers = _candidates(examples, tokenizer, max_seq_length)
    of = np.repeat(np.arange(len(examples)), [len(example.blanks) for example in examples])
    # The window is the same for all candidates: it leaves room for the longest.
    rooms = max_seq_length - 3 - idioms.lengths()[numbers].max(1, initial=0)[of]
    blanks = _find_blanks(examples, tokenizer)
    windows = _windows(blanks, rooms, mask_id=tokenizer.vocabulary.mask_id)
    numbers = numbers[of]  # [G, S]
    exists = numbers < len(idioms.ends) - 1
    of_window = windows.lengths()[:, None] * exists
    ends = np.cumsum(idioms.lengths()[numbers] + of_window + np.where(exists, 3, 2))
    # There are millions of rows: they are made in small portions and written in place.
    ids = np.empty(ends[-1] if len(ends) else 0, np.int32)
    segments = np.empty_like(ids)
    end = 0
    for start in range(0, len(of), _BLANKS_AT_ONCE):
        group = slice(start, start + _BLANKS_AT_ONCE)
        window_of = np.repeat(np.arange(len(of))[group], numbers.shape[1])
        built = build_pairs(
            idioms.take(numbers[group].ravel()),
            windows.slices(window_of, np.zeros_like(window_of), of_window[group].ravel()),
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=max_seq_length,
        )
        begin, end = end, end + len(built.ids)
        ids[begin:end], segments[begin:end] = built.ids, built.segments
    mask = {"choice_mask": exists.astype(np.float32)}
    return EncodedSplit(ids, ends, segments, of, group=numbers.shape[1], per_group=mask)


def assign(log_probabilities: np.ndarray) -> np.ndarray:
    """Returns the most probable candidates of all blanks together, each candidate used once.

    Where there are more blanks than candidates, the remaining blanks get their own best one.

    Args:
      log_probabilities: finite float [blanks, candidates].

    Returns:
      int64 [blanks].
    """
    chosen: np.ndarray = log_probabilities.argmax(1)
    blanks, candidates = linear_sum_assignment(log_probabilities, maximize=True)
    chosen[blanks] = candidates
    return chosen


class ClozePrediction(NamedTuple):
    """The candidates that fill the blanks of an item.

    Attributes:
      answers: index of the candidate of each blank, each candidate used once.
      independent: index of the most probable candidate of each blank.
      probabilities: float32 [blanks, candidates].
    """

    answers: tuple[int, ...]
    independent: tuple[int, ...]
    probabilities: np.ndarray


class Cloze(OneOfSeveral[ClozeExample, ClozePrediction]):
    """Blanks that share a list of candidates."""

    example_type = ClozeExample
    # Of blanks that are decided together, and each on its own.
    metric_names = ("accuracy", "accuracy_independent")
    submission_forms = ("idioms",)

    def make_rows(self, examples: Sequence[ClozeExample], tokenizer: Tokenizer) -> EncodedSplit:
        """Returns a group of rows per blank."""
        return _cloze_rows(examples, tokenizer, self.max_seq_length)

    def answers(self, examples: Sequence[ClozeExample]) -> list[int]:
        """Returns the right candidate of each blank."""
        blanks = (blank for example in examples for blank in example.blanks)
        return [-1 if blank.answer is None else blank.answer for blank in blanks]

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[ClozeExample]
    ) -> list[ClozePrediction]:
        """Returns the candidates that fill the blanks of each example."""
        found, end = [], 0
        for example in examples:
            start, end = end, end + len(example.blanks)
            values = outputs["log_probabilities"][start:end, : len(example.candidates)]
            answers, independent = assign(values).tolist(), values.argmax(1).tolist()
            found.append(ClozePrediction(tuple(answers), tuple(independent), np.exp(values)))
        assert end == rows.groups
        return found

    def scores(
        self, examples: Sequence[ClozeExample], predictions: Sequence[ClozePrediction]
    ) -> dict[str, float]:
        """Returns the accuracy over blanks, and the accuracy of blanks decided on their own."""
        gold = self.answers(examples)
        chosen = [index for each in predictions for index in each.answers]
        independent = [index for each in predictions for index in each.independent]
        return {
            "accuracy": label_scores.accuracy(gold, chosen),
            "accuracy_independent": label_scores.accuracy(gold, independent),
        }

    def describe(self, example: ClozeExample, prediction: ClozePrediction) -> dict[str, Any]:
        """Returns the answers by blank, and the correct ones."""
        names = [blank.id for blank in example.blanks]
        gold = {blank.id: blank.answer for blank in example.blanks if blank.answer is not None}
        return {
            "answers": dict(zip(names, prediction.answers, strict=True)),
            "gold": gold or None,
        }
